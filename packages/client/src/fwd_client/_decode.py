"""From JSON to the classes of `_values`, and from headers to a receipt."""

from __future__ import annotations

import base64
import json
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import evolve, fields
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn

from fwd_client._errors import APIResponseError, APIStatusError, FailedAttempt, class_for
from fwd_client._receipt import Receipt, Usage
from fwd_client._value import Value

V = TypeVar("V", bound=Value)


def _make_reader(cls: type[Value]) -> Callable[[Any, Any], Value]:
    """A function that reads one class: null counts as absent, unknown fields go to `extra`."""
    known = {a.name for a in fields(cls)} - {"extra", "receipt"}
    # Detailed validation names the place of a mistake; every chunk would pay for it.
    structure = make_dict_structure_fn(cls, _converter, _cattrs_detailed_validation=False)

    def read(data: Any, _: Any) -> Value:
        # Providers write null for what they leave out.
        given = {name: value for name, value in data.items() if name in known and value is not None}
        value = structure(given, cls)
        extra = {name: item for name, item in data.items() if name not in known}
        return evolve(value, extra=extra) if extra else value

    return read


_converter = Converter(detailed_validation=False)
_converter.register_structure_hook_factory(lambda cls: isinstance(cls, type) and issubclass(cls, Value), _make_reader)


