"""From the wire to values: receipts, errors and odd answers."""

from __future__ import annotations

import email.utils
import json
from typing import Any

import pytest

from fwd_client import APIResponseError, Chat, Embeddings, FailedAttempt, Plan, Receipt, Usage
from fwd_client._decode import amend_receipt, parse_json, read_receipt, read_value, retry_after, status_error

HEAD = {
    "x-request-id": "req_1",
    "x-fwd-provider": "openai",
    "x-fwd-model": "gpt-5",
    "x-fwd-attempts": "2",
    "x-fwd-dropped": "top_k, logit_bias",
    "x-fwd-upstream-request-id": "up_1",
    "server-timing": 'queue;dur=0.1, attempt;desc="a";dur=12, first;dur="3.5", odd, total;dur=x',
}


def test_receipt() -> None:
    """Every header of an answer finds its place."""
    assert read_receipt(200, HEAD, retries=1) == Receipt(
        request_id="req_1",
        provider="openai",
        model="gpt-5",
        attempts=2,
        retries=1,
        dropped=("top_k", "logit_bias"),
        timings={"queue": 0.1, "attempt": 12.0, "first": 3.5},
        upstream_request_id="up_1",
        headers=HEAD,
    )


def test_receipt_of_nothing() -> None:
    """Headers that are missing or make no sense give None, never an error."""
    known = read_receipt(200, {"x-fwd-attempts": "many", "server-timing": ""})
    assert (known.attempts, known.request_id, known.dropped, known.timings) == (None, None, (), {})


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        (b'fwd {"request_id":"r","attempts":2,"dropped":["a"]}', Receipt(request_id="r", attempts=2, dropped=("a",))),
        (b"fwd provider=groq model=m attempts=3 odd", Receipt(provider="groq", model="m", attempts=3)),
        (b'fwd {"timings":{"total":5,"x":"y"},"dropped":"a,b"}', Receipt(timings={"total": 5.0}, dropped=("a", "b"))),
        (b'fwd {"usage":{"prompt_tokens":1,"completion_tokens":2},"timings":3}', Receipt(usage=Usage(1, 2, 3))),
        (b"fwd {broken", Receipt()),
        (b"fwd [1]", Receipt()),
        (b'fwd {"provider":7,"attempts":true}', Receipt()),
        (b"keep-alive", Receipt()),
        (b"", Receipt()),
    ],
)
def test_amend(comment: bytes, expected: Receipt) -> None:
    """Contract 3a: a stream's comments complete its receipt, and no comment can break a stream."""
    assert amend_receipt(Receipt(), comment) == expected


def test_amend_keeps_the_usage_of_a_chunk() -> None:
    """What the provider counted is not replaced by the gateway's shorter count."""
    known = Receipt(usage=Usage(1, 2, 3))
    assert amend_receipt(known, b'fwd {"usage":{"prompt_tokens":9}}') == known


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": email.utils.formatdate(1_000_010, usegmt=True)}, 10.0),
        ({"retry-after": email.utils.formatdate(999_000, usegmt=True)}, 0.0),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds win; seconds may have fractions; a date counts from now; nonsense is nothing."""
    assert retry_after(headers, lambda: 1_000_000.0) == seconds


def test_status_error() -> None:
    """F33: an error has the gateway's words and what each provider said."""
    failed = [{"provider": "groq", "code": "connect_failed"}, {"provider": 3}, "odd"]
    body = {
        "error": {"message": "m", "type": "server_error", "param": "p", "code": "upstream_reset", "attempts": failed}
    }
    error = status_error(502, {**HEAD, "x-should-retry": "false", "retry-after": "3"}, json.dumps(body).encode())
    assert type(error).__name__ == "UpstreamError"
    assert (error.message, error.param, error.request_id, error.attempts) == ("m", "p", "req_1", 2)
    assert (error.should_retry, error.retry_after, error.body) == (False, 3.0, body)
    assert error.failures == (FailedAttempt("groq", "connect_failed"), FailedAttempt(None, None))


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"error":"text"}', b'{"error":{"message":3}}'])
def test_error_without_words(body: bytes) -> None:
    """A proxy's page instead of an error object is told as such."""
    error = status_error(502, {}, body)
    assert error.message == "The answer was HTTP 502 without the gateway's error object."
    assert (error.attempts, error.failures) == (None, ())


def test_redirect() -> None:
    """F19: a redirect is not followed; the message says where it leads."""
    assert "https://elsewhere" in status_error(308, {"location": "https://elsewhere"}, b"").message


@pytest.mark.parametrize(
    "data",
    [[], "text", 3, {"choices": 5}, {"choices": [{"message": {"content": ["x"]}}]}, {"usage": {"prompt_tokens": "x"}}],
)
def test_wrong_shape(data: Any) -> None:
    """An answer of another shape is an error that names the class."""
    with pytest.raises(APIResponseError, match="not a valid Chat"):
        read_value(Chat, data)


def test_not_json() -> None:
    """What is not JSON is shown by its start."""
    with pytest.raises(APIResponseError, match="got '<html>"):
        parse_json(b"<html>")


def test_vectors() -> None:
    """Vectors are floats, whether they came as numbers or as base64 of little-endian float32."""
    data = [{"embedding": [1, 2.5], "new": 1}, {"embedding": "AACAPwAAAEA=", "index": 1}]
    found = read_value(Embeddings, {"data": data, "model": "m"})
    assert found.vectors == [(1.0, 2.5), (1.0, 2.0)]
    assert (len(found), [one.index for one in found]) == (2, [0, 1])
    assert found.data[0].to_dict() == {"index": 0, "object": "embedding", "embedding": [1.0, 2.5], "new": 1}


@pytest.mark.parametrize("vector", ["A", "AAAA", [None], [[1]], ["x"], 3])
def test_broken_vectors(vector: Any) -> None:
    """What is no vector is an error of the answer."""
    with pytest.raises(APIResponseError, match="not a valid Embeddings"):
        read_value(Embeddings, {"data": [{"embedding": vector}]})


def test_plan() -> None:
    """A plan has what each provider would get, or why it would not be asked."""
    plan = read_value(
        Plan, {"plan": [{"provider": "a", "dropped": ["x"], "request": {"url": "u"}}, {"error": {"code": "c"}}]}
    )
    assert (len(plan), [call.provider for call in plan]) == (2, ["a", ""])
    first, second = plan
    assert (first.dropped, first.request, second.error) == (("x",), {"url": "u"}, {"code": "c"})


def test_skipped_providers_and_cost() -> None:
    """Who was passed over and why, as a header and inside a stream; and what the call cost, where that is known."""
    known = read_receipt(
        200, {"x-fwd-skipped": "anthropic=provider_not_configured, groq=cooling_down", "x-fwd-cost": "0.5"}
    )
    assert known.skipped == {"anthropic": "provider_not_configured", "groq": "cooling_down"}
    assert known.cost == 0.5
    comment = b'fwd {"skipped": {"google": "cooling_down"}, "cost_usd": "0.000482500"}'
    assert amend_receipt(read_receipt(200, {}), comment).skipped == {"google": "cooling_down"}
    assert amend_receipt(read_receipt(200, {}), comment).cost == 0.0004825
    assert amend_receipt(read_receipt(200, {}), b"fwd skipped=groq").skipped == {"groq": ""}
