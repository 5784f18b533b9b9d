"""Contract 3c as a client sees it: every row that reaches one, as a status and inside a stream, with both clients.

The raw server says what the gateway says for the row; the table in docs/sdk.md is made of the same rows.
"""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import fwd_client
from fwd_client import APIError, APIStatusError, StreamInterruptedError
from fwd_client._errors import BY_CODE

from .conftest import CHAT, RawServer, answer, chunk, event, streamed

STATUSES = [
    ("F1", 502, "connect_failed", "UpstreamError"),
    ("F2", 504, "connect_timeout", "DeadlineError"),
    ("F3", 502, "dns_failed", "UpstreamError"),
    ("F4", 502, "tls_failed", "UpstreamError"),
    ("F5", 502, "upstream_reset", "UpstreamError"),
    ("F7", 504, "deadline", "DeadlineError"),
    ("F8", 502, "upstream_truncated", "UpstreamError"),
    ("F9", 504, "upstream_timeout", "DeadlineError"),
    ("F11", 429, "rate_limit_exceeded", "RateLimitError"),
    ("F12", 429, "insufficient_quota", "QuotaExceededError"),
    ("F12b", 503, "provider_overloaded", "OverloadedError"),
    ("F13", 502, "provider_error", "UpstreamError"),
    ("F14", 504, "upstream_timeout", "DeadlineError"),
    ("F15", 503, "provider_overloaded", "OverloadedError"),
    ("F17-400", 400, None, "BadRequestError"),
    ("F17-context", 400, "context_length_exceeded", "ContextLengthError"),
    ("F17-parameter", 400, "unsupported_parameter", "UnsupportedParameterError"),
    ("F17-404", 404, "model_not_found", "ModelNotFoundError"),
    ("F17-413", 413, "request_too_large", "RequestTooLargeError"),
    ("F17-422", 422, None, "BadRequestError"),
    ("F18", 502, "provider_auth", "ProviderAuthError"),
    ("F19", 502, "provider_redirect", "UpstreamError"),
    ("F20", 502, "bad_payload", "UpstreamError"),
    ("F24", 502, "bad_content_type", "UpstreamError"),
    ("F25", 502, "bad_encoding", "UpstreamError"),
    ("F26", 502, "too_large", "UpstreamError"),
    ("F29", 502, "bad_response", "UpstreamError"),
    ("own-400", 400, "model_required", "BadRequestError"),
    ("own-401", 401, "invalid_api_key", "AuthenticationError"),
    ("own-403", 403, "content_policy_violation", "PermissionDeniedError"),
    ("own-404", 404, "not_found", "NotFoundError"),
    ("own-405", 405, "method_not_allowed", "BadRequestError"),
    ("own-408", 408, "request_timeout", "BadRequestError"),
    ("own-421", 421, "host_not_allowed", "BadRequestError"),
    ("own-431", 431, "headers_too_large", "BadRequestError"),
    ("own-500", 500, None, "ServerError"),
    ("own-501", 501, "provider_not_available", "ProviderNotConfiguredError"),
    ("own-503-key", 503, "provider_not_configured", "ProviderNotConfiguredError"),
    ("own-503-full", 503, "overloaded", "OverloadedError"),
    ("own-503-going", 503, "shutdown", "OverloadedError"),
    ("key-400", 400, "user_required", "BadRequestError"),
    ("key-403-model", 403, "model_not_allowed", "PermissionDeniedError"),
    ("key-403-price", 403, "price_unknown", "PermissionDeniedError"),
    ("key-429-spent", 429, "budget_exceeded", "BudgetExceededError"),
    ("key-429-busy", 429, "budget_busy", "RateLimitError"),
    ("key-429-running", 429, "concurrency_limit_exceeded", "RateLimitError"),
    ("key-429-large", 429, "request_exceeds_limit", "RateLimitError"),
    ("key-429-users", 429, "too_many_users", "RateLimitError"),
    ("ledger-501", 501, "no_ledger", "ServerError"),
    ("ledger-503", 503, "storage_busy", "OverloadedError"),
]
EVENTS = [
    ("F7", "upstream_timeout", "DeadlineError"),
    ("F8", "upstream_truncated", "UpstreamError"),
    ("F10", "upstream_stalled", "DeadlineError"),
    ("F21", "provider_overloaded", "OverloadedError"),
    ("F25", "bad_encoding", "UpstreamError"),
    ("F26", "too_large", "UpstreamError"),
    ("F27", "bad_payload", "UpstreamError"),
    ("F28", "deadline", "DeadlineError"),
    ("D14", "shutdown", "OverloadedError"),
]


