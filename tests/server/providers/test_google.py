"""Gemini's calls as they go out, its failures, and what is worth one more try."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.server.providers import golden
from tests.server.providers.google.helpers import calls, opened, result, user

from fwd_server.providers.base import AmendedRequest, UpstreamRequest
from fwd_server.providers.google import GoogleChat, GoogleExchange
from fwd_server.values.deployment import Deployment, Endpoint
from fwd_server.values.errors import ErrorKind, UpstreamError
from fwd_server.values.secret import Secret


def request_of(exchange: GoogleExchange) -> UpstreamRequest:
    return exchange.request


def failed(status: int, error: object, **body: Any) -> UpstreamError:
    found = opened(**body).error(status, {}, orjson.dumps({"error": error}))
    assert isinstance(found, UpstreamError)
    return found


def amended(error: str, **body: Any) -> GoogleExchange:
    found = opened(**body).error(400, {}, orjson.dumps({"error": {"message": error}}))
    assert isinstance(found, AmendedRequest)
    assert isinstance(found.exchange, GoogleExchange)
    assert error.startswith(found.error.message)
    return found.exchange


# -- the request


def test_the_key_is_in_a_header_and_never_in_the_address() -> None:
    """Contract S13."""
    request = request_of(opened(stream=True))
    assert request.path == "/models/gemini-3.5-flash:streamGenerateContent?alt=sse"
    keys = [value for name, value in request.headers if name == "x-goog-api-key"]
    assert isinstance(keys[0], Secret)
    assert b"canary" not in request.body


def test_a_model_is_quoted_and_cannot_lead_elsewhere() -> None:
    """Contract T17, T19."""
    assert request_of(opened("../files?x#y")).path == "/models/..%2Ffiles%3Fx%23y:generateContent"
    assert request_of(opened("models/gemini-3.5-flash")).path == "/models/gemini-3.5-flash:generateContent"


def test_a_server_without_a_key_gets_none() -> None:
    """A test double or a proxy that holds the key itself; its own configured headers go along."""
    endpoint = Endpoint("google", headers=(("x-a", "b"),))
    exchange = GoogleChat().open(golden.chat_request(), Deployment(endpoint, "gemini-3.5-flash"), 0, golden.fresh_ids())
    assert exchange.request.headers == (("content-type", "application/json"), ("x-a", "b"))


def test_extra_body_is_merged_last() -> None:
    body = opened(temperature=0.5, extra_body={"generationConfig": {"temperature": 1}, "labels": {"a": "b"}}).body
    assert body["generationConfig"] == {"temperature": 1}
    assert body["labels"] == {"a": "b"}


# -- failures


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"[1]", b'{"error": ""}', b'{"error": {"code": 500}}', b""])
def test_a_failure_without_words_gets_ours(body: bytes) -> None:
    error = opened().error(500, {}, body)
    assert isinstance(error, UpstreamError)
    assert (error.message, error.code) == ("The provider failed.", "provider_error")


def test_a_prompt_that_is_too_long_is_said_so() -> None:
    """Contract F17: a longer model may take it."""
    text = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    error = failed(400, {"message": text})
    assert (error.kind, error.code, error.param) == (
        ErrorKind.CONTEXT_LENGTH,
        "context_length_exceeded",
        "messages",
    )


def test_a_refused_key_keeps_the_providers_own_status() -> None:
    """Contract F18: 400 with API_KEY_INVALID is a refused key, whatever else is said."""
    error = failed(400, {"message": "key AIzaSyFake", "details": [1, {"reason": "API_KEY_INVALID"}]})
    assert (error.kind, error.status, error.upstream_status) == (ErrorKind.AUTH, 502, 400)
    assert "AIza" not in error.message


@pytest.mark.parametrize(
    ("delay", "seconds"), [("34.2s", 34.2), ("0s", 0.0), ("soon", None), (5, None), ("9999999s", None)]
)
def test_how_long_to_wait_is_read_from_the_body(delay: object, seconds: float | None) -> None:
    """Contract F11: Gemini has no header for it."""
    assert failed(429, {"details": [{"@type": "x"}, {"retryDelay": delay}]}).retry_after_s == seconds


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Your prepayment credits are depleted. Please go to AI Studio to manage your billing.", "insufficient_quota"),
        ("You exceeded your current quota, please check your plan and billing details.", "rate_limit_exceeded"),
        ("Resource has been exhausted (e.g. check quota).", "rate_limit_exceeded"),
    ],
)
def test_an_account_without_money_is_told_from_a_limit(said: str, code: str) -> None:
    """Contract F12: no retry helps; the daily and minute limits name billing too, and pass."""
    error = failed(429, {"code": 429, "message": said, "status": "RESOURCE_EXHAUSTED"})
    assert (error.status, error.code, error.upstream_status) == (429, code, 429)
    assert error.should_retry is (False if code == "insufficient_quota" else None)


def test_a_call_the_provider_gave_up_is_its_failure() -> None:
    """Its 499 means that the caller left; here the caller is still waiting."""
    assert failed(499, {"message": "cancelled", "status": "CANCELLED"}).status == 502


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 503}, 503),
        ({"code": "503", "status": "UNAVAILABLE"}, 503),
        ({"status": "RESOURCE_EXHAUSTED"}, 429),
        ({"code": 7}, 502),
        ({}, 502),
    ],
)
def test_an_error_inside_a_stream_is_read_by_its_number_or_its_word(error: dict[str, Any], status: int) -> None:
    """Contract F21."""
    events = opened(stream=True).decoder().feed(b"data: " + orjson.dumps({"error": error}) + b"\n\n")
    assert [event.status for event in events if isinstance(event, UpstreamError)] == [status]


# -- one more try

SIGNED = {"extra_content": {"google": {"thought_signature": "QUJD"}}}


@pytest.mark.parametrize(
    "words", ["Corrupted thought signature.", "It has an invalid thought signature for content at index 1."]
)
def test_signatures_from_elsewhere_are_replaced_once(words: str) -> None:
    """Pitfall 30: a signature is good at the endpoint that made it, and nowhere else."""
    messages = [user("Hi"), calls("ping", **SIGNED), result(0, "1")]
    exchange = amended(words, messages=messages)
    parts = exchange.body["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="]
    again = exchange.error(400, {}, b'{"error":{"message":"Corrupted thought signature."}}')
    assert isinstance(again, UpstreamError)


def test_probabilities_are_left_out_for_a_model_without_them() -> None:
    exchange = amended("Logprobs is not enabled for this model.", logprobs=True, top_logprobs=2, seed=1)
    assert exchange.body["generationConfig"] == {"seed": 1}
    assert exchange.dropped == ("logprobs", "top_logprobs")


def test_nobody_is_asked_again_for_what_was_not_sent() -> None:
    assert failed(400, {"message": "Logprobs is not enabled."}).status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"12", b"\xff"])
def test_an_answer_nobody_can_read_is_a_failure(body: bytes) -> None:
    """Contract F20."""
    with pytest.raises(UpstreamError) as caught:
        opened().answer(body)
    assert caught.value.code == "bad_payload"
