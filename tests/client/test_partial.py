"""JSON that is still being written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_client._partial import parse_partial

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
documents = st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=4), values, max_size=4)


def is_beginning(part: Any, whole: Any) -> bool:
    """Whether a value is what `whole` looks like while it grows."""
    if isinstance(whole, str) and isinstance(part, str):
        return whole.startswith(part)
    if isinstance(whole, list) and isinstance(part, list):
        return len(part) <= len(whole) and all(map(is_beginning, part, whole))
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(name in whole and is_beginning(value, whole[name]) for name, value in part.items())
    return bool(part == whole)


@given(documents, st.booleans(), st.data())
def test_every_cut_reads_as_a_beginning_of_the_whole(document: Any, is_ascii: bool, data: st.DataObject) -> None:
    """Whatever the text holds, and wherever it is cut: nothing is made up, and the whole text is the whole value."""
    text = json.dumps(document, ensure_ascii=is_ascii)
    cut = text[: data.draw(st.integers(0, len(text)))]
    if not cut.endswith(("\\ud83d",)):
        part = parse_partial(cut)
        assert part is None or is_beginning(_without_halves(part), document)
    assert parse_partial(text) == document


def _without_halves(value: Any) -> Any:
    """Texts without half of a surrogate pair at their end: its other half is still to come."""
    if isinstance(value, str):
        return value[:-1] if value[-1:] and 0xD800 <= ord(value[-1]) < 0xDC00 else value
    if isinstance(value, list):
        return [_without_halves(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_halves(item) for name, item in value.items()}
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("{", {}),
        ('{"a', {}),
        ('{"a": "x', {"a": "x"}),
        ('{"a": "x\\', {"a": "x"}),
        ('{"a": "x\\u00', {"a": "x"}),
        ('{"a": 1', {}),
        ('{"a": 1,', {"a": 1}),
        ('{"a": tru', {}),
        ('{"a": true', {"a": True}),
        ('{"a": [1, {"b": "', {"a": [1, {"b": ""}]}),
        ("Sorry,", None),
    ],
)
def test_what_can_be_read_already(text: str, value: Any) -> None:
    """A text grows, a number waits until it is certain."""
    assert parse_partial(text) == value
