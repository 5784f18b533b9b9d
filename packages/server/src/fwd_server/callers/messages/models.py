"""Lists of models in Anthropic's shape. https://platform.claude.com/docs/en/api/models/list"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fwd_server.callers.messages.fields import invalid
from fwd_server.values.chat import Json

PAGE_FIELDS: Final = ("limit", "after_id", "before_id")
_MOST: Final = 1000
_USUAL: Final = 20
_UNKNOWN_TIME: Final = "1970-01-01T00:00:00Z"  # the table of models gives no dates of birth


def model_object(entry: Json) -> Json:
    """One model; ``entry`` is OpenAI's object of it, with our own facts in ``fwd``."""
    name: str = entry["id"]
    provider, colon, rest = name.partition(":")
    facts = entry.get("fwd") or {}
    return {
        "type": "model",
        "id": name,
        "display_name": rest if colon and rest and provider == entry.get("owned_by") else name,
        "created_at": _UNKNOWN_TIME,
        "lifecycle": "active",
        "line": None,
        "max_input_tokens": facts.get("context"),
        "max_tokens": facts.get("output"),
        "capabilities": None,
    }


def list_page(entries: Sequence[Json], query: Mapping[str, str]) -> Json:
    """A page of the list: ``limit`` models (1 to 1000, default 20) after ``after_id`` or before ``before_id``.

    Raises BadRequest for an invalid limit. With an id that is not in the list, the page begins at the start.
    """
    limit = _read_limit(query.get("limit", ""))
    names = [entry["id"] for entry in entries]
    first, end = 0, len(names)
    after, before = query.get("after_id", ""), query.get("before_id", "")
    if after in names:
        first = names.index(after) + 1
    if before in names:
        end = names.index(before)
    page = entries[max(first, end - limit) : end] if before and not after else entries[first : min(end, first + limit)]
    shown = [model_object(entry) for entry in page]
    return {
        "data": shown,
        "has_more": end - first > len(shown),
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def _read_limit(written: str) -> int:
    if not written:
        return _USUAL
    limit = int(written) if written.isascii() and written.isdigit() and len(written) < 6 else 0
    if not 1 <= limit <= _MOST:
        raise invalid("limit", f"Input should be between 1 and {_MOST}")
    return limit
