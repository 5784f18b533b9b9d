"""What the API says when it fails."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.server.providers import golden
from tests.server.providers.anthropic.helpers import opened

from fwd_server.providers.anthropic.failure import rate_limits
from fwd_server.values.errors import ErrorKind, UpstreamError


def failed(status: int, kind: str = "", message: str = "m", headers: Any = None, **more: Any) -> UpstreamError:
    body = orjson.dumps({"type": "error", "error": {"type": kind, "message": message, **more}, "request_id": "r"})
    error = opened().error(status, headers or {}, body)
    assert isinstance(error, UpstreamError)
    return error


@pytest.mark.parametrize(
    ("status", "kind", "seen", "code"),
    [
        (400, "invalid_request_error", 400, None),
        (400, "request_too_large", 413, "request_too_large"),
        (403, "permission_error", 502, "provider_auth"),
        (409, "conflict_error", 502, "provider_error"),
        (413, "", 413, "request_too_large"),
        (422, "invalid_request_error", 422, None),
        (400, "billing_error", 429, "insufficient_quota"),
        (500, "overloaded_error", 503, "provider_overloaded"),
        (503, "api_error", 503, "provider_overloaded"),
        (504, "timeout_error", 504, "upstream_timeout"),
    ],
)
def test_status_and_type(status: int, kind: str, seen: int, code: str | None) -> None:
    """A type that says more than its status wins."""
    error = failed(status, kind)
    assert (error.status, error.code, error.upstream_status) == (seen, code, status)


@pytest.mark.parametrize("code", ["contract_spend_limit_reached", "enforced_spend_limit_reached"])
def test_money_that_is_spent_is_no_rate(code: str) -> None:
    """Contract F12: a 429 that waiting does not help."""
    error = failed(429, "rate_limit_error", details={"error_code": code})
    assert (error.kind, error.should_retry) == (ErrorKind.QUOTA, False)


@pytest.mark.parametrize("body", [b"", b"<html>Too large</html>", b"Request Entity Too Large", b"[]"])
def test_an_error_that_is_no_json(body: bytes) -> None:
    """The status decides, and the words are ours: never HTML."""
    error = opened().error(413, {}, body)
    assert isinstance(error, UpstreamError)
    assert (error.code, error.message) == ("request_too_large", "The request is too large for the provider.")


def test_a_key_in_the_words_is_not_passed_on() -> None:
    """Contract S12: whatever the provider quotes."""
    error = failed(400, message="bad sk-canary-0123456789 and sk-ant-abcdefghij")
    assert error.message == "bad *** and ***"


def test_the_request_id() -> None:
    """From the header, else from the body."""
    assert failed(400, headers={"request-id": "h"}).upstream_request_id == "h"
    assert failed(400).upstream_request_id == "r"


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-11-22T00:02:59.25Z", "2m59s"),
        ("2026-11-22T00:00:01+00:00", "1s"),
        ("2026-11-21T00:00:00Z", "0s"),
        ("2026-11-22T00:00:01", None),
        ("soon", None),
    ],
)
def test_a_reset_is_a_duration(time: str, expected: str | None) -> None:
    """As OpenAI says it; what cannot be read is left out."""
    found = dict(rate_limits({"anthropic-ratelimit-tokens-reset": time}, golden.CLOCK))
    assert found.get("x-ratelimit-reset-tokens") == expected


def test_a_limit_that_is_no_number_is_left_out() -> None:
    """Contract T11."""
    headers = {"anthropic-ratelimit-requests-limit": "1\r\nset-cookie: a", "anthropic-ratelimit-tokens-limit": "5"}
    assert list(rate_limits(headers, golden.CLOCK)) == [("x-ratelimit-limit-tokens", "5")]
