"""Failures of OpenAI-compatible providers, in every shape they come in."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.providers.golden import chat_request, open_exchange

from fwd_server.callers.openai_errors import error_object
from fwd_server.providers.base import AmendedRequest, UpstreamRequest
from fwd_server.values.errors import ErrorKind, UpstreamError


def error(status: int, body: object, name: str = "local", **headers: str) -> UpstreamError:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    found = open_exchange(name, chat_request(model=f"{name}:m")).error(status, named, data)
    assert isinstance(found, UpstreamError)
    return found


def inside(data: object, name: str = "local") -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        open_exchange(name, chat_request(model=f"{name}:m")).answer(orjson.dumps(data))
    return caught.value


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({"error": {"message": "no", "param": "x"}}, "no", "x"),
        ({"error": "no"}, "no", None),
        ({"object": "error", "message": "no"}, "no", None),
        ({"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "no"}]}}, "no", "n"),
        ({"object": "error", "message": [{"loc": ["body", "n"], "msg": "no"}]}, "no", "n"),
        ({"message": "no", "type": "x", "code": 7}, "no", None),
        ({"detail": "no"}, "no", None),
        ({"detail": [{"loc": ["body", "messages", 0], "msg": "no"}]}, "no", "messages.0"),
        ({"detail": [{"loc": 7, "msg": "no"}]}, "no", None),
        ([{"error": {"message": "no"}}], "no", None),
        ({"code": "Bad", "error": "no"}, "no", None),
        ([], "The provider refused the request.", None),
        ({"error": None}, "The provider refused the request.", None),
        (b"<html><b>no</b></html>", "The provider refused the request.", None),
        (b"", "The provider refused the request.", None),
    ],
)
def test_every_shape_is_read(body: object, message: str, param: str | None) -> None:
    """Text goes to the message; a page of HTML never does."""
    found = error(400, body)
    assert (found.status, found.type, found.message, found.param) == (400, "invalid_request_error", message, param)


def test_the_message_is_cleaned() -> None:
    """Contract S12, T16: neither the key nor an internal address is passed on."""
    found = error(400, {"error": {"message": "key sk-canary-0123456789 at http://10.0.0.7:8000/x", "param": "\x1b[1m"}})
    assert found.message == "key *** at ***"
    assert found.param == "[1m"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_in_our_words(status: int) -> None:
    """Contract F18: 502, never 401, and the variable to check."""
    found = error(status, {"error": {"message": "Incorrect API key provided: sk-canary"}})
    assert (found.status, found.code, found.should_retry, found.kind) == (502, "provider_auth", False, ErrorKind.AUTH)
    assert found.message == "local refused the gateway's API key: its operator must check API_KEY."


@pytest.mark.parametrize(
    "body", [{"error": "Incorrect API key provided: x"}, {"error": {"message": "no", "code": "invalid_api_key"}}]
)
def test_a_refused_key_may_come_as_400(body: object) -> None:
    """Contract F18: some servers answer 400 to a bad key; the caller is not to blame for it."""
    assert error(400, body).kind is ErrorKind.AUTH


@pytest.mark.parametrize(("name", "type_"), [("openai", "tokens"), ("groq", "rate_limit_error")])
def test_a_limit(name: str, type_: str) -> None:
    """Contract F11: the wait, the limits, and the type; only OpenAI's own types are passed on."""
    body = {"error": {"message": "slow down", "type": "tokens"}}
    headers = {"retry_after": "7", "x_ratelimit_reset_tokens": "7.66s", "x_request_id": "r1", "set_cookie": "a=b"}
    found = error(429, body, name, **headers)
    assert (found.status, found.type, found.code, found.retry_after_s) == (429, type_, "rate_limit_exceeded", 7)
    assert found.headers == (("x-ratelimit-reset-tokens", "7.66s"),)
    assert found.upstream_request_id == "r1"


