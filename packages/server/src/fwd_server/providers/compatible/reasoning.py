"""Entries of ``reasoning_details`` that come in pieces, gathered until each is whole.

An entry is one block of thinking, and its signature holds for the block: callers get it once and whole, so that it goes
back as it came. https://openrouter.ai/docs/use-cases/reasoning-tokens
"""

from __future__ import annotations

from typing import Final

from fwd_server.providers.lenient import objects
from fwd_server.values.chat import Json
from fwd_server.wire import jsontext

_GROWING: Final = ("text", "summary", "signature", "data")


class ReasoningEntries:
    """The entry that is being gathered, and those before it that are whole but were not sent yet."""

    __slots__ = ("_entry", "_index", "_next", "_whole")

    def __init__(self) -> None:
        self._entry: Json | None = None
        self._index: object = None  # the server's
        self._whole: list[Json] = []
        self._next = 0

    def __bool__(self) -> bool:
        return self._entry is not None

    def add_pieces(self, pieces: object) -> None:
        """Pieces of one index and type are one entry; one without an index is an entry of its own."""
        for piece in objects(pieces):
            entry, index = self._entry, piece.get("index")
            same = entry is not None and index is not None and index == self._index
            if entry is not None and same and piece.get("type", entry.get("type")) == entry.get("type"):
                _add_piece(entry, piece)
            else:
                self._close_entry()
                self._entry, self._index = dict(piece), index

    def take_whole(self, *, ended: bool) -> list[Json]:
        """The entries to send now; the last one only where it has ``ended``: something else came, or nothing more."""
        if ended:
            self._close_entry()
        whole, self._whole = self._whole, []
        return whole

    def _close_entry(self) -> None:
        """An index that was there before gets a new one: the SDKs would add both entries up to one."""
        entry = self._entry
        if entry is None:
            return
        index = entry.get("index")
        entry["index"] = index if type(index) is int and index >= self._next else self._next
        self._next = entry["index"] + 1
        self._whole.append(jsontext.replace_halves(entry))
        self._entry = None


def _add_piece(entry: Json, piece: Json) -> None:
    for name, value in piece.items():
        old = entry.get(name)
        if name in _GROWING and isinstance(old, str) and isinstance(value, str):
            entry[name] = old + value
        elif value is not None:
            entry[name] = value
