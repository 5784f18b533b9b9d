"""A JSON object without the Markdown fence that models like to put around it."""

from __future__ import annotations

import re
from typing import Final

_OPENING: Final = re.compile(r"\s*```[^\n`]*\n")
_CLOSING: Final = re.compile(r"\s*`{0,3}\s*$")


class Unfence:
    """Takes a Markdown fence off a text that comes in pieces."""

    def __init__(self) -> None:
        self._held = ""
        self._fenced: bool | None = None  # None: cannot be known yet

    def feed(self, text: str) -> str:
        """The part of the text so far that is surely inside the fence."""
        self._held += text
        if self._fenced is None:
            self._decide_fence()
        if self._fenced is None:
            return ""
        # White space and backquotes at the end may be the beginning of the closing fence.
        keep = _CLOSING.search(self._held) if self._fenced else None
        return self._release_until(keep.start() if keep else len(self._held))

    def close(self) -> str:
        """The rest: without the closing fence, if there was an opening one."""
        rest = self._release_until(len(self._held))
        return re.sub(r"\s*```\s*$", "", rest) if self._fenced else rest

    def _decide_fence(self) -> None:
        start = self._held.lstrip()
        if "```".startswith(start[:3]) and "\n" not in start:
            return
        opening = _OPENING.match(self._held)
        self._fenced = opening is not None
        if opening:
            self._held = self._held[opening.end() :]

    def _release_until(self, end: int) -> str:
        released, self._held = self._held[:end], self._held[end:]
        return released