@pytest.mark.parametrize("status", [402, 429])
def test_no_money(status: int) -> None:
    """Contract F12: not to be tried again, however long one waits."""
    found = error(status, {"error": {"message": "no", "code": "insufficient_quota"}}, retry_after="9")
    assert (found.status, found.code, found.kind) == (429, "insufficient_quota", ErrorKind.QUOTA)
    assert (found.should_retry, found.retry_after_s) == (False, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"code": "context_length_exceeded"},
        {"type": "string_too_long"},
        {"message": "This model's maximum context length is 10 tokens."},
    ],
)
def test_a_prompt_that_is_too_long(fields: dict[str, str]) -> None:
    """Contract F17: a kind of its own, since a call without a model may move on."""
    found = error(400, {"error": {"message": "no", **fields}})
    assert (found.code, found.kind, found.status) == ("context_length_exceeded", ErrorKind.CONTEXT_LENGTH, 400)


def test_a_model_that_is_gone() -> None:
    """Groq answers 400 to a model it took down."""
    found = error(400, {"error": {"message": "no", "code": "model_decommissioned"}}, "groq")
    assert (found.status, found.code, found.param) == (404, "model_not_found", "model")


@pytest.mark.parametrize(("status", "seen"), [(400, 400), (403, 403), (422, 403)])
def test_moderation(status: int, seen: int) -> None:
    """The caller's to change, even with the status of a refused key."""
    found = error(status, {"error": {"message": "flagged", "code": "content_policy_violation"}})
    assert (found.status, found.message, found.kind) == (seen, "flagged", ErrorKind.CONTENT_POLICY)
    assert found.should_retry is None


def test_moderation_without_words() -> None:
    """Some text in any case."""
    assert error(400, {"error": {"message": "", "code": "refusal"}}).message == "The provider refused the request."


@pytest.mark.parametrize(("code", "seen"), [("tool_use_failed", "tool_use_failed"), ("no code!", None), (400, None)])
def test_a_code_passes_where_it_is_a_word(code: object, seen: str | None) -> None:
    """Callers can act on tool_use_failed; a number or a sentence is no code."""
    assert error(400, {"error": {"message": "no", "code": code}}).code == seen


def test_a_request_that_is_too_large() -> None:
    """Groq calls it a rate limit; the code is ours."""
    assert error(413, {"error": {"message": "no", "code": "rate_limit_exceeded"}}).code == "request_too_large"


def test_a_failed_generation_is_shown_in_part() -> None:
    """At most 500 characters of what the model wrote."""
    found = error(400, {"error": {"message": "no.", "failed_generation": "x" * 999}})
    assert found.message == "no. failed_generation: " + "x" * 500


def test_the_provider_behind_may_have_no_name() -> None:
    """OpenRouter's raw text is appended."""
    assert error(400, {"error": {"message": "no", "metadata": {"raw": "why"}}}).message == "no (provider: why)"


@pytest.mark.parametrize(
    ("name", "data", "kind", "status"),
    [
        ("local", {"error": {"message": "x", "type": "invalid_request_error"}}, ErrorKind.INVALID_REQUEST, 400),
        ("local", {"error": {"message": "x", "code": "429"}}, ErrorKind.RATE_LIMITED, 429),
        ("local", {"error": {"message": "x", "code": True}}, ErrorKind.PROVIDER, 502),
        ("local", {"error": {"message": "x", "code": 7}}, ErrorKind.PROVIDER, 502),
        ("local", {"error": "x"}, ErrorKind.PROVIDER, 502),
        ("local", {"object": "error", "message": "x", "code": 503}, ErrorKind.OVERLOADED, 503),
        ("openrouter", {"error": {"message": "x", "metadata": {"error_type": "timeout"}}}, ErrorKind.TIMEOUT, 504),
        ("local", {"choices": [{"message": {}, "finish_reason": "error"}]}, ErrorKind.PROVIDER, 502),
        (
            "deepseek",
            {"choices": [{"message": {}, "finish_reason": "insufficient_system_resource"}]},
            ErrorKind.PROVIDER,
            502,
        ),
        (
            "openrouter",
            {"choices": [{"message": {}, "finish_reason": "error", "error": {"code": 429, "message": "x"}}]},
            ErrorKind.RATE_LIMITED,
            429,
        ),
    ],
)
def test_a_failure_inside_a_200(name: str, data: Any, kind: ErrorKind, status: int) -> None:
    """Contract F21: its code or its name stands for the status."""
    found = inside(data, name)
    assert (found.kind, found.status) == (kind, status)


