"""From a caller's object to the view on it; what does not fit is named by its place."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec

from fwd_server.values.errors import BadRequest

T = TypeVar("T")

# What `extra_body` may not replace: these three decide where the call goes and how it comes back.
_NOT_EXTRA: Final = ("model", "stream", "messages")
_MOST_LOGGED: Final = 200
_AT: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)


def convert_body(body: dict[str, Any], kind: type[T]) -> T:
    """``body`` as ``kind``. Raises BadRequest that names the field."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise _invalid_field(str(error)) from None


def take_extra_body(body: dict[str, Any]) -> dict[str, Any] | None:
    """Take ``extra_body`` out of ``body``. Raises BadRequest when it is no object, or holds what it may not replace."""
    extra = body.pop("extra_body", None)
    # An empty object and null mean the same as no field, as in OpenAI's SDK.
    if not extra:
        return None
    if not isinstance(extra, dict):
        raise BadRequest("Invalid type for 'extra_body': expected an object.", param="extra_body")
    for name in _NOT_EXTRA:
        if name in extra:
            raise BadRequest(
                f"'extra_body' must not contain '{name}'; send it at the top level.", param=f"extra_body.{name}"
            )
    return extra


class _Named(msgspec.Struct):
    model: str = ""


def refused_model(body: bytes) -> str | None:
    """The model that a refused body names, for the log; None where there is none to be found."""
    try:
        # Only the model is built; the rest is skipped, whatever is wrong with it.
        named = msgspec.json.decode(body, type=_Named)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # Cut, since a caller chooses it, and a log line must stay short.
    return named.model[:_MOST_LOGGED] or None


def _invalid_field(text: str) -> BadRequest:
    """``Expected `str`, got `int` - at `$.messages[0].role` `` as a sentence with the field's name."""
    match = _AT.match(text)
    path = (match and match["path"]) or None
    what = match["what"] if match else text
    # msgspec names the missing field in the text and leaves the path out.
    if path is None and "missing required field" in what:
        path = what.rpartition("`")[0].rpartition("`")[2]
        return BadRequest(f"Missing required parameter: '{path}'.", param=path)
    return BadRequest(f"Invalid value for '{path}': {what[:1].lower()}{what[1:].replace('`', '')}.", param=path)
