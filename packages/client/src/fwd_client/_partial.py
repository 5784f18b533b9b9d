"""JSON that is still being written: what can be read of it already."""

from __future__ import annotations

import json
from typing import Any, Final

_CLOSERS: Final = {"{": "}", "[": "]"}
_ENDS: Final = ('"', "e", "l")  # of a text, true, false and null; a number may go on
_NOTHING: Final = object()


def parse_partial(text: str) -> Any:
    """The value of the beginning of a JSON text; None while nothing can be read.

    Open texts, lists and objects end where the text ends. A name without its value, and a number that may go on,
    are left out until it is certain.
    """
    closers: list[str] = []
    # Where the text could be cut and closed; the longest beginning that is JSON then is the value so far.
    places: list[tuple[int, str]] = []
    is_text = False
    escape_end = 0
    for at, character in enumerate(text):
        if is_text:
            if at < escape_end:
                # The four digits of \uXXXX belong to the escape.
                escape_end += 4 if character == "u" and at == escape_end - 1 else 0
            elif character == "\\":
                escape_end = at + 2
            elif character == '"':
                is_text = False
        elif character == '"':
            is_text = True
        elif character in _CLOSERS:
            closers.append(_CLOSERS[character])
            places.append((at + 1, "".join(reversed(closers))))
        elif character in "]}" and closers:
            closers.pop()
            places.append((at + 1, "".join(reversed(closers))))
        elif character == ",":
            places.append((at, "".join(reversed(closers))))
    closing = "".join(reversed(closers))
    if is_text:
        # An escape that is not whole yet is left out.
        end = text.rfind("\\") if escape_end > len(text) else len(text)
        places.append((end, '"' + closing))
    # 12 may become 123, so a number waits for what ends it.
    elif text[-1:] in _ENDS:
        places.append((len(text), closing))
    # From the longest beginning to shorter ones: the first that is JSON has the most in it.
    values = (_load_json(text[:end] + rest) for end, rest in reversed(places))
    return next((value for value in values if value is not _NOTHING), None)


def _load_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return _NOTHING