def test_a_server_that_cannot_be_asked_for_usage_is_asked_no_more() -> None:
    """The same call without stream_options; the caller who asked gets an estimate."""
    body = orjson.dumps({"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]})
    request = chat_request(model="local:m", stream=True, stream_options={"include_usage": True})
    amended = open_exchange("local", request).error(422, {}, body)
    assert isinstance(amended, AmendedRequest)
    assert amended.error.param == "stream_options"
    sent = amended.exchange.request
    assert isinstance(sent, UpstreamRequest)
    assert "stream_options" not in orjson.loads(sent.body)
    assert isinstance(amended.exchange.error(422, {}, body), UpstreamError)


@pytest.mark.parametrize(("name", "model"), [("openai", "openai:m"), ("echo", "echo:")])
def test_others_are_not_asked_again(name: str, model: str) -> None:
    """OpenAI knows it, and echo was never asked."""
    found = open_exchange(name, chat_request(model=model, stream=True)).error(400, {}, b'{"error":"stream_options"}')
    assert isinstance(found, UpstreamError)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "type", "param", "metadata", "detail", "loc", "msg", "object"]
            ),
            inner,
        )
    ),
)


@given(ANYTHING, st.integers(300, 599), st.sampled_from(["openai", "groq", "openrouter", "local"]))
def test_no_error_body_breaks_it(body: Any, status: int, name: str) -> None:
    """Whatever a provider says, the caller gets the four keys, and never a 500 or a 401."""
    found = error(status, body, name)
    assert found.status not in (401, 500)
    assert isinstance(found.message, str)
    assert found.message
    orjson.dumps(error_object(found))


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("invalid_request_error", 400, None),
        ("BadRequestError", 400, None),
        ("invalid_api_key", 502, "provider_auth"),
        ("authentication_error", 502, "provider_auth"),
        ("insufficient_quota", 429, "insufficient_quota"),
        ("permission_error", 502, "provider_auth"),
        ("not_found_error", 404, "model_not_found"),
        ("model_not_found", 404, "model_not_found"),
        ("timeout", 504, "upstream_timeout"),
        ("request_too_large", 413, "request_too_large"),
        ("rate_limit_error", 429, "rate_limit_exceeded"),
        ("rate_limit_exceeded", 429, "rate_limit_exceeded"),
        ("overloaded_error", 503, "provider_overloaded"),
        ("something_else", 502, "provider_error"),
    ],
)
@pytest.mark.parametrize("field", ["type", "code"])
def test_a_failure_inside_a_200_has_the_status_of_its_name(
    field: str, name: str, status: int, code: str | None
) -> None:
    """Contract F21."""
    found = inside({"error": {"message": "no", field: name}})
    assert found.status == status
    assert found.code in (code, name)


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("invalid_request", 400, None),
        ("invalid_prompt", 400, None),
        ("authentication", 502, "provider_auth"),
        ("permission_denied", 502, "provider_auth"),
        ("timeout", 504, "upstream_timeout"),
        ("payment_required", 429, "insufficient_quota"),
        ("not_found", 404, "model_not_found"),
        ("rate_limit_exceeded", 429, "rate_limit_exceeded"),
        ("server", 502, "provider_error"),
        ("provider_unavailable", 502, "provider_error"),
        ("provider_overloaded", 503, "provider_overloaded"),
    ],
)
def test_openrouters_stable_names_have_a_status(name: str, status: int, code: str | None) -> None:
    found = inside({"error": {"message": "no", "metadata": {"error_type": name}}}, "openrouter")
    assert (found.status, found.code) == (status, code)


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"])
def test_the_end_of_the_money_is_no_limit_for_now(code: str) -> None:
    found = error(429, {"error": {"message": "no", "code": code}})
    assert (found.code, found.should_retry) == ("insufficient_quota", False)


