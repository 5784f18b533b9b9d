"""Every failure a caller can see, as one small tree.

    GatewayError                 status, type, code, param, and the headers that go with it
    ├─ BadRequest                400 and its relatives: the call itself is wrong
    ├─ InvalidKey                401, one constant text (contract S15)
    ├─ ModelNotFound             404, with the nearest names
    ├─ ProviderNotConfigured     503, names the variable to set
    ├─ ProviderNotAvailable      501, a provider this version does not speak
    ├─ Overloaded                503, the gateway itself has no room (R3)
    ├─ Refused                   400, a provider cannot take something in the call; another one may (G11)
    └─ UpstreamError             what an attempt at a provider ended with; its ``kind`` decides what follows

The codes and types are those of OpenAI's API, so that every SDK raises its own exception class:
https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

import enum
import math
from typing import Any, Final

from attrs import define, field


class ErrorKind(enum.Enum):
    """Why an attempt failed. The coordinator decides by this and by nothing else (contract 3c)."""

    INVALID_REQUEST = "invalid_request"  # the caller's fault: the same everywhere (F17)
    CONTENT_POLICY = "content_policy"  # refused by moderation: the caller's to change
    NOT_FOUND = "not_found"  # the provider has no such model (F17)
    CONTEXT_LENGTH = "context_length"  # too long for this model (F17)
    AUTH = "auth"  # the provider refused the gateway's key (F18)
    QUOTA = "quota"  # the gateway's account is out of money (F12)
    RATE_LIMITED = "rate_limited"  # F11
    OVERLOADED = "overloaded"  # 503, 529 (F15, F16)
    PROVIDER = "provider"  # 500 and its relatives (F13, F14)
    TIMEOUT = "timeout"  # F2, F7, F9
    CONNECTION = "connection"  # F1, F3 to F6, F8
    PAYLOAD = "payload"  # an answer nobody can use (F20, F24 to F27, F29)


# A call that fails for one of these would fail the same way at every provider.
CALLERS_FAULT: Final = frozenset({ErrorKind.INVALID_REQUEST, ErrorKind.CONTENT_POLICY})
# These end the call too, unless the caller left the choice of the model to the gateway (F17).
MODELS_FAULT: Final = frozenset({ErrorKind.NOT_FOUND, ErrorKind.CONTEXT_LENGTH})

# The SDKs wait half a second by default, which is too short for a provider that is overloaded.
OVERLOADED_RETRY_S: Final = 5.0


@define(eq=False, slots=False)
class GatewayError(Exception):
    """A failure as the caller sees it.

    ``retry_after_s`` becomes ``retry-after`` (and ``retry-after-ms`` where it is not whole);
    ``should_retry`` becomes ``x-should-retry`` and is left out when None; ``headers`` are more of them.
    ``attempts`` lists what was tried, for the body (contract F33).
    """

    message: str
    status: int = 500
    type: str = "server_error"
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = field(default=None, kw_only=True)
    should_retry: bool | None = field(default=None, kw_only=True)
    headers: tuple[tuple[str, str], ...] = field(default=(), kw_only=True)
    attempts: tuple[dict[str, Any], ...] = field(default=(), kw_only=True)

    def __str__(self) -> str:
        return self.message

    def all_headers(self) -> list[tuple[str, str]]:
        """The headers that belong to this failure, as name and value."""
        return [*self.headers, *retry_headers(self.retry_after_s), *should_retry_header(self.should_retry)]


def retry_headers(seconds: float | None) -> list[tuple[str, str]]:
    """``retry-after`` in whole seconds, rounded up, and ``retry-after-ms`` where that loses something.

    The OpenAI SDK reads the second one first and refuses to wait longer than 120 s.
    """
    if seconds is None:
        return []
    # Rounded up: a client that waits too short is refused again.
    whole = -int(-seconds // 1)
    exact = [] if whole == seconds else [("retry-after-ms", str(math.ceil(seconds * 1000)))]
    return [("retry-after", str(whole)), *exact]


def should_retry_header(value: bool | None) -> list[tuple[str, str]]:
    """``x-should-retry``, which OpenAI's SDKs obey before they look at the status."""
    return [] if value is None else [("x-should-retry", "true" if value else "false")]


@define(eq=False, slots=False)
class BadRequest(GatewayError):
    """The call cannot be served as it is: what was found, where, and what is allowed."""

    status: int = 400
    type: str = "invalid_request_error"


@define(eq=False, slots=False)
class InvalidKey(GatewayError):
    """No key, a wrong, malformed, expired or revoked one: the answer is the same to the byte (S15)."""

    # OpenAI's own sentence, without the key that OpenAI quotes in it.
    message: str = "Incorrect API key provided."
    status: int = 401
    type: str = "invalid_request_error"
    code: str | None = "invalid_api_key"


@define(eq=False, slots=False)
class ModelNotFound(GatewayError):
    """No provider serves this name."""

    status: int = 404
    type: str = "invalid_request_error"
    code: str | None = "model_not_found"
    param: str | None = "model"


