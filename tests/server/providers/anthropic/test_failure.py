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


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."),
        (400, "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."),
        (400, "You have reached your specified workspace API usage limits."),
        (403, "Your organization's monthly spend limit has been reached."),
        (429, "This request would exceed your organization's spending limit."),
    ],
)
def test_an_account_without_money(status: int, message: str) -> None:
    """The operator's, whatever status says so: another provider may be asked (F12)."""
    error = failed(status, "invalid_request_error", message)
    assert (error.kind, error.status, error.code) == (ErrorKind.QUOTA, 429, "insufficient_quota")
    assert (error.should_retry, error.upstream_status, error.message) == (False, status, message)


@pytest.mark.parametrize("code", ["billing_hold", "credit_exhausted", "workspace_spend_limit_reached"])
@pytest.mark.parametrize("status", [400, 403, 429])
def test_codes_of_money_whatever_the_status(code: str, status: int) -> None:
    """Contract F12."""
    assert failed(status, "invalid_request_error", details={"error_code": code}).kind is ErrorKind.QUOTA


@pytest.mark.parametrize(
    "message",
    [
        "This organization has been disabled.",
        "Your account has been suspended. Please contact support.",
        "This API key is restricted.",
        "Access to Anthropic models is not allowed from unsupported countries, regions, or territories.",
        "Claude is not available in your region.",
    ],
)
def test_an_account_that_is_closed_and_a_place_that_is_not_served(message: str) -> None:
    """Like a refused key: the operator's, in our words (F18)."""
    error = failed(400, "invalid_request_error", message)
    assert (error.kind, error.status, error.code) == (ErrorKind.AUTH, 502, "provider_auth")
    assert error.message not in message


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "messages.0.content: the text 'credit balance is too low' is not valid", ErrorKind.INVALID_REQUEST),
        (400, "tools.0.name: the organization disabled_x", ErrorKind.INVALID_REQUEST),
        (
            400,
            "max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens",
            ErrorKind.INVALID_REQUEST,
        ),
        (400, "temperature: range is 0..1", ErrorKind.INVALID_REQUEST),
        (
            429,
            "This request would exceed your organization's rate limit of 40,000 input tokens per minute",
            ErrorKind.RATE_LIMITED,
        ),
        (429, "This request would exceed your account's rate limit. Please try again later.", ErrorKind.RATE_LIMITED),
    ],
)
def test_what_only_sounds_like_it(status: int, message: str, kind: ErrorKind) -> None:
    """A field of the request that is wrong may quote anything, and a rate is no money."""
    assert failed(status, "invalid_request_error", message).kind is kind


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 213000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 198000 + 8192 > 200000, decrease input length",
        "The input exceeds the model's context window",
        "the prompt is longer than the context length of this model",
        "The request exceeds the maximum context size",
        "Input is too long for requested model.",
        "conversation exceeds the maximum prompt length",
    ],
)
def test_too_long_a_prompt(message: str) -> None:
    """In whatever words; from a 400 only."""
    error = failed(400, "invalid_request_error", message)
    assert (error.kind, error.code, error.param) == (ErrorKind.CONTEXT_LENGTH, "context_length_exceeded", "messages")
    assert failed(500, "api_error", message).kind is ErrorKind.PROVIDER


def test_a_byte_order_mark_before_an_error() -> None:
    """It says nothing."""
    body = b"\xef\xbb\xbf" + orjson.dumps({"error": {"type": "invalid_request_error", "message": "no such voice"}})
    error = opened().error(400, {}, body)
    assert isinstance(error, UpstreamError)
    assert error.message == "no such voice"
