"""Characters that a server cut in two: ``\\ud83d`` in one chunk and ``\\ude00`` in the next are one character."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from fwd_server.wire import jsontext

REPLACEMENT: Final = "\ufffd"


class HalfCharacters:
    """The first halves that wait for their second ones, one for each text that grows (content, arguments, ...).

    True while one waits: what comes next must then not be passed on unread.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[Hashable, str] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def join_piece(self, text_name: Hashable, piece: str) -> str:
        """``piece`` with the half that waited before it, and without a first half at its end; lone ones replaced."""
        whole = self._waiting.pop(text_name, "") + piece
        if whole and "\ud800" <= whole[-1] <= "\udbff":
            self._waiting[text_name] = whole[-1]
            whole = whole[:-1]
        return jsontext.join_halves(whole)

    def take_rest(self) -> dict[Hashable, str]:
        """A replacement for every half that stays alone, by the text it belongs to."""
        rest = dict.fromkeys(self._waiting, REPLACEMENT)
        self._waiting.clear()
        return rest
