"""Tool calls that come in fragments, numbered 0, 1, 2 whatever the server says about them.

Some servers send no index, one index for all, an id with every fragment (the same or a fresh one), arguments as an
object, or the whole call once more at its end. Clients add up by index: two calls with one index are one broken call.
"""

from __future__ import annotations

from typing import Final

import orjson
from attrs import define, field

from fwd_server.providers.base import NewId
from fwd_server.providers.compatible.answer import arguments
from fwd_server.providers.lenient import obj, text
from fwd_server.values.chat import Json
from fwd_server.wire import jsontext

_LONGEST_WHOLE: Final = 1 << 16  # characters


@define
class Call:
    """A tool call as far as it has come."""

    number: int
    id: str | None
    name: str | None = None
    pieces: list[str] = field(factory=list)
    size: int = 0

    def add(self, piece: str) -> None:
        """More of its arguments."""
        self.pieces.append(piece)
        self.size += len(piece)

    def is_whole(self) -> bool:
        """Whether its arguments are complete JSON; of long ones it is not found out again and again (contract T38)."""
        return self.size <= _LONGEST_WHOLE and _is_json("".join(self.pieces))

    def repeats(self, piece: str) -> bool:
        """Whether a fragment says again what was already said in full."""
        return 0 < self.size == len(piece) and "".join(self.pieces) == piece and _is_json(piece)


def _is_json(said: str) -> bool:
    try:
        jsontext.loads(said)
    except orjson.JSONDecodeError:
        return False
    return True


class Calls:
    """The tool calls of one choice."""

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id
        self._by_index: dict[int, Call] = {}
        self._open: Call | None = None
        self._by_id: dict[str, Call] = {}
        self._all: list[Call] = []

    def take(self, fragment: Json) -> Json | None:
        """The fragment as it should be; None if it adds nothing, or its call has no name yet."""
        function = obj(fragment.get("function"))
        call, piece = self._call(fragment, function), arguments(function.get("arguments"))
        if call.repeats(piece):
            return None
        call.add(piece)
        if call.name:
            return {"index": call.number, "function": {"arguments": piece}} if piece else None
        call.name = function.get("name") or None
        return self._opening(call, fragment) if call.name else None

    def unsaid(self) -> list[Json]:
        """The arguments of calls that ended without any: an empty object."""
        empty = (call for call in self._all if call.name and not call.size)
        return [{"index": call.number, "function": {"arguments": "{}"}} for call in empty]

    def _opening(self, call: Call, fragment: Json) -> Json:
        call.id = call.id or self._new_id("call_")
        function = {**obj(fragment.get("function")), "name": call.name, "arguments": "".join(call.pieces)}
        return {**fragment, "index": call.number, "id": call.id, "type": "function", "function": function}

    def _call(self, fragment: Json, function: Json) -> Call:
        """The call a fragment belongs to."""
        index, id_, name = fragment.get("index"), text(fragment.get("id")) or None, function.get("name") or None
        found = self._by_index.get(index) if isinstance(index, int) else self._open
        if found is None or _is_another(found, id_, name):
            found = self._by_id.get(id_ or "") or self._begin(id_)
        self._open = found
        if isinstance(index, int):
            self._by_index[index] = found
        return found

    def _begin(self, id_: str | None) -> Call:
        call = Call(len(self._all), id_)
        self._all.append(call)
        if id_:
            self._by_id[id_] = call
        return call


def _is_another(call: Call, id_: str | None, name: str | None) -> bool:
    """Whether a fragment begins a new call, though ``call`` is the one of its index: by its id, else by its name."""
    if name is None or call.name is None:
        return False
    if id_ is not None and call.id is not None:
        return id_ != call.id
    return name != call.name or call.is_whole()
