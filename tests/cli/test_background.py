"""Light or dark."""

from __future__ import annotations

import pytest

from fwd_cli.background import from_environment, from_reply


@pytest.mark.parametrize(
    ("value", "background"),
    [("0;15", "light"), ("0;7", "light"), ("15;0", "dark"), ("7;default;0", "dark"), ("x", None), ("", None)],
)
def test_what_a_variable_says(value: str, background: str | None) -> None:
    """COLORFGBG: the last number is the background."""
    assert from_environment({"COLORFGBG": value}) == background


@pytest.mark.parametrize(
    ("reply", "background"),
    [
        (b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;c", "light"),
        (b"\x1b]11;rgb:0000/0000/0000\x07\x1b[?62;c", "dark"),
        (b"\x1b]11;rgb:fd/f6/e3\x07", "light"),
        (b"\x1b]11;rgba:0000/2b2b/3636/ffff\x07", "dark"),
        (b"\x1b]11;rgb:0000/ffff/0000\x07", "light"),
        (b"\x1b[?62;c", None),
        (b"", None),
    ],
)
def test_what_a_terminal_answers(reply: bytes, background: str | None) -> None:
    """By its perceived brightness; a terminal that only says its kind does not know."""
    assert from_reply(reply) == background
