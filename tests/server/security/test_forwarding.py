"""T11, T18, T19, S11: what of a caller's headers and fields reaches a provider, and of a provider's a caller."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from kit.fakeup import Fakeup, completion, json_answer
from kit.hostile import FIELDS, URL_FORMS, bodies_that_name_a_host, header_sets

from .conftest import BODY, KEY, Start, request, run
from .test_links import Traps

OPENAI_KEY = "sk-canary-forwarding"
EXPECTED = {"content-type": "application/json", "authorization": f"Bearer {OPENAI_KEY}", "accept-encoding": "identity"}


def hostile(headers: list[tuple[str, str]], body: bytes) -> bytes:
    """A good call with these headers besides its own."""
    first, *rest = request(body=body).partition(b"\r\n\r\n")[0].split(b"\r\n")
    more = [f"{name}: {value}".encode("latin-1") for name, value in headers]
    return b"\r\n".join([first, *rest, *more]) + b"\r\n\r\n" + body


async def send_all(start: Start, up: Fakeup, count: int) -> int:
    """Send that many hostile sets of headers; how many of the calls were answered with 200."""
    body = json.dumps({**json.loads(BODY), "model": "openai:gpt-x", "user": "a\r\nX-Evil: 1"}).encode()
    good = 0
    async with start(OPENAI_API_KEY=OPENAI_KEY, OPENAI_BASE_URL=up.url) as gateway:
        for headers in header_sets(count):
            answer = await gateway.talk(hostile(headers, body))
            assert answer.status < 500, (headers, answer)
            good += answer.status == 200
    return good


def check_exact(up: Fakeup, good: int) -> None:
    """The provider saw the calls that were answered, each with the expected headers and no others.

    One of them is a list of gateways, so that none calls itself: what callers say there goes on, as long as it is
    letters and digits, and this gateway comes last.
    """
    assert len(up.seen) == good > 0
    via = [seen.headers.pop("x-fwd-via") for seen in up.seen]
    assert all(re.fullmatch(r"[A-Za-z0-9]{1,64}(,[A-Za-z0-9]{1,64}){0,8}", value) for value in via)
    assert len({value.rpartition(",")[2] for value in via}) == 1
    for seen in up.seen:
        own = {"host": up.url.split("/")[2], "content-length": str(len(seen.body))}
        assert seen.headers == {**EXPECTED, **own}
        assert seen.target == "/v1/chat/completions"


def test_nothing_of_a_callers_headers_goes_upstream(start: Start) -> None:
    """T18: 5,000 hostile sets: the provider sees exactly the expected set."""
    with Fakeup(lambda seen: [json_answer(completion())]) as up:
        good = run(send_all(start, up, 5000), 300)
        assert good > 500
        check_exact(up, good)


def test_no_field_of_a_call_picks_where_it_goes(start: Start) -> None:
    """T19, S11: 60 names, 3 depths, 12 forms of an address: only the provider's own address is connected to."""
    assert (len(set(FIELDS)), len(set(URL_FORMS))) == (60, 12)

    async def main(up: Fakeup, port: int) -> int:
        good = 0
        async with start(OPENAI_API_KEY=OPENAI_KEY, OPENAI_BASE_URL=up.url) as gateway:
            for body in bodies_that_name_a_host(port):
                good += (await gateway.chat(**body)).status == 200
        return good

    with Traps() as traps, Fakeup(lambda seen: [json_answer(completion())]) as up:
        good = run(main(up, traps.port), 300)
        assert traps.caught == 0
        assert good == 60 * 12 * 3
        check_exact(up, good)


NAMES = (
    *("set-cookie", "server", "via", "x-powered-by", "location", "refresh", "link", "openai-organization", "alt-svc"),
    *("access-control-allow-origin", "access-control-allow-credentials", "content-security-policy", "www-authenticate"),
    *("strict-transport-security", "clear-site-data", "x-frame-options", "x-fwd-provider", "x-fwd-cost", "x-evil"),
    *("cache-control", "content-disposition", "authorization", "x-api-key", "retry-after", "x-should-retry"),
)


@pytest.mark.parametrize("value", ["evil", "evil\x1b[2J"])
def test_nothing_of_a_providers_headers_comes_through(start: Start, value: str) -> None:
    """T11: 50 hostile headers: an answer has the same names with them and without, and none of their values."""

    async def main(answers: list[bytes], up: Fakeup) -> None:
        async with start(OPENAI_API_KEY=OPENAI_KEY, OPENAI_BASE_URL=up.url) as gateway:
            plain = await gateway.chat(model="openai:gpt-x")
            for name in NAMES:
                answers[:] = [json_answer(completion(), **{name: value})]
                answer = await gateway.chat(model="openai:gpt-x")
                assert "evil" not in str(answer.headers), name
                if answer.status == 200:
                    assert [found for found, _ in answer.headers] == [found for found, _ in plain.headers]

    answers: list[Any] = [json_answer(completion())]
    assert 2 * len(NAMES) == 50
    with Fakeup(lambda seen: answers) as up:
        run(main(answers, up))


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
def test_no_redirect_is_followed(start: Start, status: int) -> None:
    """T11, F19: 502, and nobody is asked but the provider."""

    async def main(up: Fakeup, port: int) -> None:
        async with start(OPENAI_API_KEY=OPENAI_KEY, OPENAI_BASE_URL=up.url) as gateway:
            answer = await gateway.chat(model="openai:gpt-x")
            assert (answer.status, answer.error["code"]) == (502, "provider_redirect")
            assert KEY not in str(answer)

    with Traps() as traps:
        with Fakeup(lambda seen: [json_answer({}, status, location=f"http://127.0.0.1:{traps.port}/")]) as up:
            run(main(up, traps.port))
        assert traps.caught == 0
