"""Markdown of a model: safe to show, and cut where it is finished."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from fwd_cli.markdown import ModelMarkdown, split_finished

FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def rendered(text: str, width: int = 40) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(ModelMarkdown(text))
    return out.getvalue()


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("", ""),
        ("one", ""),
        ("one\n\ntwo", ""),
        ("one\n\ntwo\n", "one\n\n"),
        ("# one\n#", ""),
        ("one\n#two", ""),
        ("one\n# two\n", "one\n"),
        ("- a\n- b\n\n- c\n", ""),
        ("- a\n\nafter\n", "- a\n\n"),
        ("```\na\n\nb\n", ""),
        ("```\na\n```\nb\n", "```\na\n```\n"),
        ("one\n---\n", ""),
        ("a | b\n--|--\n1 | 2\n", ""),
    ],
)
def test_a_block_is_finished_when_a_later_one_began_on_a_whole_line(text: str, finished: str) -> None:
    """Nothing is cut off that a later character could change."""
    assert split_finished(text) == (finished, text[len(finished) :])


@pytest.mark.parametrize(
    "text", ["&#x202e;evil", "&#27;[2J", "<http://a/%1b%5b2J>", "[x](<http://a/\u0085>)", "`\x9b`"]
)
def test_markdown_cannot_spell_a_control_character(text: str) -> None:
    """T25: entities and percent escapes are decoded after the text was filtered, so the result is filtered too."""
    assert not FORBIDDEN.search(rendered(text).replace("\n", ""))


def test_links_show_their_address_and_are_not_clickable() -> None:
    """T25: what is shown is what is behind it."""
    out = io.StringIO()
    Console(file=out, width=60, force_terminal=True).print(ModelMarkdown("[safe](http://evil/) ![pic](http://evil/p)"))
    assert "\x1b]8" not in out.getvalue()
    assert "safe (http://evil/) !pic (http://evil/p)" in re.sub("\x1b\\[[0-9;]*m", "", out.getvalue())


def test_html_is_shown_as_it_was_typed() -> None:
    """Nothing of an answer is lost because it looks like a tag."""
    shown = rendered("<think>\nhm\n</think>\n\nUse `<b>` or <i>.")
    assert shown == "<think> hm </think>\n\nUse <b> or <i>.\n"


def test_a_table_fits_into_forty_columns() -> None:
    """No line is wider than the terminal, with wide characters either."""
    from rich.cells import cell_len

    text = "| 名前 | what it does |\n|--|--|\n| 日本語 | a rather long description of it 👍 |\n"
    assert max(cell_len(line) for line in rendered(text).splitlines()) <= 40
