"""Values in ``fwd.toml``: what each kind accepts, in words and as JSON Schema.

TOML has types of its own, so nothing is guessed: ``weight = "3"`` is an error, not 3.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NewType

from attrs import frozen

from fwd_server.settings.units import read_base_url, read_duration
from fwd_server.values.errors import ErrorKind
from fwd_server.wire.redact import redact_text

Flag = NewType("Flag", bool)
Text = NewType("Text", str)
Weight = NewType("Weight", float)
Tier = NewType("Tier", int)
Count = NewType("Count", int)
Attempts = NewType("Attempts", int)
Price = NewType("Price", float)  # USD for a million tokens
Ratio = NewType("Ratio", float)
Duration = NewType("Duration", float)  # seconds
Url = NewType("Url", str)
Reference = NewType("Reference", str)  # to a secret: env:, file: or cmd:
ProviderName = NewType("ProviderName", str)
EntryName = NewType("EntryName", str)  # of a key, a deployment, a label
ModelName = NewType("ModelName", str)  # public: what callers write
ModelPattern = NewType("ModelPattern", str)
Target = NewType("Target", str)  # a provider's model, as "openai:gpt-5"
FallbackEntry = NewType("FallbackEntry", str)
Parameter = NewType("Parameter", str)  # a field at the top level of a chat completion
Parameters = NewType("Parameters", dict[str, Any])
Day = NewType("Day", str)

_NAME: Final = re.compile(r"[A-Za-z0-9._:/@-]{1,128}")
_PATTERN: Final = re.compile(r"[A-Za-z0-9._:/@-]{0,127}\*|[A-Za-z0-9._:/@-]{1,128}")
_PROVIDER: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ENTRY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@*-]{0,127}")
_PARAMETER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+|cmd:.+")
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,1000}")
# What the gateway sets itself, or what would change who is asked and how.
FIXED_PARAMETERS: Final = frozenset({"model", "messages", "stream", "extra_body"})

KIND_NAMES: Final = (*(kind.value for kind in ErrorKind if kind is not ErrorKind.INVALID_REQUEST), "any")


@frozen
class ValueKind:
    """How one kind of value is read, what is allowed, and its JSON Schema; ``read`` raises TypeError or ValueError."""

    read: Callable[[Any], Any]
    allowed: str
    schema: Mapping[str, Any]
    secret: bool = False  # never shown, not even in an error


class BadValue(Exception):
    """A value that cannot be used: ``found`` is fit to be shown."""

    __notes__: list[Any]  # where it was met; Python 3.10 does not know this of exceptions

    def __init__(self, found: str, allowed: str) -> None:
        super().__init__(f"found {found}; {allowed}")


def show_value(value: Any) -> str:
    """A value for a message: short, on one line, without what may be a key."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    text = redact_text(repr(value) if isinstance(value, str) else str(value))
    return text if len(text) <= 80 else f"{text[:79]}…"


def _number(low: float, high: float, *, whole: bool) -> ValueKind:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise TypeError(value)
        if not low <= value <= high:
            raise ValueError(value)
        return value

    name = "a whole number" if whole else "a number"
    schema = {"type": "integer" if whole else "number", "minimum": low, "maximum": high}
    return ValueKind(read, f"{name} from {low:,} to {high:,} is allowed", schema)


def _text(pattern: re.Pattern[str], allowed: str, *, secret: bool = False) -> ValueKind:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(value)
        return value

    return ValueKind(read, allowed, {"type": "string", "pattern": f"^(?:{pattern.pattern})$"}, secret)


def _read_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _read_duration(value: Any) -> float:
    """``20s``, ``500ms``, or plain seconds."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    seconds = float(number) if number is not None else read_duration(_as_text(value))
    if not 0.001 <= seconds <= 86_400:
        raise ValueError(value)
    return seconds


def _read_url(value: Any) -> str:
    return str(read_base_url(_as_text(value)))


def _read_day(value: Any) -> str:
    day = value if isinstance(value, datetime.date) else datetime.date.fromisoformat(_as_text(value))
    return day.isoformat()[:10]


def _read_parameters(value: Any) -> dict[str, Any]:
    """Fields of a chat completion, at its top level, that may be changed."""
    if not isinstance(value, dict) or FIXED_PARAMETERS & value.keys():
        raise ValueError(value)
    if not all(_PARAMETER.fullmatch(name) for name in value):
        raise ValueError(value)
    return value


def _read_parameter(value: Any) -> str:
    text = _as_text(value)
    if text in FIXED_PARAMETERS or not _PARAMETER.fullmatch(text):
        raise ValueError(value)
    return text


def _as_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


_FIXED: Final = ", ".join(sorted(FIXED_PARAMETERS))
_DURATION_SCHEMA: Final = {"anyOf": [{"type": "string", "pattern": r"^[0-9.]+ ?(ms|s|m|h)?$"}, {"type": "number"}]}

VALUE_KINDS: Final[Mapping[Any, ValueKind]] = {
    Flag: ValueKind(_read_flag, "true or false is allowed", {"type": "boolean"}),
    Text: _text(_TEXT, "a text of 1 to 1,000 characters on one line is allowed"),
    Weight: _number(0, 1_000_000, whole=False),
    Tier: _number(0, 1000, whole=True),
    Count: _number(1, 1_000_000_000_000, whole=True),
    Attempts: _number(1, 100, whole=True),
    Price: _number(0, 1_000_000, whole=False),
    Ratio: _number(0.01, 1000, whole=False),
    Duration: ValueKind(_read_duration, "a duration such as 20s, 500ms or 5m is allowed", _DURATION_SCHEMA),
    Url: ValueKind(
        _read_url,
        "an http:// or https:// address without user, password, ? and # is allowed",
        {"type": "string", "pattern": "^https?://"},
        secret=True,  # people write passwords into addresses
    ),
    Reference: ValueKind(
        _text(_REFERENCE, "").read,
        'write "env:NAME", "file:PATH" or "cmd:COMMAND"',
        {"type": "string", "pattern": f"^(?:{_REFERENCE.pattern})$"},
        secret=True,
    ),
    ProviderName: _text(_PROVIDER, "a name of 1 to 32 letters a-z, digits, _ and - is allowed"),
    EntryName: _text(_ENTRY, "a name of 1 to 128 letters, digits and . _ : / @ * - is allowed"),
    ModelName: _text(_NAME, "a name of 1 to 128 letters, digits and . _ : / @ - is allowed"),
    ModelPattern: _text(_PATTERN, "a model's name is allowed, with one * at its end"),
    Target: _text(_PATTERN, 'a provider\'s model such as "openai:gpt-5" is allowed'),
    FallbackEntry: _text(re.compile(rf"@priority|{_NAME.pattern}"), 'a model, a deployment or "@priority" is allowed'),
    Parameter: ValueKind(
        _read_parameter, f"a field of a chat completion is allowed, but not {_FIXED}", {"type": "string"}
    ),
    Parameters: ValueKind(
        _read_parameters, f"a table of fields of a chat completion is allowed, but not {_FIXED}", {"type": "object"}
    ),
    Day: ValueKind(_read_day, "a day such as 2027-01-31 is allowed", {"type": "string", "format": "date"}),
}


def read_value(value: Any, type_: Any) -> Any:
    """A value of one of the kinds. Raises BadValue."""
    kind = VALUE_KINDS[type_]
    try:
        return kind.read(value)
    except (TypeError, ValueError):
        if kind.secret and isinstance(value, str):
            found = "a literal secret (hidden)" if type_ is Reference else "a value that is not shown"
        else:
            found = show_value(value)
        raise BadValue(found, kind.allowed) from None
