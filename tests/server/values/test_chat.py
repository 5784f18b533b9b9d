"""The small values: secrets, usage, errors, ids, waits, chunks."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest

from fwd_server.callers.openai_errors import error_object
from fwd_server.providers.base import merge_body, present_fields
from fwd_server.values import ids, usage
from fwd_server.values.chat import ChatResponse, Chunk, End, unfold_response
from fwd_server.values.errors import ErrorKind, GatewayError, InvalidKey, from_status, upstream_failure
from fwd_server.values.foreign import NativeChunk
from fwd_server.values.secret import Secret
from fwd_server.values.usage import Usage
from fwd_server.wire.backoff import parse_retry_after

SECRET = Secret("sk-very-secret", "OPENAI_API_KEY")


def test_a_secret_shows_nothing() -> None:
    """S12: its text form is three stars, wherever text is made."""
    shown = f"{SECRET} {SECRET!r} {SECRET:>10} {[SECRET]} " + str(SECRET) + repr({"key": SECRET.with_prefix("Bearer ")})
    assert "sk-very" not in shown
    assert SECRET.reveal() == "sk-very-secret"
    assert SECRET.with_prefix("Bearer ").reveal() == "Bearer sk-very-secret"
    assert SECRET.with_prefix("Bearer ").display_text() == "Bearer $OPENAI_API_KEY"
    assert SECRET
    assert not Secret("")


def test_a_secret_is_not_pickled_or_copied() -> None:
    """S12: it does not leave by the back door."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(SECRET)
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy(SECRET)


@pytest.mark.parametrize(
    "given",
    [None, "x", [], 5, {}, {"prompt_tokens": -1}, {"prompt_tokens": math.nan}, {"prompt_tokens": math.inf}]
    + [{"prompt_tokens": value} for value in ("5", True, 1e30, 10**30, [], {}, None)]
    + [{"prompt_tokens": 5, "prompt_tokens_details": value} for value in (None, "x", [], {"cached_tokens": 9})]
    + [{"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": value}} for value in (9, -9, "x")]
    + [{"cost": value} for value in (-1, math.nan, "1", True, 1e10, math.inf)],
)
def test_usage_is_never_negative_or_nonsense(given: Any) -> None:
    """T30: validated and clamped, whatever a provider says."""
    found = usage.parse_usage(given) or Usage()
    counts = (found.prompt, found.completion, found.cached, found.cache_write, found.reasoning)
    assert all(isinstance(count, int) and 0 <= count <= usage.MAX_TOKENS for count in counts)
    assert found.cached + found.cache_write <= found.prompt
    assert found.reasoning <= found.completion
    assert found.cost_usd is None or math.isfinite(found.cost_usd)


def test_usage_is_read() -> None:
    given = {
        "prompt_tokens": 10,
        "completion_tokens": 5.0,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "cost": 0.5,
    }
    assert usage.parse_usage(given) == Usage(10, 5, 4, 3, 2, 0.5)
    assert Usage(10, 5).total == 15


def test_a_count_is_exact_at_its_borders() -> None:
    """T30: what is no count is 0, what is too much is 0, the largest is itself."""
    most = 1 << 40
    assert [usage.clean_count(value) for value in (0, 1, most, most + 1, -1, "5", True, math.nan, None)] == [
        0,
        1,
        most,
    ] + [0] * 6
    assert Usage() == Usage(0, 0, 0, 0, 0, None, False)
    assert [usage.parse_usage({"cost": value}) for value in (0, 1e9, 999.5)] == [
        Usage(cost_usd=0.0),
        Usage(cost_usd=None),
        Usage(cost_usd=999.5),
    ]


def test_parts_of_a_prompt_are_no_more_than_the_prompt() -> None:
    """T30: cached first, then written; together they are at most all of it."""
    details = {"cached_tokens": 4, "cache_write_tokens": 9}
    assert usage.parse_usage({"prompt_tokens": 10, "prompt_tokens_details": details}) == Usage(10, 0, 4, 6)


def test_the_estimate_is_four_bytes_a_token() -> None:
    assert [usage.estimate_tokens(text) for text in ("", "a", "abcd", "abcde", "👋")] == [0, 1, 1, 2, 1]


NOW = 1_795_305_600.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e9"}, 86_400.0),
        ({"retry-after-ms": "1e12"}, 86_400.0),
        ({"retry-after": "Sun, 22 Nov 2026 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2020 00:00:30 GMT"}, 0.0),
    ],
)
def test_waits_are_read_strictly(headers: dict[str, str], seconds: float | None) -> None:
    """F11: seconds, fractions, milliseconds and dates; nonsense is nothing."""
    assert parse_retry_after(headers, NOW) == seconds


def test_a_date_counts_from_the_answers_own_date() -> None:
    headers = {"retry-after": "Sun, 22 Nov 2026 00:00:30 GMT", "date": "Sun, 22 Nov 2026 00:00:20 GMT"}
    assert parse_retry_after(headers) == 10.0
    assert parse_retry_after({"retry-after": headers["retry-after"]}) is None