@pytest.mark.parametrize("code", ["content_policy_violation", "content_filter", "refusal"])
def test_moderation_has_one_code(code: str) -> None:
    assert error(400, {"error": {"message": "no", "code": code}}).code == "content_policy_violation"


@pytest.mark.parametrize("code", ["model_not_found", "model_decommissioned"])
def test_a_missing_model_has_one_code(code: str) -> None:
    found = error(400, {"error": {"message": "no", "code": code}})
    assert (found.status, found.code, found.param) == (404, "model_not_found", "model")


@pytest.mark.parametrize(
    "said",
    [
        *(
            {"code": c}
            for c in ("context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long")
        ),
        {"message": "This model's maximum context length is 8 tokens."},
        {"message": "The context window is exceeded."},
        {"message": "Context length exceeded"},
    ],
)
def test_a_full_context_has_one_code(said: dict[str, str]) -> None:
    """Contract F17."""
    found = error(400, {"error": {"message": "no", **said}})
    assert (found.kind, found.code) == (ErrorKind.CONTEXT_LENGTH, "context_length_exceeded")


@pytest.mark.parametrize("name", ["local", "openai", "groq", "openrouter", "deepseek"])
@pytest.mark.parametrize(
    ("status", "fields", "kind"),
    [
        (400, {"message": "Your credit balance is too low to access the API."}, ErrorKind.QUOTA),
        (400, {"message": "no", "code": "billing_not_active"}, ErrorKind.QUOTA),
        (403, {"message": "Insufficient account balance"}, ErrorKind.QUOTA),
        (403, {"message": "no", "code": "AccountOverdueError"}, ErrorKind.QUOTA),
        (429, {"message": "You have reached your monthly spending limit."}, ErrorKind.QUOTA),
        (429, {"message": "no", "type": "exceeded_current_quota_error"}, ErrorKind.QUOTA),
        (500, {"message": "insufficient balance"}, ErrorKind.QUOTA),
        (400, {"message": "Organization has been restricted.", "code": "organization_restricted"}, ErrorKind.AUTH),
        (400, {"message": "Your account was suspended."}, ErrorKind.AUTH),
        (400, {"message": "Country, region, or territory not supported"}, ErrorKind.AUTH),
        (429, {"message": "You exceeded your current quota, please slow down."}, ErrorKind.RATE_LIMITED),
        (400, {"message": "the text 'credit balance is too low' is not valid"}, ErrorKind.INVALID_REQUEST),
        (400, {"message": 'the name "account is disabled" is not valid'}, ErrorKind.INVALID_REQUEST),
        (400, {"message": "credit_limit must be a number"}, ErrorKind.INVALID_REQUEST),
    ],
)
def test_a_failure_of_the_account_is_the_operators(
    name: str, status: int, fields: dict[str, Any], kind: ErrorKind
) -> None:
    """F12, F18: another provider is asked, and the caller is not told to change the request; the key's words stay."""
    found = error(status, {"error": fields}, name)
    assert found.kind is kind
    assert found.upstream_status == status
    if kind in (ErrorKind.AUTH, ErrorKind.QUOTA):
        assert found.status >= 429
        assert found.type != "invalid_request_error"
        assert found.should_retry is False


@pytest.mark.parametrize("field", ["code", "type"])
@pytest.mark.parametrize(
    ("name", "status"),
    [("exceed_context_size_error", 400), ("context_length_exceeded", 400), ("insufficient_balance", 429)],
)
def test_a_name_inside_a_stream_stands_for_its_status(name: str, field: str, status: int) -> None:
    """Contract F21: whatever number there is not."""
    chunk = b"data: " + orjson.dumps({"error": {"message": "no", field: name}}) + b"\n\n"
    found = open_exchange("local", chat_request(model="local:m", stream=True)).decoder().feed(chunk)[-1]
    assert isinstance(found, UpstreamError)
    assert found.status == status
