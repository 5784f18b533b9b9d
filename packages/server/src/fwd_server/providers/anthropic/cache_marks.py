"""Marks of the prompt cache on a whole request: how many there may be, and in which order.

The prompt's order is tools, system, messages. https://platform.claude.com/docs/en/build-with-claude/prompt-caching
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fwd_server.providers import lenient
from fwd_server.values.chat import Json

_MOST_MARKS: Final = 4
_PARTS: Final = ("tools", "system", "messages")
_HOUR: Final = "1h"


def settle_marks(body: Json) -> tuple[Json, bool]:
    """``body`` with marks that the API takes, and whether one was lost for that.

    There may be four, and the last ones reach furthest, so they stay. None may be longer than one before it: the
    earlier one becomes as long, because what comes before a mark is a part of what it keeps. A mark on the body itself
    stands for its last block.
    https://platform.claude.com/docs/en/build-with-claude/prompt-caching#mixing-different-ttls
    """
    marks = [mark for part in _PARTS for item in lenient.objects(body.get(part)) for mark in _marks(item)]
    if not marks:
        return body, False
    own = body.get("cache_control")
    # The mark on the body counts as one of the four.
    kept = _MOST_MARKS - (own is not None)
    changed: list[Json | None] = []
    # From the last mark to the first: each becomes at least as long as those after it.
    is_long = lenient.obj(own).get("ttl") == _HOUR
    for mark in reversed(marks):
        is_long = is_long or mark.get("ttl") == _HOUR
        changed.append(None if len(changed) >= kept else {**mark, "ttl": _HOUR} if is_long else mark)
    changes = iter(reversed(changed))
    settled = {part: [_with_marks(item, changes) for item in body[part]] for part in _PARTS if _is_list(body.get(part))}
    return {**body, **settled}, len(marks) > kept


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _marks(item: Json) -> Iterator[Json]:
    """The marks of a tool, a block or a turn, those within it first."""
    for inner in lenient.objects(item.get("content")):
        yield from _marks(inner)
    if isinstance(item.get("cache_control"), dict):
        yield item["cache_control"]


def _with_marks(item: Any, changes: Iterator[Json | None]) -> Any:
    if not isinstance(item, dict):
        return item
    changed = dict(item)
    if _is_list(item.get("content")):
        changed["content"] = [_with_marks(inner, changes) for inner in item["content"]]
    if isinstance(item.get("cache_control"), dict):
        mark = next(changes)
        if mark is None:
            del changed["cache_control"]
        else:
            changed["cache_control"] = mark
    return changed