@define(eq=False, slots=False)
class ProviderNotConfigured(GatewayError):
    """The provider is known and has no key: says which variable to set."""

    status: int = 503
    code: str | None = "provider_not_configured"
    should_retry: bool | None = field(default=False, kw_only=True)


@define(eq=False, slots=False)
class ProviderNotAvailable(GatewayError):
    """This version does not speak the provider's language, or not for this operation."""

    status: int = 501
    code: str | None = "provider_not_available"
    should_retry: bool | None = field(default=False, kw_only=True)


@define(eq=False, slots=False)
class Overloaded(GatewayError):
    """The gateway itself has no room for the call now; soon it may (R3, D13)."""

    status: int = 503
    code: str | None = "overloaded"
    retry_after_s: float | None = field(default=1.0, kw_only=True)


@define(eq=False, slots=False)
class Refused(BadRequest):
    """A provider cannot take something in the call. Nothing was sent; another provider may take it (G11)."""

    code: str | None = "unsupported_parameter"


@define(eq=False, slots=False)
class UpstreamError(GatewayError):
    """How an attempt at a provider failed. ``upstream_status`` is the provider's own, where it gave one.

    ``native`` are the provider's own bytes about it, for a caller who speaks its language.
    """

    kind: ErrorKind = field(default=ErrorKind.PROVIDER, kw_only=True)
    native: bytes | None = field(default=None, kw_only=True, repr=False)
    upstream_status: int | None = field(default=None, kw_only=True)
    upstream_request_id: str | None = field(default=None, kw_only=True)

    def all_headers(self) -> list[tuple[str, str]]:
        """As every failure's; an overloaded provider that names no time is given 5 s (F15, F16)."""
        given = GatewayError.all_headers(self)
        silent = self.kind is ErrorKind.OVERLOADED and self.retry_after_s is None
        return [*given, *retry_headers(OVERLOADED_RETRY_S)] if silent else given


_StatusRow = tuple[ErrorKind, int, str, str | None]
_SERVER: Final = "server_error"
_INVALID: Final = "invalid_request_error"

# Upstream status -> kind, and the status, type and code the caller sees (contract F11 to F19).
_BY_STATUS: Final[dict[int, _StatusRow]] = {
    400: (ErrorKind.INVALID_REQUEST, 400, _INVALID, None),
    # Never 401 to the caller, whose key is fine: it is the gateway's key that was refused.
    401: (ErrorKind.AUTH, 502, _SERVER, "provider_auth"),
    402: (ErrorKind.QUOTA, 429, "insufficient_quota", "insufficient_quota"),
    403: (ErrorKind.AUTH, 502, _SERVER, "provider_auth"),
    404: (ErrorKind.NOT_FOUND, 404, _INVALID, "model_not_found"),
    # A provider's 408 would make the SDKs believe that the caller's own request was too slow.
    408: (ErrorKind.TIMEOUT, 504, _SERVER, "upstream_timeout"),
    413: (ErrorKind.INVALID_REQUEST, 413, _INVALID, "request_too_large"),
    422: (ErrorKind.INVALID_REQUEST, 422, _INVALID, None),
    425: (ErrorKind.TIMEOUT, 504, _SERVER, "upstream_timeout"),
    429: (ErrorKind.RATE_LIMITED, 429, "rate_limit_error", "rate_limit_exceeded"),
    # Groq, flex tier: https://console.groq.com/docs/errors.
    498: (ErrorKind.OVERLOADED, 503, _SERVER, "provider_overloaded"),
    502: (ErrorKind.PROVIDER, 502, _SERVER, "provider_error"),
    503: (ErrorKind.OVERLOADED, 503, _SERVER, "provider_overloaded"),
    504: (ErrorKind.PROVIDER, 504, _SERVER, "upstream_timeout"),
    529: (ErrorKind.OVERLOADED, 503, _SERVER, "provider_overloaded"),
}
_OTHER_5XX: Final[_StatusRow] = (ErrorKind.PROVIDER, 502, _SERVER, "provider_error")
_REDIRECT: Final[_StatusRow] = (ErrorKind.PAYLOAD, 502, _SERVER, "provider_redirect")

_DEFAULT_MESSAGES: Final[dict[str, str]] = {
    "insufficient_quota": "The provider's account is out of credit.",
    "provider_error": "The provider failed.",
    "provider_overloaded": "The provider is overloaded.",
    "provider_redirect": "The provider answered with a redirect, which is never followed.",
    "rate_limit_exceeded": "The provider's rate limit is reached.",
    "request_too_large": "The request is too large for the provider.",
    "model_not_found": "The provider does not have this model.",
    "upstream_timeout": "The provider did not answer in time.",
}


