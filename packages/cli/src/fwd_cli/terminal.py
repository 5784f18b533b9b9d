"""What may reach a terminal of a text somebody else wrote (contract T25).

A model's answer is hostile until proven otherwise: an escape sequence can clear the screen, change the window's title,
write the clipboard or hide a link behind innocent words, and a bidirectional control can turn what is read into
something else than what is copied. :class:`Filter` lets through text, newlines and tabs, and nothing else.

It is a state machine over single characters, so a sequence is found wherever the chunks were cut:

    TEXT --ESC--> ESCAPE --[--> CSI --final--> TEXT
                    |----]PX^_--> STRING --BEL, ST, newline--> TEXT
                    `--space to /--> NF --final--> TEXT

Being wrong about where a sequence ends is harmless: a forbidden character never gets out in any state. The states only
keep the remains of a sequence (``[31m``) from littering the text. A newline ends every sequence, so an unfinished one
can swallow a line but not the rest of an answer.
"""

from __future__ import annotations

import enum
import re
from typing import Final

_BIDI: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_SURROGATES: Final = "\ud800-\udfff"
_FORBIDDEN: Final = f"\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}{_SURROGATES}"

_PLAIN = re.compile(f"[^{_FORBIDDEN}]+")
_STRING_BODY = re.compile("[^\n\x07\x18\x1a\x1b\x9c]+")
_UNSAFE_IN_JSON = re.compile(f"[\x7f-\x9f{_BIDI}{_SURROGATES}]")


class _State(enum.Enum):
    TEXT = enum.auto()
    ESCAPE = enum.auto()
    NF = enum.auto()
    CSI = enum.auto()
    STRING = enum.auto()


_INTRODUCERS: Final = {
    "\x1b": _State.ESCAPE,
    "\x9b": _State.CSI,
    **dict.fromkeys("\x90\x98\x9d\x9e\x9f", _State.STRING),
}
_AFTER_ESCAPE: Final = {"[": _State.CSI, **dict.fromkeys("]PX^_", _State.STRING)}


class Filter:
    """Takes a text in chunks, gives back what of it may be shown; any cut of the same text gives the same result."""

    def __init__(self) -> None:
        self._state = _State.TEXT

    def feed(self, text: str) -> str:
        """The part of ``text`` that may be shown, given everything fed before it."""
        shown: list[str] = []
        at = 0
        while at < len(text):
            # Runs of plain text in one step: most of an answer is plain, and a step for each character is slow.
            if self._state is _State.TEXT and (plain := _PLAIN.match(text, at)):
                shown.append(plain[0])
                at = plain.end()
            else:
                at = self._swallow(text, at)
        return "".join(shown)

    def _swallow(self, text: str, at: int) -> int:
        """Take the character at ``at`` (or a run of them) as part of a sequence; where to go on."""
        if self._state is _State.STRING and (body := _STRING_BODY.match(text, at)):
            return body.end()
        following = _step(self._state, text[at])
        # The character may begin something of its own, such as the text after a broken sequence.
        if following is None:
            self._state = _State.TEXT
            return at
        self._state = following
        return at + 1


def _step(state: _State, char: str) -> _State | None:
    """The state after ``char``; None when it does not belong to the sequence and must be read again as text."""
    if state is _State.TEXT or char in _INTRODUCERS:
        return _INTRODUCERS.get(char, _State.TEXT)
    if state is _State.STRING:
        return None if char == "\n" else _State.TEXT
    if state is _State.ESCAPE and char in _AFTER_ESCAPE:
        return _AFTER_ESCAPE[char]
    return _step_in_sequence(state, char)


def _step_in_sequence(state: _State, char: str) -> _State | None:
    """Parameters and intermediates stay, a final character ends, anything else was never part of it."""
    last_of_body = "\x3f" if state is _State.CSI else "\x2f"
    if " " <= char <= last_of_body:
        return _State.CSI if state is _State.CSI else _State.NF
    return _State.TEXT if " " <= char <= "~" else None


def clean(text: str) -> str:
    """A whole text that may be shown: a new :class:`Filter` over it."""
    return Filter().feed(text)


def clean_line(text: str) -> str:
    """A text for one line: cleaned, and every run of white space made one space."""
    return " ".join(clean(text).split())


def clean_json(text: str) -> str:
    r"""JSON text with everything a terminal could act on written as ``\uXXXX``; the value stays the same."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
