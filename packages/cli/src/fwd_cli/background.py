"""Whether the terminal is light or dark, because colours that read well on one are hard to read on the other."""

from __future__ import annotations

import os
import re
import select
import sys
import time
from collections.abc import Mapping
from typing import Final, Literal

from fwd_cli.keystrokes import hold_keys

Background = Literal["light", "dark"]

# Asks for the background's colour (OSC 11), then for the terminal's kind (DA1). Every terminal answers the second
# question, and in order, so that one that does not know the first is found out at once, without a long wait.
_QUESTION: Final = "\x1b]11;?\x1b\\\x1b[c"
_COLOUR: Final = re.compile(rb"\x1b\]11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})")
_END: Final = re.compile(rb"\x1b\[\?[0-9;]*c")
_WITHIN_S: Final = 0.5
_LIGHT_ANSI: Final = ("7", "15")


def background() -> Background | None:
    """The background of the terminal on standard output: as COLORFGBG has it, else as the terminal itself reports it.

    None where nobody knows.
    """
    return from_environment(os.environ) or _asked()


def from_environment(environment: Mapping[str, str]) -> Background | None:
    """The background in COLORFGBG (``15;0``, foreground and background as ANSI colours), which some terminals set."""
    # rxvt writes three parts: "15;default;0".
    number = environment.get("COLORFGBG", "").rpartition(";")[2]
    if not number.isdigit():
        return None
    return "light" if number in _LIGHT_ANSI else "dark"


def from_reply(reply: bytes) -> Background | None:
    """The background in a terminal's answer; None when it does not hold one."""
    match = _COLOUR.search(reply)
    if match is None:
        return None
    # Terminals answer with one to four hex digits for each colour.
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in match.groups())
    # Perceived brightness, ITU-R BT.601: green counts most, blue least.
    return "light" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "dark"


def _asked() -> Background | None:
    """What the terminal answers. Nobody is asked who is not there, and nothing that was typed ahead is lost."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") in (None, "dumb"):
        return None
    try:
        source = sys.stdin.fileno()
        with hold_keys(sys.stdin, for_prompt=True):
            if select.select([source], [], [], 0)[0]:
                return None
            sys.stdout.write(_QUESTION)
            sys.stdout.flush()
            return from_reply(_read_reply(source))
    except (OSError, ValueError):  # a stream that only looks like a terminal: no colours are lost by not knowing
        return None


def _read_reply(source: int) -> bytes:
    reply, end = b"", time.monotonic() + _WITHIN_S
    while not _END.search(reply):
        if not select.select([source], [], [], max(0.0, end - time.monotonic()))[0]:
            break
        reply += os.read(source, 256)
    return reply