@_converter.register_structure_hook
def _only_text(value: Any, _: type[str]) -> str:
    """Refuse anything else where text is expected; cattrs would call `str` on it."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value


def _read_vector(value: Any, _: Any) -> tuple[float, ...]:
    """Numbers, or the base64 of little-endian float32."""
    if not isinstance(value, str):
        return tuple(map(float, value))
    # `encoding_format: base64`, which is shorter and quicker to read than numbers as text.
    packed = base64.b64decode(value, validate=True)
    return struct.unpack(f"<{len(packed) // 4}f", packed)


_converter.register_structure_hook_func(lambda kind: kind == tuple[float, ...], _read_vector)


def read_value(cls: type[V], data: Any, **more: Any) -> V:
    """An instance of `cls` from parsed JSON; `APIResponseError` when it does not fit."""
    try:
        value = _converter.structure(data, cls)
    # What cattrs raises depends on the shape that came; all of it means the same here.
    except (AttributeError, TypeError, ValueError, struct.error) as error:
        raise APIResponseError(f"The answer is not a valid {cls.__name__}: {error}.") from error
    return evolve(value, **more) if more else value


def parse_json(text: bytes) -> Any:
    """Parsed JSON, or `APIResponseError` with the start of what came instead."""
    try:
        return json.loads(text)
    except ValueError as error:
        # A page of a proxy is the usual case, and its start says whose it is.
        start = text[:80].decode(errors="replace")
        raise APIResponseError(f"Expected JSON from the gateway, got {start!r}.") from error


def read_receipt(status: int, headers: Mapping[str, str], retries: int = 0) -> Receipt:
    """The receipt in the head of an answer; `headers` have lower-case names."""
    return Receipt(
        status=status,
        request_id=headers.get("x-request-id"),
        provider=headers.get("x-fwd-provider"),
        model=headers.get("x-fwd-model"),
        attempts=_as_count(headers.get("x-fwd-attempts")),
        retries=retries,
        dropped=_as_names(headers.get("x-fwd-dropped")),
        skipped=_as_reasons(headers.get("x-fwd-skipped")),
        cost=_as_float(headers.get("x-fwd-cost")),
        cost_kind=headers.get("x-fwd-cost-kind"),
        call_id=headers.get("x-fwd-call-id"),
        budget_left=_as_float(headers.get("x-fwd-budget-left")),
        timings=_read_timings(headers.get("server-timing", "")),
        upstream_request_id=headers.get("x-fwd-upstream-request-id"),
        headers=headers,
    )


def amend_receipt(known: Receipt, comment: bytes) -> Receipt:
    """The receipt with what a `fwd ...` comment of a stream adds; other comments add nothing."""
    word, _, text = comment.partition(b" ")
    # Keep-alives and other people's comments.
    if word != b"fwd":
        return known
    facts = _comment_facts(text.strip())
    # Taken over only where the comment has a value: the head may have said it before.
    found: dict[str, Any] = {
        "request_id": _as_text(facts.get("request_id")),
        "provider": _as_text(facts.get("provider")),
        "model": _as_text(facts.get("model")),
        "attempts": _as_count(facts.get("attempts")),
        "dropped": _as_names(facts.get("dropped")),
        "skipped": _as_reasons(facts.get("skipped")),
        "cost": _as_amount(facts.get("cost_usd")),
        "cost_kind": _as_text(facts.get("cost_kind")),
        "call_id": _as_text(facts.get("call_id")),
        "budget_left": _as_amount(facts.get("budget_left_usd")),
        "timings": _float_values(facts.get("timings")),
        "upstream_request_id": _as_text(facts.get("upstream_request_id")),
        # A chunk's own usage has details that the comment does not repeat.
        "usage": known.usage or _read_usage(facts.get("usage")),
    }
    return evolve(known, **{name: value for name, value in found.items() if value or value == 0})


def _read_usage(value: Any) -> Usage | None:
    """The gateway's own count, which leaves the sum to the reader; the provider's, in a chunk, says more."""
    if not isinstance(value, dict):
        return None
    counted = read_value(Usage, value)
    return evolve(counted, total_tokens=counted.total_tokens or counted.prompt_tokens + counted.completion_tokens)


def _comment_facts(text: bytes) -> Mapping[str, Any]:
    """Either JSON or `name=value` pairs; a comment that is neither is no reason to fail a stream."""
    if not text.startswith(b"{"):
        pairs = (word.partition("=") for word in text.decode(errors="replace").split())
        return {name: value for name, equals, value in pairs if equals}
    try:
        facts = json.loads(text)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def status_error(status: int, headers: Mapping[str, str], body: bytes) -> APIStatusError:
    """The error of an answer whose status is not 2xx."""
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    return error_of(parsed, read_receipt(status, headers), status, headers)


def error_of(
    parsed: Any, known: Receipt, status: int | None = None, headers: Mapping[str, str] | None = None
) -> APIStatusError:
    """The error in a parsed body, as its class; inside a stream there is no status."""
    headers = headers or {}
    facts = parsed.get("error") if isinstance(parsed, dict) else None
    # A proxy's error has another shape, such as a plain text under `error`.
    facts = facts if isinstance(facts, dict) else {}
    code, type_ = _as_text(facts.get("code")), _as_text(facts.get("type"))
    # Counted where the header is missing, as in an error inside a stream.
    failures = _failed_attempts(facts.get("attempts"))
    return class_for(status, code, type_)(
        _as_text(facts.get("message")) or _fallback_message(status, headers),
        code=code,
        type=type_,
        param=_as_text(facts.get("param")),
        status=status,
        request_id=known.request_id,
        provider=known.provider,
        retry_after=retry_after(headers),
        should_retry={"true": True, "false": False}.get(headers.get("x-should-retry", "")),
        attempts=known.attempts or len(failures) or None,
        failures=failures,
        body=parsed,
    )


def _fallback_message(status: int | None, headers: Mapping[str, str]) -> str:
    if status and 300 <= status < 400:
        return f"The address answers with a redirect to {headers.get('location', 'nowhere')}."
    return f"The answer was HTTP {status} without the gateway's error object."


def _failed_attempts(attempts: Any) -> tuple[FailedAttempt, ...]:
    if not isinstance(attempts, list):
        return ()
    rows = (row for row in attempts if isinstance(row, dict))
    return tuple(FailedAttempt(_as_text(row.get("provider")), _as_text(row.get("code"))) for row in rows)


def retry_after(headers: Mapping[str, str], now: Callable[[], float] | None = None) -> float | None:
    """Seconds the gateway asks to wait: `retry-after-ms`, else `retry-after` in seconds or as an HTTP date."""
    # More exact than whole seconds, where the gateway sends both.
    milliseconds = _as_float(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(milliseconds / 1000, 0.0)
    text = headers.get("retry-after", "")
    seconds = _as_float(text)
    return max(seconds, 0.0) if seconds is not None else _seconds_until(text, now)


def _seconds_until(date: str, now: Callable[[], float] | None) -> float | None:
    from email.utils import parsedate_to_datetime  # rarely needed, and it loads half of the email package

    try:
        moment = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    return max(moment - (now or time.time)(), 0.0)


def _read_timings(text: str) -> dict[str, float]:
    """`queue;dur=0.1, total;dur=12` as milliseconds by name. https://www.w3.org/TR/server-timing/"""
    found: dict[str, float] = {}
    for entry in text.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            number = _as_float(value.strip('"')) if key == "dur" else None
            if number is not None:
                found[name] = number
    return found


def _float_values(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        return {}
    return {name: float(number) for name, number in value.items() if isinstance(number, (int, float))}


def _as_float(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    # `float` reads inf and nan, which are no times and no counts.
    return number if abs(number) < float("inf") else None


def _as_count(value: Any) -> int | None:
    number = _as_float(str(value)) if value is not None else None
    return None if number is None else int(number)


def _as_names(value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(str(name).strip() for name in names if str(name).strip())


def _as_reasons(value: Any) -> dict[str, str]:
    """`anthropic=provider_not_configured,groq=cooling_down`, or the same as an object; a bare name has no reason."""
    if isinstance(value, dict):
        return {str(name): str(reason) for name, reason in value.items()}
    return {name: reason.strip() for name, _, reason in (entry.partition("=") for entry in _as_names(value))}


def _as_amount(value: Any) -> float | None:
    return _as_float(str(value)) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None


def _as_text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