@pytest.mark.parametrize(
    ("status", "kind", "seen", "code"),
    [
        (400, ErrorKind.INVALID_REQUEST, 400, None),
        (401, ErrorKind.AUTH, 502, "provider_auth"),
        (402, ErrorKind.QUOTA, 429, "insufficient_quota"),
        (403, ErrorKind.AUTH, 502, "provider_auth"),
        (404, ErrorKind.NOT_FOUND, 404, "model_not_found"),
        (408, ErrorKind.TIMEOUT, 504, "upstream_timeout"),
        (409, ErrorKind.PROVIDER, 502, "provider_error"),
        (413, ErrorKind.INVALID_REQUEST, 413, "request_too_large"),
        (418, ErrorKind.INVALID_REQUEST, 418, None),
        (422, ErrorKind.INVALID_REQUEST, 422, None),
        (429, ErrorKind.RATE_LIMITED, 429, "rate_limit_exceeded"),
        (498, ErrorKind.OVERLOADED, 503, "provider_overloaded"),
        (500, ErrorKind.PROVIDER, 502, "provider_error"),
        (502, ErrorKind.PROVIDER, 502, "provider_error"),
        (504, ErrorKind.PROVIDER, 504, "upstream_timeout"),
        (529, ErrorKind.OVERLOADED, 503, "provider_overloaded"),
        (302, ErrorKind.PAYLOAD, 502, "provider_redirect"),
    ],
)
def test_a_status_becomes_what_the_contract_says(status: int, kind: ErrorKind, seen: int, code: str | None) -> None:
    """F11 to F19, F12b."""
    error = from_status(status, "their words")
    assert (error.kind, error.status, error.code, error.upstream_status) == (kind, seen, code, status)


def test_the_text_of_a_refused_key_is_ours() -> None:
    """F18: theirs may quote the key."""
    error = from_status(401, "Incorrect key sk-very-secret", key_name="OPENAI_API_KEY")
    assert "sk-very" not in error.message
    assert "OPENAI_API_KEY" in error.message
    assert ("x-should-retry", "false") in error.all_headers()


def test_an_overloaded_provider_has_a_time() -> None:
    """F15, F16: as given, else 5."""
    assert ("retry-after", "5") in from_status(529).all_headers()
    assert ("retry-after", "9") in from_status(503, retry_after_s=9.0).all_headers()
    assert dict(from_status(429, retry_after_s=1.5).all_headers()) == {"retry-after": "2", "retry-after-ms": "1500"}
    assert from_status(400, retry_after_s=9.0).all_headers() == []


def test_errors_say_what_they_are() -> None:
    assert str(InvalidKey()) == "Incorrect API key provided."
    assert upstream_failure("deadline").should_retry is False
    assert error_object(GatewayError("x", attempts=({"provider": "a"},)))["error"]["attempts"] == [{"provider": "a"}]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc", True), ("A.b_c-9", True), ("x" * 64, True), ("x" * 65, False), ("", False), ("a b", False)],
)
def test_a_callers_id_is_kept_if_it_is_plain(given: str, kept: bool) -> None:
    assert (ids.request_id(given) == given) is kept


def test_fresh_ids_differ() -> None:
    assert len({ids.request_id(None) for _ in range(1000)}) == 1000
    assert ids.new_id("call_").startswith("call_")


def test_extra_body_merges_deeply_and_changes_nothing_in_place() -> None:
    body = {"a": {"b": 1, "c": 2}, "d": [1]}
    assert merge_body(body, {"a": {"b": 9}, "d": [2], "e": None}) == {"a": {"b": 9, "c": 2}, "d": [2], "e": None}
    assert body == {"a": {"b": 1, "c": 2}, "d": [1]}
    assert merge_body(body, None) is body


def test_only_what_has_a_value_would_be_lost() -> None:
    assert present_fields({"a": 1, "b": None, "c": 0}, ("a", "b", "c", "d")) == ("a", "c")


def test_a_whole_answer_unfolds_into_a_stream() -> None:
    """F24: the messages of all choices first, then each finish alone, and the usage on its own."""
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}, {"id": "y"}]}
    choices = [{"index": 0, "message": message}, {"index": 1, "message": {"content": "b"}, "finish_reason": "length"}]
    whole = {"id": "1", "created": 1, "model": "m", "choices": choices, "usage": {"a": 1}, "service_tier": "default"}
    *parts, counted = unfold_response(ChatResponse(whole))
    found = [chunk.data["choices"][0] for chunk in parts if chunk.data]
    calls = [{"index": 0, "id": "x"}, {"index": 1, "id": "y"}]
    assert [(choice["index"], choice["delta"], choice["finish_reason"]) for choice in found] == [
        (0, {"role": "assistant", "content": None, "tool_calls": calls}, None),
        (1, {"role": "assistant", "content": "b"}, None),
        (0, {}, "stop"),
        (1, {}, "length"),
    ]
    assert {chunk.data["service_tier"] for chunk in parts if chunk.data} == {"default"}
    assert counted.data is not None
    assert (counted.commits, counted.data["choices"]) == (False, [])
    assert End().usage is None


@pytest.mark.parametrize("odd", [7, {"a": 1}, [7], [[]]])
def test_calls_that_are_none_are_left_out(odd: object) -> None:
    """F24: whatever the provider said in its whole answer."""
    whole = {"choices": [{"message": {"content": "x", "tool_calls": odd}}]}
    said, finish = unfold_response(ChatResponse(whole))
    assert said.data is not None
    assert said.data["choices"][0]["delta"] == {"role": "assistant", "content": "x"}
    assert finish.data is not None
    assert finish.data["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(True, {"choices": [{"delta": {"content": "canary"}}]}),
        Chunk(True, frame=b'{"choices": [{"delta": {"content": "canary"}}]}'),
        NativeChunk(True, {"text": "canary"}, frame=b"canary"),
    ],
)
def test_a_chunk_shows_nothing_of_the_answer(chunk: Chunk) -> None:
    """What a model said gets into no log and no traceback."""
    assert "canary" not in repr([chunk])
    assert repr(chunk) == f"{type(chunk).__name__}(commits=True)"
