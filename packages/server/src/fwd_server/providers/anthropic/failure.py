"""What Claude's API says when it fails. https://platform.claude.com/docs/en/api/errors

Status and ``error.type`` decide, and the words only where nothing else tells failures apart: a prompt that is too
long, and what is wrong with the gateway's account, both of which the API calls an ``invalid_request_error``.
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
from fwd_server.values.errors import UpstreamError, from_status
from fwd_server.wire import jsontext
from fwd_server.wire.backoff import parse_retry_after
from fwd_server.wire.redact import redact_text

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
# After the first content an error that is not about load is the provider's failure, whatever it calls it.
_LOAD: Final = frozenset({429, 529})

# Codes in ``details`` that are about money, whatever the status (contract F12): contract_spend_limit_reached and such.
_MONEY_CODE: Final = re.compile("spend|credit|billing|payment")
# A message that begins with the path of a field is about that field, and may quote anything of the caller's.
_ABOUT_A_FIELD: Final = re.compile(r"[a-z_]+(?:\.[\w-]+)*:\s")
_MONEY: Final = re.compile(
    r"credit balance (?:is|was) (?:too low|insufficient|negative|exhausted)"
    r"|(?:insufficient|out of|no|not enough) (?:funds|credits?)\b"
    r"|\b(?:reached|exceed\w*|over)\b.{0,60}\b(?:usage|spend\w*) limit|\b(?:usage|spend\w*) limits?\b.{0,40}\b"
    r"(?:reached|exceeded)|(?:payment|billing) (?:is |was )?(?:required|failed|overdue)",
    re.IGNORECASE | re.DOTALL,
)
# An account that is closed and a place that is not served are the operator's to change, like a refused key (F18).
_PLACE: Final = r"(?:country|countries|regions?|territory|territories|locations?)\b"
_ACCOUNT: Final = re.compile(
    r"\b(?:organi[sz]ation|account|workspace|api key)\b.{0,40}\b(?:disabled|suspended|restricted|deactivated|blocked|"
    rf"banned|closed)\b|unsupported {_PLACE}|\b{_PLACE}.{{0,40}}\bnot (?:supported|available|allowed|served)|\bnot "
    rf"(?:supported|available|allowed|served) (?:in|from) (?:your|this|the) {_PLACE}",
    re.IGNORECASE | re.DOTALL,
)
# "prompt is too long: 213000 tokens > 200000 maximum", "input length and `max_tokens` exceed context limit: ...".
_TOO_LONG: Final = re.compile(
    r"(?:prompt|input|context|conversation) is too long"
    r"|(?:exceeds?|exceeded|exceeding|longer than|larger than) .{0,60}context[ -](?:limit|length|size|window)"
    r"|(?:exceeds?|exceeded|longer than) .{0,40}(?:maximum|longest) (?:prompt|input|context)"
    r"|context[ -](?:limit|length|size|window) .{0,40}exceed",
    re.IGNORECASE | re.DOTALL,
)

_FRACTION: Final = re.compile(r"\.\d+")  # Python 3.10 reads three or six digits only, and no "Z"
_UNITS: Final = ("requests", "tokens")


def load_error(body: bytes) -> Json:
    """The object of an error answer; empty for the HTML or the plain text of a machine in between."""
    try:
        return lenient.obj(jsontext.loads(body))
    except orjson.JSONDecodeError:
        return {}


def _error_of(answer: Json) -> Json:
    """The object with type and message: under ``error``, or the answer itself where it is the error."""
    error = answer.get("error")
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, str) else answer


def message_of(answer: Json) -> str:
    """The provider's own words about a failure."""
    return lenient.text(_error_of(answer).get("message"))


def read_failure(status: int, headers: Mapping[str, str], answer: Json, endpoint: Endpoint, now: int) -> UpstreamError:
    """The failure that an answer with a status other than 200 stands for."""
    error = _error_of(answer)
    message = lenient.text(error.get("message"))
    failure = from_status(
        _meant_status(status, error, message),
        redact_text(message, endpoint.key),
        provider=_PROVIDER,
        key_name=endpoint.key_name,
        retry_after_s=parse_retry_after(headers, now),
        upstream_request_id=headers.get("request-id") or lenient.text(answer.get("request_id")) or None,
        headers=tuple(rate_limits(headers, now)),
    )
    failure.upstream_status = status  # the log shows what the API really answered
    if status == 400 and failure.status == 400 and _TOO_LONG.search(message):
        return request_fields.too_long(failure)
    return failure


def _meant_status(status: int, error: Json, message: str) -> int:
    """The status that says what happened, where the one given says less.

    Money is a 402 whatever the status; an account that is disabled, or may not be used here, is like a refused key.
    """
    if _MONEY_CODE.search(lenient.text(lenient.obj(error.get("details")).get("error_code"))):
        return 402
    # Only these statuses come with the account's troubles, and a message about a field may quote the caller's text.
    if status in (400, 403, 429) and not _ABOUT_A_FIELD.match(message):
        if _MONEY.search(message):
            return 402
        if status == 400 and _ACCOUNT.search(message):
            return 403
    kind = lenient.text(error.get("type"))
    return _BY_TYPE[kind] if kind in _SAYS_MORE else status


def failure_inside(answer: Json, endpoint: Endpoint, now: int, *, committed: bool = False) -> UpstreamError:
    """The failure that an error inside a 200 stands for, in a stream before or after its first content (F21)."""
    error = _error_of(answer)
    status = _BY_TYPE.get(lenient.text(error.get("type")), 500)
    # Half of the answer is out: the request was fine, so it cannot be the caller's fault any more.
    if committed and status not in _LOAD:
        return read_failure(500, {}, {"error": {"message": error.get("message")}}, endpoint, now)
    return read_failure(status, {}, answer, endpoint, now)


def rate_limits(headers: Mapping[str, str], now: int) -> Iterator[tuple[str, str]]:
    """The rate limits under OpenAI's names, the reset as a duration and not as a time."""
    for unit in _UNITS:
        for what in ("limit", "remaining"):
            value = headers.get(f"anthropic-ratelimit-{unit}-{what}", "")
            if value.isdecimal():
                yield f"x-ratelimit-{what}-{unit}", value
        reset = _time_until(headers.get(f"anthropic-ratelimit-{unit}-reset", ""), now)
        if reset is not None:
            yield f"x-ratelimit-reset-{unit}", reset


def _time_until(time: str, now: int) -> str | None:
    """An RFC 3339 time as the duration until then, like ``41s`` or ``2m59s``."""
    try:
        then = datetime.fromisoformat(_FRACTION.sub("", time).replace("Z", "+00:00"))
    except ValueError:
        return None
    if then.tzinfo is None:
        return None
    minutes, seconds = divmod(max(0, int(then.timestamp()) - now), 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
