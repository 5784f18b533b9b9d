"""Reading the fields of a Messages call; what does not fit is named by its path, in the words of Anthropic's API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from fwd_server.values.chat import Json
from fwd_server.values.errors import BadRequest

_MISSING: Final = "Field required"


def invalid(where: str, what: str) -> BadRequest:
    """A field that cannot be taken, as ``messages.0.content.1.source: Field required``."""
    return BadRequest(f"{where}: {what}", param=where)


def read_text(owner: Json, name: str, where: str) -> str:
    """A text that must be there."""
    value = _present(owner, name, where)
    if not isinstance(value, str):
        raise invalid(_joined(where, name), "Input should be a valid string")
    return value


def read_object(owner: Json, name: str, where: str) -> Json:
    """An object that must be there."""
    value = _present(owner, name, where)
    if not isinstance(value, dict):
        raise invalid(_joined(where, name), "Input should be a valid dictionary")
    return value


def optional_text(owner: Json, name: str, where: str) -> str:
    """A text; "" where there is none."""
    return "" if owner.get(name) is None else read_text(owner, name, where)


def optional_object(owner: Json, name: str, where: str = "") -> Json:
    """An object; an empty one where there is none."""
    value = owner.get(name)
    if value is None or isinstance(value, dict):
        return value or {}
    raise invalid(_joined(where, name), "Input should be a valid dictionary")


def optional_list(owner: Json, name: str, where: str = "") -> list[Any]:
    """A list; an empty one where there is none."""
    value = owner.get(name)
    if value is None or isinstance(value, list):
        return value or []
    raise invalid(_joined(where, name), "Input should be a valid list")


def optional_number(owner: Json, name: str, low: float, high: float) -> float | None:
    """A number within its bounds, None where there is none."""
    value = owner.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise invalid(name, "Input should be a valid number")
    if not low <= value <= high:
        raise invalid(name, f"Input should be between {low:g} and {high:g}")
    return value


def read_blocks(content: object, where: str) -> Iterator[tuple[str, Json]]:
    """The blocks of a content, each with its path; a text is one block."""
    if isinstance(content, str):
        yield where, {"type": "text", "text": content}
        return
    if not isinstance(content, list):
        raise invalid(where, _MISSING if content is None else "Input should be a valid string or list")
    for at, block in enumerate(content):
        path = f"{where}.{at}"
        if not isinstance(block, dict):
            raise invalid(path, "Input should be a valid dictionary")
        read_text(block, "type", path)
        yield path, block


def one_of(values: Iterable[str]) -> str:
    """``'a', 'b' or 'c'``."""
    *first, last = [f"'{value}'" for value in values]
    return f"{', '.join(first)} or {last}" if first else last


def _present(owner: Json, name: str, where: str) -> Any:
    if owner.get(name) is None:
        raise invalid(_joined(where, name), _MISSING)
    return owner[name]


def _joined(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
