"""Marks of the prompt cache, over tools, system and messages together."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.server.providers.anthropic.helpers import opened, text

marks = st.sampled_from([None, {}, {"ttl": "5m"}, {"ttl": "1h"}])


def minutes(node: Any) -> list[int]:
    """What every mark says, in the order of the prompt."""
    if isinstance(node, list):
        return [found for item in node for found in minutes(item)]
    if not isinstance(node, dict):
        return []
    own = [60 if node["cache_control"].get("ttl") == "1h" else 5] if "cache_control" in node else []
    return [*minutes(node.get("content")), *own]


def marked(item: dict[str, Any], mark: Any) -> dict[str, Any]:
    return item if mark is None else {**item, "cache_control": {"type": "ephemeral", **mark}}


@given(st.lists(marks, min_size=6, max_size=6), marks)
def test_no_mark_is_longer_than_one_before_it(places: list[Any], own: Any) -> None:
    """Of each of six places the last four keep a mark; none becomes shorter than it was asked to be."""
    tool, system, user, spoken, result, last = places
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body: dict[str, Any] = {
        "tools": [marked({"type": "function", "function": {"name": "f"}}, tool)],
        "messages": [
            {"role": "system", "content": [marked(text("S"), system)]},
            {"role": "user", "content": [marked(text("U"), user)]},
            marked({"role": "assistant", "content": "A", "tool_calls": [call]}, spoken),
            marked({"role": "tool", "tool_call_id": "a", "content": "R"}, result),
            {"role": "user", "content": [marked(text("Q"), last)]},
        ],
    }
    body |= {} if own is None else {"cache_control": {"type": "ephemeral", **own}}
    exchange = opened(**body)
    asked = [60 if mark.get("ttl") == "1h" else 5 for mark in places if mark is not None]
    automatic = [] if own is None else [60 if own.get("ttl") == "1h" else 5]
    kept = asked[-(4 - len(automatic)) :] + automatic
    found = minutes([exchange.body.get(part, []) for part in ("tools", "system", "messages")]) + automatic
    assert found == sorted(found, reverse=True)
    assert len(found) == len(kept)
    assert all(new >= old for new, old in zip(found, kept, strict=True))
    assert ("cache_control" in exchange.dropped) is (len(asked) > 4 - len(automatic))


def test_marks_in_anthropics_own_words_count_too() -> None:
    """A tool that runs there is a tool; the caller's own objects stay as they were."""
    search = {"type": "web_search_20260318", "name": "web_search", "cache_control": {"type": "ephemeral"}}
    rule = {"role": "system", "content": [marked(text("S"), {"ttl": "1h"})]}
    body = opened(anthropic={"tools": [search]}, messages=[rule, {"role": "user", "content": "Hi"}]).body
    assert body["tools"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert search["cache_control"] == {"type": "ephemeral"}
