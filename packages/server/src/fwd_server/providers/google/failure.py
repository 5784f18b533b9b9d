"""Gemini's failures, in the shape of Google's own APIs.

https://ai.google.dev/gemini-api/docs/troubleshooting
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import orjson

from fwd_server.providers import lenient, request_fields
from fwd_server.providers.google.traits import PROVIDER
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import UpstreamError, as_kind, from_status
from fwd_server.wire import jsontext
from fwd_server.wire.backoff import parse_retry_after
from fwd_server.wire.redact import clean

# What was paid for is used up (contract F12). "Quota" and "billing" stand in the text of every common limit, too.
_NO_MONEY: Final = re.compile(r"credits are depleted", re.IGNORECASE)
_TOO_LONG: Final = re.compile(r"input token count.{0,40} exceeds", re.IGNORECASE)

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


def error_object(body: bytes) -> Json:
    """The ``error`` of a body; some come in an array of one."""
    try:
        said = jsontext.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return lenient.obj(lenient.obj(said[0] if isinstance(said, list) and said else said).get("error"))


def read_failure(error: Json, deployment: Deployment, headers: Mapping[str, str] | None = None) -> UpstreamError:
    """Read an ``error`` object; a time in it says more than one in the ``headers``."""
    details = lenient.objects(error.get("details"))
    refused_key = any(detail.get("reason") == "API_KEY_INVALID" for detail in details)
    failure = from_status(
        401 if refused_key else _status(error),
        clean(lenient.text(error.get("message")), deployment.endpoint.key),
        provider=PROVIDER,
        key_name=deployment.endpoint.key_name,
        retry_after_s=next(_delays(details), parse_retry_after(headers or {})),
    )
    failure.upstream_status = _status(error)
    if failure.status == 429 and _NO_MONEY.search(failure.message):
        as_kind(failure, 402)
    if failure.status == 400 and _TOO_LONG.search(failure.message):
        request_fields.too_long(failure)
    return failure


def _status(error: Json) -> int:
    status = error.get("code")
    if not isinstance(status, int) or not 300 <= status <= 599:
        return _BY_WORD.get(lenient.text(error.get("status")), 500)
    return 500 if status == 499 else status  # 499 is the caller's own leaving, and this caller is still here


def _delays(details: list[Json]) -> Iterator[float]:
    """``RetryInfo.retryDelay``, as "34.2s"."""
    for detail in details:
        match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,9})?)s", lenient.text(detail.get("retryDelay")))
        if match:
            yield float(match[1])
