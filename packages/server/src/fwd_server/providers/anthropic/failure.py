"""What Claude's API says when it fails. https://platform.claude.com/docs/en/api/errors

Status and ``error.type`` decide, never the words: those may change. The one exception is a prompt that is too long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

import orjson

from fwd_server.providers import lenient, request_fields
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import UpstreamError, as_kind, from_status
from fwd_server.wire import jsontext
from fwd_server.wire.backoff import parse_retry_after
from fwd_server.wire.redact import clean

_PROVIDER: Final = "anthropic"

# What a type means where the status does not say it: an error inside a 200, and a status that says less.
_BY_TYPE: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_SAYS_MORE: Final = frozenset({"billing_error", "request_too_large", "rate_limit_error", "overloaded_error"})
# A 429 of these is no rate: the account has spent what it may (contract F12).
_SPENT: Final = frozenset({"contract_spend_limit_reached", "enforced_spend_limit_reached"})
# After the first content an error that is not about load is the provider's failure, whatever it calls it.
_LOAD: Final = frozenset({429, 529})

_FRACTION: Final = re.compile(r"\.\d+")  # Python 3.10 reads three or six digits only, and no "Z"
_UNITS: Final = ("requests", "tokens")


def said(body: bytes) -> Json:
    """The object of an error answer; empty for the HTML or the plain text of a machine in between."""
    try:
        return lenient.obj(jsontext.loads(body))
    except orjson.JSONDecodeError:
        return {}


def read(status: int, headers: Mapping[str, str], answer: Json, endpoint: Endpoint, now: int) -> UpstreamError:
    """The failure that an answer with a status other than 200 stands for."""
    error = lenient.obj(answer.get("error"))
    failure = from_status(
        status,
        clean(lenient.text(error.get("message")), endpoint.key),
        provider=_PROVIDER,
        key_name=endpoint.key_name,
        retry_after_s=parse_retry_after(headers, now),
        upstream_request_id=headers.get("request-id") or lenient.text(answer.get("request_id")) or None,
        headers=tuple(rate_limits(headers, now)),
    )
    if status == 400 and "prompt is too long" in failure.message:
        return request_fields.too_long(failure)
    meant = _meant(status, error)
    return failure if meant == status else as_kind(failure, meant)


def _meant(status: int, error: Json) -> int:
    """The status that says what happened, where the one given says less."""
    if lenient.obj(error.get("details")).get("error_code") in _SPENT:
        return 402
    kind = lenient.text(error.get("type"))
    return _BY_TYPE[kind] if kind in _SAYS_MORE else status


def inside(answer: Json, endpoint: Endpoint, now: int, *, committed: bool = False) -> UpstreamError:
    """The failure that an error inside a 200 stands for, in a stream before or after its first content (F21)."""
    error = lenient.obj(answer.get("error"))
    status = _BY_TYPE.get(lenient.text(error.get("type")), 500)
    if committed and status not in _LOAD:
        return read(500, {}, {"error": {"message": error.get("message")}}, endpoint, now)
    return read(status, {}, answer, endpoint, now)


def rate_limits(headers: Mapping[str, str], now: int) -> Iterator[tuple[str, str]]:
    """The rate limits under OpenAI's names, the reset as a duration and not as a time."""
    for unit in _UNITS:
        for what in ("limit", "remaining"):
            value = headers.get(f"anthropic-ratelimit-{unit}-{what}", "")
            if value.isdecimal():
                yield f"x-ratelimit-{what}-{unit}", value
        reset = _until(headers.get(f"anthropic-ratelimit-{unit}-reset", ""), now)
        if reset is not None:
            yield f"x-ratelimit-reset-{unit}", reset


def _until(time: str, now: int) -> str | None:
    """An RFC 3339 time as what is left until then, like ``41s`` or ``2m59s``."""
    try:
        then = datetime.fromisoformat(_FRACTION.sub("", time).replace("Z", "+00:00"))
    except ValueError:
        return None
    if then.tzinfo is None:
        return None
    minutes, seconds = divmod(max(0, int(then.timestamp()) - now), 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
