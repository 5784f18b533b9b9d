"""Fields of a call that a provider's language has no counterpart for: whatever is left out is named, at any depth.

A codec says which fields it reads, as objects within objects; what else the caller sent with a value is named by its
path, as ``messages[2].name``. The caller finds the names in ``x-fwd-dropped``, or is refused with ``x-fwd-strict``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Union

# The fields of an object that are read, with those of the objects in them; None: it is read whole.
KnownFields = Mapping[str, Union["KnownFields", None]]

_MOST_ALIKE: Final = 4
_LONGEST_NAME: Final = 64
_INDEX: Final = re.compile(r"\[\d+\]")


def unread_fields(
    value: object,
    known: KnownFields | None,
    where: str = "",
) -> Iterator[str]:
    """The paths of what is in ``value`` and not in ``known``; in a list every item is looked at.

    ``where`` is the path of ``value``. What asks for nothing is not lost: null, false, "auto", and empty texts, lists
    and objects.
    """
    if known is None:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unread_fields(item, known, f"{where}[{index}]")
    elif isinstance(value, dict):
        for name, inner in value.items():
            at = f"{where}.{name[:_LONGEST_NAME]}" if where else name[:_LONGEST_NAME]
            if name in known:
                yield from unread_fields(inner, known[name], at)
            elif not asks_nothing(inner):
                yield at


def asks_nothing(value: object) -> bool:
    """Whether leaving a value out loses nothing."""
    return value is None or value is False or value == "auto" or (isinstance(value, (str, list, dict)) and not value)


def sum_up(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths, each once; where more than four differ in nothing but their indexes, one with ``[*]`` for them all.

    The history of an agent may have hundreds of messages, and the names stand in a header and in the log.
    """
    listed = list(dict.fromkeys(paths))
    alike = Counter(_INDEX.sub("[*]", path) for path in listed)
    shown = ((path, _INDEX.sub("[*]", path)) for path in listed)
    return tuple(dict.fromkeys(form if alike[form] > _MOST_ALIKE else path for path, form in shown))


# -- what the codecs of other languages than OpenAI's read alike

PART_FIELDS: Final[KnownFields] = {
    "type": None,
    "text": None,
    "refusal": None,
    "image_url": {"url": None, "detail": None},
    "input_audio": {"data": None, "format": None},
    "file": {"file_data": None, "file_id": None},
}
CALL_FIELDS: Final[KnownFields] = {
    "id": None,
    "type": None,
    "index": None,  # an SDK that adds a stream up leaves it there; the order of the calls says the same
    "function": {"name": None, "arguments": None},
}
MESSAGE_FIELDS: Final[KnownFields] = {"role": None, "content": PART_FIELDS}
ASSISTANT_FIELDS: Final[KnownFields] = {
    **MESSAGE_FIELDS,
    "refusal": None,
    "tool_calls": CALL_FIELDS,
    "audio": None,
    "annotations": None,  # notes for the reader of an answer; they are not part of what the model wrote
}
# ``name`` is that of the function, which the call has, too.
RESULT_FIELDS: Final[KnownFields] = {**MESSAGE_FIELDS, "tool_call_id": None, "name": None}
# The name of a format is a label that OpenAI needs; a grammar made of the schema is strict in any case.
FORMAT_FIELDS: Final[KnownFields] = {
    "type": None,
    "json_schema": {"name": None, "description": None, "schema": None, "strict": None},
}
TOOL_FIELDS: Final[KnownFields] = {
    "type": None,
    "function": {"name": None, "description": None, "parameters": None},
}
OPTION_FIELDS: Final[KnownFields] = {"include_usage": None}
_CHOSEN: Final[KnownFields] = {"type": None, "name": None, "function": {"name": None}}
_ALLOWED: Final[KnownFields] = {"mode": None, "tools": _CHOSEN}
CHOICE_FIELDS: Final[KnownFields] = {**_CHOSEN, **_ALLOWED, "allowed_tools": _ALLOWED}
REQUEST_FIELDS: Final[Mapping[str, KnownFields]] = {
    "tools": TOOL_FIELDS,
    "tool_choice": CHOICE_FIELDS,
    "response_format": FORMAT_FIELDS,
    "stream_options": OPTION_FIELDS,
}
