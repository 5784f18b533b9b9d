"""S5, S15: a key that cannot be checked lets nobody in, and a wrong one says nothing about itself."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from fwd_server.store import key_set as keyset
from fwd_server.web import authenticator as auth

from .conftest import KEY, Answer, Gateway, Start, request, run

AUTH = frozenset({auth.__file__, keyset.__file__})
GOOD = request("GET", "/v1/models")
WRONG = request("GET", "/v1/models", Authorization="Bearer fwd_wrong")


@contextlib.contextmanager
def failing_at(line: int, error: Callable[[], Exception]) -> Iterator[list[int]]:
    """Raise at the ``line``-th line of auth that runs, once; gives the count of lines that ran."""
    ran = [0]

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in AUTH:
            return None
        if event == "line":
            ran[0] += 1
            if ran[0] == line:
                raise error()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield ran
    finally:
        sys.settrace(before)


async def answer_failing_at(
    gateway: Gateway, line: int, data: bytes, error: Callable[[], Exception]
) -> tuple[bool, Answer]:
    """Whether that line was reached, and the answer."""
    with failing_at(line, error) as ran:
        answer = await gateway.talk(data)
    return ran[0] >= line, answer


async def statuses(gateway: Gateway, data: bytes, error: Callable[[], Exception]) -> list[int]:
    """The status of each answer, with a failure at the first line, the second, and so on to the last that runs."""
    await gateway.talk(data)  # what is done only once is done
    found: list[int] = []
    reached, answer = await answer_failing_at(gateway, 1, data, error)
    while reached:
        found.append(answer.status)
        reached, answer = await answer_failing_at(gateway, len(found) + 1, data, error)
    return found


def test_a_failure_at_any_line_lets_nobody_in(start: Start) -> None:
    """S5: at each line of a good key's check: 401 or 503, as if it were not there."""

    async def main() -> None:
        async with start() as gateway:
            found = await statuses(gateway, GOOD, RuntimeError)
            assert len(found) > 10
            assert set(found) <= {401, 503}
            assert (await gateway.talk(GOOD)).status == 200

    run(main())


@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyError, AttributeError, LookupError, OSError])
def test_no_failure_makes_a_wrong_key_good(start: Start, error: type[Exception]) -> None:
    """S5: whatever is raised at whatever line, also what somebody there may catch."""

    async def main() -> None:
        async with start() as gateway:
            found = await statuses(gateway, WRONG, error)
            assert len(found) > 10
            assert set(found) <= {401, 429, 503}

    run(main())


def test_the_log_of_a_failure_does_not_quote_the_key(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """T16: a failure's own text may; only its kind and place are logged."""

    async def main() -> None:
        async with start() as gateway:
            _, answer = await answer_failing_at(gateway, 3, GOOD, lambda: KeyError(KEY))
            assert (answer.status, answer.error["code"]) == (503, "internal")
            assert KEY not in str(answer)

    run(main())
    assert "KeyError" in caplog.text
    assert KEY not in caplog.text


WRONG_KEYS = {
    "none": "",
    "unknown": "Bearer fwd_" + "u" * 43,
    "malformed": "Bearer not-a-key",
    "empty": "Bearer",
    "one letter off": f"Bearer {KEY[:-1]}x",
    "longer": f"Bearer {KEY}s",
    "expired": "Bearer fwd_" + "e" * 43,
    "revoked": "Bearer fwd_" + "r" * 43,
    "its own digest": "Bearer sha256:" + hashlib.sha256(KEY.encode()).hexdigest(),
    "odd letters": "Bearer fwd_\xe9\xff",
    "another scheme": f"Basic {KEY}",
}


def test_every_wrong_key_gets_the_same_answer(start: Start, tmp_path: Path) -> None:
    """S15, S9: byte-equal, whatever is wrong with it; the headers too, but for id and date."""

    async def main() -> None:
        async with start() as gateway:
            expired, revoked = (f"fwd_{letter * 43}" for letter in "er")
            keys = tmp_path / "keys.txt"
            keys.write_text(f"{KEY}\n{expired} expires=2020-01-31\n{revoked}\n")
            await _taken(gateway, keys)
            assert (await gateway.talk(request("GET", "/v1/models", Authorization=f"Bearer {revoked}"))).status == 200
            keys.write_text(f"{KEY}\n{expired} expires=2020-01-31\n")
            await _taken(gateway, keys)
            answers = {
                name: await gateway.talk(request("GET", "/v1/models", Authorization=value))
                for name, value in WRONG_KEYS.items()
            }
            assert {answer.status for answer in answers.values()} == {401}
            assert len({answer.body for answer in answers.values()}) == 1
            assert len({_constant(answer) for answer in answers.values()}) == 1

    run(main())


async def _taken(gateway: Gateway, keys: Path) -> None:
    """The change of the key file has been seen, and stood still for long enough to be taken."""
    now = gateway.app.clock.monotonic()
    gateway.app.keys.poll(now)
    gateway.app.keys.poll(now + 1.5)


def _constant(answer: Answer) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in answer.headers if name not in ("x-request-id", "date"))
