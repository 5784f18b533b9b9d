"""Every golden case of the Messages API: exact both ways, whatever way the bytes of a stream are cut."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.server.callers import messages
from tests.server.providers import golden
from tests.server.providers.golden import Case

from fwd_server.callers.messages import MESSAGES
from fwd_server.providers.base import UpstreamRequest
from fwd_server.values.errors import GatewayError, InvalidKey, ModelNotFound, UpstreamError

Entry = dict[str, Any]


def each(*kinds: str) -> pytest.MarkDecorator:
    found = messages.entries(*kinds)
    return pytest.mark.parametrize(("case", "entry"), [pytest.param(c, e, id=c.name) for c, e in found])


@each("request", "native_request")
def test_what_goes_upstream(case: Case, entry: Entry) -> None:
    """The request, translated or as it came, and its headers."""
    played, expected = messages.play_case(case, entry), case.load("upstream_request")
    sent = golden.shown_request(case, played.exchange)
    headers = golden.lower(expected.pop("headers"))
    assert golden.lower(sent.pop("headers")).items() >= headers.items()
    if case.provider == "local":  # where it is, only its owner knows
        expected["path"] = expected["path"].removeprefix("/v1")
    assert sent == expected


@each("native_request")
def test_bytes_are_the_callers_own(case: Case, entry: Entry) -> None:
    """Where nothing has to be edited, not a byte of the body is another one."""
    sent = messages.play_case(case, entry).exchange.request
    assert isinstance(sent, UpstreamRequest)
    assert (sent.body == case.read("client_request")) is ("edits" not in entry)


@each("request")
def test_what_is_dropped_is_said_in_the_callers_words(case: Case, entry: Entry) -> None:
    """Nothing is lost silently, and nothing is named that changes no answer."""
    _, _, named = entry.get("notes", "").partition("dropped: ")
    expected = sorted(name.strip() for name in named.partition(";")[0].split(",") if name.strip())
    assert list(messages.play_case(case, entry).translation.dropped) == expected


@each("request")
def test_the_providers_cache_still_holds(case: Case, entry: Entry) -> None:
    """The messages of a later call begin with the very bytes of the earlier one."""
    if "prefix_of" not in entry:
        return
    earlier = next((c, e) for c, e in messages.entries("request") if c.name == entry["prefix_of"])
    first, second = (orjson.loads(messages.play_case(c, e).exchange.request.body) for c, e in (earlier, (case, entry)))
    begun = orjson.dumps(first["messages"])[:-1]
    assert orjson.dumps(second["messages"]).startswith(begun)


@each("response", "native_response")
def test_what_a_whole_answer_becomes(case: Case, entry: Entry) -> None:
    """A whole answer, field by field; Anthropic's own to the byte."""
    played, body = messages.play_case(case, entry), case.read("upstream_response")
    if entry["kind"] == "native_response":
        assert MESSAGES.render(played.exchange.answer(body), played.request, played.record) == body
        return
    assert played.whole(body) == case.load("expected")


@each("stream", "stream_error")
def test_what_a_stream_becomes(case: Case, entry: Entry) -> None:
    """A stream, event by event."""
    got = messages.frames(messages.play_case(case, entry).stream(case.read("upstream_response")))
    expected = messages.frames(case.read("expected"))
    for event in expected:  # the id is in every failure, also where the fixtures leave it out
        if event["type"] == "error":
            event.setdefault("request_id", messages.ID)
    if entry["kind"] == "stream_error":  # a failure's words may be ours
        got[-1]["error"].pop("message")
        expected[-1]["error"].pop("message")
    assert messages.without_estimates(case, got) == messages.without_estimates(case, expected)


@each("native_stream")
def test_a_native_stream_passes_to_the_byte(case: Case, entry: Entry) -> None:
    """Pings and failures too."""
    assert messages.play_case(case, entry).stream(case.read("upstream_response")) == case.read("expected")


@each("stream", "stream_error", "native_stream")
def test_every_cut_gives_the_same_stream(case: Case, entry: Entry) -> None:
    """Contract T10, R10: split positions, single bytes and odd pieces make no difference."""
    stream = case.read("upstream_response")
    native = entry["kind"] == "native_stream"

    def caller_gets(*pieces: bytes) -> Any:
        got = messages.play_case(case, entry).stream(*pieces)
        return got if native else messages.frames(got)

    whole = caller_gets(stream)
    for at in range(1, len(stream), 1 if native else 13):
        assert caller_gets(stream[:at], stream[at:]) == whole, at
    for size in (1, 7, 61):
        assert caller_gets(*(stream[i : i + size] for i in range(0, len(stream), size))) == whole, size


@each("error")
def test_what_a_failure_becomes(case: Case, entry: Entry) -> None:
    """Status, type, words and headers of a failure (contract F11 to F21)."""
    error, expected = failure_of(case, entry), case.load("expected")
    assert MESSAGES.status_of(error) == expected["status"]
    body = orjson.loads(MESSAGES.render_error(error, messages.ID))
    if entry.get("message_free") or case.name.endswith("error-strict"):
        assert body["error"].pop("message")
        expected["body"]["error"].pop("message")
    assert body == expected["body"]
    ours = {"content-type", "x-request-id", *MESSAGES.id_headers}
    headers = {name: value for name, value in expected["headers"].items() if name not in ours}
    assert dict(error.all_headers()).items() >= headers.items()


def failure_of(case: Case, entry: Entry) -> GatewayError:
    """What is raised for a call, or read from what the provider answers."""
    if case.name.endswith("error-401"):
        return InvalidKey()
    if case.name.endswith("error-404-model"):
        return ModelNotFound("There is no such model.")
    if "upstream_error" not in case.files:
        with pytest.raises(GatewayError) as raised:
            messages.play_case(case, entry)
        return raised.value
    given = case.load("upstream_error")
    body = orjson.dumps(given["body"])
    error = messages.play_case(case, entry).exchange.error(given["status"], golden.lower(given["headers"]), body)
    assert isinstance(error, UpstreamError)
    return error


@each("local")
def test_what_is_answered_without_a_provider(case: Case, entry: Entry) -> None:
    """A call that only warms a cache."""
    if entry["answer"] != "anthropic_message":
        return  # lists and counts are no calls: test_messages_web.py
    played = messages.play_case(case, entry)
    ((_, body),) = played.exchange.request.steps
    (got,) = messages.without_estimates(case, [{"type": "usage", **played.whole(body)}])
    got["type"] = "message"
    expected = case.load("expected")
    assert got["usage"].pop("input_tokens") > 0
    expected["usage"].pop("input_tokens")
    assert {**got, "model": expected["model"]} == expected