def body(code: str | None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": "words", "type": "server_error", "param": None, "code": code, **more}}


def ask(call: Any, **more: Any) -> Any:
    return call("chat.completions.create", messages="hi", **more)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize(("row", "status", "code", "name"), STATUSES, ids=[row[0] for row in STATUSES])
def test_status(call: Any, server: RawServer, row: str, status: int, code: str, name: str, stream: bool) -> None:
    """A failure before the first byte is the same error for a whole answer and for a stream."""
    failed = answer(body(code), status, x_request_id="req_9", retry_after="3", x_fwd_attempts="2")
    server.script = lambda _: failed
    with pytest.raises(getattr(fwd_client, name)) as caught:
        ask(call, stream=stream)
    error = pickle.loads(pickle.dumps(caught.value))
    assert type(error).__name__ == name
    assert (error.code, error.status, error.request_id) == (code, status, "req_9")
    assert (error.retry_after, error.attempts, error.message) == (3.0, 2, "words")


@pytest.mark.parametrize(("row", "code", "name"), EVENTS, ids=[row[0] for row in EVENTS])
def test_event(call: Any, server: RawServer, row: str, code: str, name: str) -> None:
    """G5: a failure inside a stream is raised as the class of its code, and never looks like an end."""
    server.script = lambda _: streamed(event(chunk("a")), event(body(code)), x_request_id="req_9")
    with pytest.raises(getattr(fwd_client, name)) as caught:
        ask(call, stream=True)
    assert isinstance(caught.value, APIStatusError)
    assert (caught.value.code, caught.value.status, caught.value.request_id) == (code, None, "req_9")


def test_every_code_has_a_row() -> None:
    """No code of the error table is left untested."""
    rows = {row[2] for row in STATUSES} | {row[1] for row in EVENTS} | {None}
    assert set(BY_CODE) - rows == {"image_link_not_supported", "tool_use_failed"}


@pytest.mark.parametrize("end", [True, False], ids=["ends", "breaks"])
def test_cut_stream(call: Any, server: RawServer, end: bool) -> None:
    """F22: a stream without `[DONE]` raises, whether its body ends in order or breaks off."""
    server.script = lambda _: streamed(event(chunk("a")), event(chunk(finish="stop")), end=end, x_request_id="req_9")
    with pytest.raises(StreamInterruptedError) as caught:
        ask(call, stream=True)
    assert (caught.value.code, caught.value.request_id) == ("stream_interrupted", "req_9")


def test_complete_stream(call: Any, server: RawServer) -> None:
    """F23, F30: `[DONE]` is the end, and nothing after it matters."""
    server.script = lambda _: streamed(event(chunk("a")), event("[DONE]"), event("[DONE]"), b"data: odd\n\n")
    chunks, whole = ask(call, stream=True)
    assert (len(chunks), whole.text) == (1, "a")


def test_all_failed(call: Any, server: RawServer) -> None:
    """F33: what each provider said comes along."""
    tried = [{"provider": "openai", "code": "provider_error"}, {"provider": "groq", "code": "connect_failed"}]
    server.script = lambda _: answer(body("connect_failed", attempts=tried), 502)
    with pytest.raises(APIError) as caught:
        ask(call)
    assert caught.value.attempts == 2
    assert [failed.provider for failed in caught.value.failures] == ["openai", "groq"]


def test_fallback_is_an_answer(call: Any, server: RawServer) -> None:
    """ "B": the answer of the fallback provider is an answer like any other, and says so."""
    server.script = lambda _: answer(CHAT, x_fwd_provider="groq", x_fwd_attempts="2")
    found = ask(call)
    assert (found.text, found.provider, found.attempts) == ("hi", "groq", 2)
