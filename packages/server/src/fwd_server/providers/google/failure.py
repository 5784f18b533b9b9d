"""Gemini's failures, in the shape of Google's own APIs.

https://ai.google.dev/gemini-api/docs/troubleshooting
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from fwd_server.providers import error_words, lenient, request_fields
from fwd_server.providers.google.traits import PROVIDER
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import UpstreamError, as_kind, from_status
from fwd_server.wire.backoff import parse_retry_after
from fwd_server.wire.redact import redact_text

# What was paid for is used up (contract F12). "Quota" and "billing" stand in the text of every common limit, too.
_NO_MONEY: Final = re.compile(
    r"credits are depleted|requires billing to be enabled|billing (?:account|has been|is) .{0,40}disabled|"
    r"spend(?:ing)? (?:cap|limit)|monthly usage (?:cap|limit)",
    re.IGNORECASE,
)
_NO_MONEY_REASONS: Final = frozenset({"BILLING_DISABLED", "BILLING_STATE_DISABLED"})
# The gateway's key or its account is refused, with the status of a wrong request.
# https://ai.google.dev/gemini-api/docs/troubleshooting, https://cloud.google.com/apis/design/errors#error_info
_NO_KEY: Final = re.compile(
    r"API key (?:not (?:valid|found)|expired)|API key .{0,40}(?:blocked|suspended)", re.IGNORECASE
)
_NO_KEY_REASONS: Final = re.compile(r"API_KEY_\w+|CONSUMER_(?:INVALID|SUSPENDED)|SERVICE_DISABLED|USER_PROJECT_DENIED")
# So is the place that the gateway asks from. Other preconditions are about the call: a file that is not ready, say.
_NOT_SERVED: Final = re.compile(
    r"\blocation\b.{0,40}\bnot supported\b|"
    r"\bnot (?:available|supported)\b.{0,40}\b(?:country|region|location|territory)\b|"
    r"\b(?:project|account|consumer)\b.{0,60}\b(?:suspended|disabled|restricted)\b",
    re.IGNORECASE,
)

# Errors inside an answer that give no number. https://cloud.google.com/apis/design/errors#handling_errors
_BY_WORD: Final = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def error_object(value: object) -> Json:
    """The error object of a failure's JSON: ``error``, alone or in an array, or words in another shape."""
    first = value[0] if isinstance(value, list) and value else value
    # An error without words still has a number or a status that says what kind it is.
    return {**lenient.obj(lenient.obj(first).get("error")), **error_words.find_error(first)}


def is_failure(value: Json) -> bool:
    """Whether an object that came with a 200 is a failure: it says ``error``, or has words and no part of an answer."""
    if value.get("error") not in (None, False, ""):
        return True
    return not _ANSWER & value.keys() and bool(error_words.find_error(value))


_ANSWER: Final = frozenset({"candidates", "usageMetadata", "promptFeedback", "responseId", "embeddings"})


def read_failure(error: Json, deployment: Deployment, headers: Mapping[str, str] | None = None) -> UpstreamError:
    """Read an ``error`` object; a time in it says more than one in the ``headers``."""
    details = lenient.objects(error.get("details"))
    words = lenient.text(error.get("message"))
    reasons = {lenient.text(detail.get("reason")) for detail in details}
    failure = from_status(
        # Google answers 400 to an invalid key; the caller's request is fine.
        401 if _is_key_refused(error, words, reasons) else _http_status(error),
        redact_text(words, deployment.endpoint.key),
        provider=PROVIDER,
        key_name=deployment.endpoint.key_name,
        retry_after_s=next(_retry_delays(details), parse_retry_after(headers or {})),
    )
    # The log keeps what the provider answered, whatever the caller is told.
    failure.upstream_status = _http_status(error)
    # A 403 has lost its words by now, because they might quote the key; those about money are shown.
    if _is_money_gone(failure, words, reasons):
        failure.message = redact_text(words, deployment.endpoint.key) or failure.message
        as_kind(failure, 402)
    elif failure.status == 400 and _NOT_SERVED.search(error_words.own_words(words)):
        as_kind(failure, 403)  # the operator's to change, like a refused key, and another provider may serve the call
    elif failure.status == 400 and error_words.is_too_long(words):
        request_fields.too_long(failure)
    return failure


def _is_key_refused(error: Json, words: str, reasons: set[str]) -> bool:
    return _http_status(error) == 400 and (bool(_NO_KEY.match(words)) or any(map(_NO_KEY_REASONS.fullmatch, reasons)))


def _is_money_gone(failure: UpstreamError, words: str, reasons: set[str]) -> bool:
    """Whether the account is out of money: missing billing is 403, spent credit 429, and some failures are 400."""
    if reasons & _NO_MONEY_REASONS:
        return True
    return failure.upstream_status in (400, 402, 403, 429) and bool(_NO_MONEY.search(error_words.own_words(words)))


def _http_status(error: Json) -> int:
    status = error_words.status_of(error)
    if status is None:
        return _BY_WORD.get(lenient.text(error.get("status")), 500)
    return 500 if status == 499 else status  # 499 means that the client disconnected, and ours is still here


def _retry_delays(details: list[Json]) -> Iterator[float]:
    """``RetryInfo.retryDelay``, as "34.2s"."""
    for detail in details:
        match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,9})?)s", lenient.text(detail.get("retryDelay")))
        if match:
            yield float(match[1])