def from_status(
    status: int,
    message: str = "",
    *,
    provider: str = "",
    key_name: str = "",
    retry_after_s: float | None = None,
    upstream_request_id: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> UpstreamError:
    """The failure that a provider's status stands for, in the provider's words where they may be shown.

    The text for a refused key is always ours, because the provider's may quote the key (F18). ``attrs.evolve``
    does not work on exceptions: codecs set what their provider says more exactly on the result.
    """
    kind, seen, type_, code = _status_row(status)
    error = UpstreamError(
        default_message(code, key_name, provider) if kind is ErrorKind.AUTH or not message else message,
        seen,
        type_,
        code,
        _error_param(kind),
        kind=kind,
        upstream_status=status,
        upstream_request_id=upstream_request_id,
        retry_after_s=retry_after_s,
        headers=headers,
    )
    return settle_retry(error)


def settle_retry(error: UpstreamError) -> UpstreamError:
    """Set what an error's kind says about trying again: never for F12 and F18, a time only for F11, F15 and F16."""
    if error.kind in (ErrorKind.AUTH, ErrorKind.QUOTA):
        error.should_retry = False
    if error.kind not in (ErrorKind.OVERLOADED, ErrorKind.RATE_LIMITED):
        error.retry_after_s = None
    return error


def as_kind(error: UpstreamError, status: int) -> UpstreamError:
    """Give ``error`` the kind, status, type and code that an upstream ``status`` stands for; keep its text."""
    error.kind, error.status, error.type, error.code = _status_row(status)
    return settle_retry(error)


def default_message(code: str | None, key_name: str = "", provider: str = "") -> str:
    """The gateway's own sentence for a code, used if the provider gave none that may be shown."""
    if code == "provider_auth":
        hint = f": its operator must check {key_name}" if key_name else ""
        return f"{provider or 'The provider'} refused the gateway's API key{hint}."
    return _DEFAULT_MESSAGES.get(code or "", "The provider refused the request.")


def _error_param(kind: ErrorKind) -> str | None:
    return "model" if kind is ErrorKind.NOT_FOUND else None


def _status_row(status: int) -> _StatusRow:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    # Conflicts and failed dependencies are the provider's state, not the caller's mistake.
    if status >= 500 or status in (409, 412, 424):
        return _OTHER_5XX
    if 300 <= status < 400:
        return _REDIRECT
    return (ErrorKind.INVALID_REQUEST, status, _INVALID, None)


# Transport codes (``http1``) -> kind and status; the codes are those of contract 3c.
_TRANSPORT: Final[dict[str, tuple[ErrorKind, int, str]]] = {
    "connect_failed": (ErrorKind.CONNECTION, 502, "The provider cannot be reached: connection refused."),
    "connect_timeout": (
        ErrorKind.TIMEOUT,
        504,
        "The provider cannot be reached: the connection timed out.",
    ),
    "dns_failed": (ErrorKind.CONNECTION, 502, "The provider's host name cannot be resolved."),
    "tls_failed": (ErrorKind.CONNECTION, 502, "The TLS connection to the provider is not trusted."),
    "upstream_reset": (ErrorKind.CONNECTION, 502, "The provider closed the connection before it answered."),
    "upstream_truncated": (ErrorKind.CONNECTION, 502, "The provider stream ended before completion."),
    "upstream_timeout": (ErrorKind.TIMEOUT, 504, "The provider did not answer in time."),
    "upstream_stalled": (ErrorKind.TIMEOUT, 504, "The provider stopped sending in the middle of its answer."),
    "bad_response": (ErrorKind.PAYLOAD, 502, "The provider's answer is not valid HTTP."),
    "bad_encoding": (ErrorKind.PAYLOAD, 502, "The provider's answer has an encoding that was not requested."),
    "bad_content_type": (ErrorKind.PAYLOAD, 502, "The provider's answer has an unexpected content type."),
    "bad_payload": (ErrorKind.PAYLOAD, 502, "The provider's answer cannot be read."),
    "too_large": (ErrorKind.PAYLOAD, 502, "The provider's answer is larger than the gateway accepts."),
    "shutdown": (ErrorKind.CONNECTION, 503, "The gateway is shutting down."),
    "deadline": (ErrorKind.TIMEOUT, 504, "The time for the whole call is up."),
}


def upstream_failure(code: str, message: str = "") -> UpstreamError:
    """An attempt that failed on the way: unreachable, cut, silent or unreadable (contract 3c)."""
    kind, status, words = _TRANSPORT[code]
    # The whole time of the call is used up; a retry by the SDK would take as long again.
    retry = False if code == "deadline" else None
    return UpstreamError(message or words, status, code=code, kind=kind, should_retry=retry)


def plain_message(code: str | None) -> str:
    """The gateway's own sentence for any code of a failed attempt, with no word of the provider's."""
    return _TRANSPORT[code][2] if code in _TRANSPORT else default_message(code)


def internal_error() -> GatewayError:
    """A bug in the gateway; its details are in the log and nowhere else."""
    return GatewayError(
        "The gateway failed. This is a bug: please report it with the request id.", 500, code="internal"
    )
