"""Failures of OpenAI-compatible providers, in every shape they come in.

The status decides; the provider's words are shown, cleaned, and its code where a caller can do something about it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import orjson
from attrs import frozen

from fwd_server.providers.base import RATE_LIMIT_HEADERS
from fwd_server.providers.compatible.profile import ProviderProfile
from fwd_server.providers.lenient import obj, objects, text
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import ErrorKind, UpstreamError, as_kind, from_status
from fwd_server.wire import jsontext
from fwd_server.wire.backoff import parse_retry_after
from fwd_server.wire.redact import clean

_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_LONGEST_GENERATION: Final = 500  # characters of a tool call that the provider could not use

# What a failure inside a 200 stands for, by its type or code (contract F21).
_STATUS_OF: Final = {
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "insufficient_quota": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "timeout": 408,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "overloaded_error": 503,
}
_QUOTA: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"})
_POLICY: Final = frozenset({"content_policy_violation", "content_filter", "refusal"})
_NO_MODEL: Final = frozenset({"model_not_found", "model_decommissioned"})
_TOO_LONG: Final = frozenset(
    {"context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long"}
)
_NO_KEY_WORDS: Final = re.compile(r"(?:incorrect|invalid) api key", re.IGNORECASE)
_TOO_LONG_WORDS: Final = re.compile(r"maximum context length|context (?:length|window) (?:is )?exceeded", re.IGNORECASE)


@frozen
class Said:
    """What a provider's error object says, whichever shape it had."""

    message: str = ""
    code: str | None = None  # its code, where that is a word
    number: int | None = None  # its code, where that is a number
    names: frozenset[str] = frozenset()  # its code, its type and its stable name, where they are words
    param: str | None = None
    reasons: bool = False  # moderation gave reasons


def read_failure(
    profile: ProviderProfile, endpoint: Endpoint, status: int, headers: Mapping[str, str], body: bytes
) -> UpstreamError:
    """An answer whose status is not 200; ``headers`` have lower-case names."""
    try:
        said = _read(jsontext.loads(body))
    except orjson.JSONDecodeError:
        said = Said()  # a page of HTML, or nothing: never passed on
    error = _failure(profile, endpoint, said, status)
    error.upstream_request_id = headers.get(profile.id_header)
    if error.kind in (ErrorKind.RATE_LIMITED, ErrorKind.OVERLOADED):
        error.retry_after_s = parse_retry_after(headers)
    error.headers = tuple((name, headers[name]) for name in RATE_LIMIT_HEADERS if name in headers)
    return error


def read_inside(profile: ProviderProfile, endpoint: Endpoint, data: object) -> UpstreamError:
    """A failure inside a 200 or in a stream: its own code or name stands for the status (contract F21)."""
    said = _read(data)
    known = {**_STATUS_OF, **profile.error_types}
    named = min((known[name] for name in said.names if name in known), default=500)
    return _failure(profile, endpoint, said, said.number if said.number in range(300, 600) else named)


def is_failure(data: Json) -> bool:
    """Whether an object that came with a 200 is an error."""
    return bool(data.get("error")) or data.get("object") == "error"


def _failure(profile: ProviderProfile, endpoint: Endpoint, said: Said, status: int | None) -> UpstreamError:
    words = clean(said.message, endpoint.key)
    if status == 400 and (_NO_KEY_WORDS.search(words) or "invalid_api_key" in said.names):
        status = 401
    error = from_status(status or 500, words, provider=profile.name, key_name=endpoint.key_name)
    if said.param:
        error.param = clean(said.param)
    if said.reasons or said.names & _POLICY:
        return _as_policy(error, words)
    if error.kind is ErrorKind.RATE_LIMITED:
        return _limited(profile, error, said)
    if error.kind is ErrorKind.INVALID_REQUEST and error.status != 413:
        return _invalid(error, said)
    return error


def _as_policy(error: UpstreamError, words: str) -> UpstreamError:
    """Refused by moderation: the caller's to change, even where the status is that of a refused key."""
    error.kind, error.message = ErrorKind.CONTENT_POLICY, words or error.message
    error.status = 400 if error.upstream_status == 400 else 403
    error.type, error.code, error.should_retry = "invalid_request_error", "content_policy_violation", None
    return error


def _limited(profile: ProviderProfile, error: UpstreamError, said: Said) -> UpstreamError:
    """A limit for now, or the end of the money."""
    if said.names & _QUOTA:
        return as_kind(error, 402)
    if profile.own_types:
        error.type = next(iter(said.names & {"requests", "tokens"}), error.type)
    return error


def _invalid(error: UpstreamError, said: Said) -> UpstreamError:
    if said.names & _NO_MODEL:
        error.param = "model"
        return as_kind(error, 404)
    if said.names & _TOO_LONG or _TOO_LONG_WORDS.search(error.message):
        error.kind, error.code = ErrorKind.CONTEXT_LENGTH, "context_length_exceeded"
    else:
        error.code = said.code
    return error


# -- the shapes


def _read(data: object) -> Said:
    """``{"error": {...}}``, ``{"error": "text"}``, ``{"object": "error", ...}``, ``{"detail": ...}``, ``[{...}]``."""
    found = obj(data[0] if isinstance(data, list) and data else data)
    error = found.get("error") or found
    if isinstance(error, str):
        return Said(error)
    return _read_object(obj(error)) if "message" in obj(error) else _read_detail(found.get("detail"))


def _read_object(error: Json) -> Said:
    if isinstance(error["message"], (dict, list)):  # Mistral puts the details there
        return _read_detail(obj(error["message"]).get("detail") or error["message"])
    metadata = obj(error.get("metadata"))
    code, number = _word(error.get("code")), _number(error.get("code"))
    names = frozenset(filter(None, (code, _word(error.get("type")), _word(metadata.get("error_type")))))
    return Said(
        _message(error, metadata), code, number, names, text(error.get("param")) or None, bool(metadata.get("reasons"))
    )


def _message(error: Json, metadata: Json) -> str:
    message = text(error.get("message"))
    raw, name = text(metadata.get("raw")), text(metadata.get("provider_name"))
    if raw:
        message = f"{message} ({name or 'provider'}: {raw})"
    generation = text(error.get("failed_generation"))
    return f"{message} failed_generation: {generation[:_LONGEST_GENERATION]}" if generation else message


def _read_detail(detail: object) -> Said:
    """FastAPI's: a text, or a list of places and what is wrong there."""
    if isinstance(detail, str):
        return Said(detail)
    first = next(iter(objects(detail)), {})
    steps = first.get("loc")
    where = ".".join(str(step) for step in steps if step != "body") if isinstance(steps, list) else ""
    return Said(text(first.get("msg")), param=where or None)


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _number(code: object) -> int | None:
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:4])
    return code if isinstance(code, int) and not isinstance(code, bool) else None
