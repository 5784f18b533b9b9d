"""The filter of T25: what may reach a terminal, wherever the text was cut."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fwd_cli.terminal import Filter, clean, clean_json, clean_line

FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

HOSTILE = {
    "colour": ("a\x1b[31mred\x1b[0mb", "aredb"),
    "clear screen": ("a\x1b[2J\x1b[Hb", "ab"),
    "title, ended by BEL": ("a\x1b]0;owned\x07b", "ab"),
    "title, ended by ST": ("a\x1b]0;owned\x1b\\b", "ab"),
    "hyperlink": ("\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\", "here"),
    "clipboard": ("a\x1b]52;c;cm0gLXJm\x07b", "ab"),
    "device control": ("a\x1bP$q\x1b\\b", "ab"),
    "application command": ("a\x1b_x\x9cb", "ab"),
    "C1 CSI": ("a\x9b31mb", "ab"),
    "C1 OSC": ("a\x9d0;t\x9cb", "ab"),
    "character set": ("a\x1b(0b", "ab"),
    "reset": ("a\x1bcb", "ab"),
    "CSI cut short by an accent": ("a\x1b[3\u00e9b", "a\u00e9b"),
    "CSI cut short by another": ("a\x1b[3\x1b[1mb", "ab"),
    "string that never ends": ("a\x1b]0;hidden\nb", "a\nb"),
    "carriage return": ("a\rb\r\n", "ab\n"),
    "backspace, bell, delete": ("a\x08\x07\x7fb", "ab"),
    "bidi override": ("a\u202eb\u2066c\u200f", "abc"),
    "lone surrogate": ("a\ud800b", "ab"),
    "innocent": ("a\tb\né 日本 👩\u200d🔬", "a\tb\né 日本 👩\u200d🔬"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_sequences_are_removed_whole(name: str) -> None:
    """T25: nothing is left of an escape sequence, and nothing is missing of the text around it."""
    text, shown = HOSTILE[name]
    assert clean(text) == shown


@pytest.mark.parametrize("name", HOSTILE)
def test_every_cut_gives_the_same(name: str) -> None:
    """T25: it makes no difference where a chunk ends."""
    text, shown = HOSTILE[name]
    for cut in range(len(text) + 1):
        state = Filter()
        assert state.feed(text[:cut]) + state.feed(text[cut:]) == shown


PIECES = st.sampled_from(
    [
        "\x1b",
        "[",
        "]",
        "0;t",
        "\x07",
        "\\",
        "\x9b",
        "\x9d",
        "\x9c",
        "31m",
        "(",
        "P",
        "\n",
        "\x18",
        "é",
        "\u202e",
        "text",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join) | st.text(st.characters(), max_size=30)


@settings(max_examples=1000, deadline=None)
@given(TEXTS)
@example("\x1b]8;;x\x1b\\")
def test_no_forbidden_character_gets_out_over_any_cut(text: str) -> None:
    """T25: over all cuts of a text in two, no forbidden code point gets out and the result is the same."""
    whole = clean(text)
    assert not FORBIDDEN.search(whole)
    for cut in range(len(text) + 1):
        state = Filter()
        assert state.feed(text[:cut]) + state.feed(text[cut:]) == whole


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_single_characters_give_the_same(text: str) -> None:
    """T25: the smallest chunks give what the whole text gives."""
    state = Filter()
    assert "".join(map(state.feed, text)) == clean(text)


@given(st.text(st.characters(blacklist_characters="\x1b", blacklist_categories=["Cc", "Cf", "Cs"])))
def test_innocent_text_passes_unchanged(text: str) -> None:
    """A text without control and format characters comes out as it went in."""
    assert clean(text) == text


def test_a_line_is_one_line() -> None:
    """White space of every kind becomes one space."""
    assert clean_line("a\n\n b\tc\x1b[1m ") == "a b c"


def test_json_keeps_its_value_and_shows_nothing_harmful() -> None:
    """Control characters in JSON are escaped, not removed: a program reads what was meant."""
    value = {"text": "\x1b[2J\x9b\u202e\x7f\ud800é"}
    text = clean_json(json.dumps(value, ensure_ascii=False))
    assert not FORBIDDEN.search(text)
    assert json.loads(text) == value
