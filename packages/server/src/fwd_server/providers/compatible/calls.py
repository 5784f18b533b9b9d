"""Tool calls that come in fragments, numbered 0, 1, 2 whatever the server says about them.

Some servers send no index, one index for all, an id with every fragment (the same or a fresh one), one id for several
calls, arguments as an object, or the whole call once more at its end. Clients add up by index: two calls with one index
are one broken call.
"""

from __future__ import annotations

from typing import Final

import orjson
from attrs import define, field

from fwd_server.providers.call_ids import AnswerIds
from fwd_server.providers.compatible.answer import arguments_text
from fwd_server.providers.lenient import obj, text
from fwd_server.values.chat import Json
from fwd_server.wire import jsontext

_LONGEST_WHOLE: Final = 1 << 16  # characters


@define
class OpenCall:
    """A tool call as far as it has come. ``server_id`` is the id that the server gave it, which may not be unique."""

    number: int
    server_id: str | None
    name: str | None = None
    pieces: list[str] = field(factory=list)
    size: int = 0  # of its arguments, in characters

    def add_piece(self, piece: str) -> None:
        """More of its arguments."""
        self.pieces.append(piece)
        self.size += len(piece)

    def is_whole(self) -> bool:
        """Whether its arguments are complete JSON; long ones are not parsed with every fragment (contract T38)."""
        return self.size <= _LONGEST_WHOLE and _is_json("".join(self.pieces))

    def is_repeated_by(self, piece: str) -> bool:
        """Whether a fragment repeats the complete arguments, as some servers do at the end of a call."""
        return 0 < self.size == len(piece) and "".join(self.pieces) == piece and _is_json(piece)


def _is_json(written: str) -> bool:
    try:
        jsontext.loads(written)
    except orjson.JSONDecodeError:
        return False
    return True


class CallFragments:
    """The tool calls of one choice. ``ids`` are those of the whole answer: no two calls of it have one id.

    What tells calls apart is the server's index; at one index, a name that comes with another id, and without ids
    another function's name or a name after complete arguments. Without an index, a known id leads to its
    call unless the name is another's, and a fragment without a name continues the last call.
    """

    __slots__ = ("_all", "_by_index", "_by_server_id", "_ids", "_last")

    def __init__(self, ids: AnswerIds) -> None:
        self._ids = ids
        self._by_index: dict[int, OpenCall] = {}
        self._by_server_id: dict[str, OpenCall] = {}
        self._last: OpenCall | None = None
        self._all: list[OpenCall] = []

    def read_fragment(self, fragment: Json) -> Json | None:
        """The fragment as it should be; None if it adds nothing, or its call has no name yet."""
        function = obj(fragment.get("function"))
        piece = arguments_text(function.get("arguments"))
        call = self._find_call(fragment.get("index"), text(fragment.get("id")), text(function.get("name")))
        if call.is_repeated_by(piece):
            return None
        call.add_piece(piece)
        if call.name:
            return {"index": call.number, "function": {"arguments": piece}} if piece else None
        call.name = text(function.get("name")) or None
        return self._opening_fragment(call, fragment) if call.name else None

    def add_relayed(self, index: int, piece: str) -> bool:
        """Count more arguments of a call whose fragment may go out as it came; False if it has to be rewritten."""
        call = self._by_index.get(index)
        # The frame names the server's own number, so it may pass only where ours is the same.
        if call is None or not call.name or call.number != index or call.is_repeated_by(piece):
            return False
        call.add_piece(piece)
        self._last = call
        return True

    def missing_arguments(self) -> list[Json]:
        """Fragments for the calls that ended without any arguments: an empty object."""
        empty = (call for call in self._all if call.name and not call.size)
        return [{"index": call.number, "function": {"arguments": "{}"}} for call in empty]

    def _opening_fragment(self, call: OpenCall, fragment: Json) -> Json:
        function = {**obj(fragment.get("function")), "name": call.name, "arguments": "".join(call.pieces)}
        call_id = self._ids.claim_id(call.server_id or "")
        return {**fragment, "index": call.number, "id": call_id, "type": "function", "function": function}

    def _find_call(self, index: object, server_id: str, name: str) -> OpenCall:
        """The call a fragment belongs to, which may be a new one."""
        if type(index) is int:
            call = self._by_index.get(index)
            if call is None or _is_another_at_index(call, server_id, name):
                call = self._begin_call(server_id)
            self._by_index[index] = call
        else:
            # Without an index, what continues the call before it is the only order there is.
            call = self._by_server_id.get(server_id) or self._last
            if call is None or _is_another_without_index(call, server_id, name):
                call = self._begin_call(server_id)
        if server_id and not call.server_id:
            call.server_id = server_id
        self._last = call
        return call

    def _begin_call(self, server_id: str) -> OpenCall:
        call = OpenCall(len(self._all), server_id or None)
        self._all.append(call)
        if server_id:
            self._by_server_id[server_id] = call
        return call


def _is_another_at_index(call: OpenCall, server_id: str, name: str) -> bool:
    """Whether a fragment begins a new call at an index that is in use: a repeated id is the same call."""
    if not name or call.name is None:
        return False
    if server_id and call.server_id:
        return server_id != call.server_id
    return name != call.name or call.is_whole()


def _is_another_without_index(call: OpenCall, server_id: str, name: str) -> bool:
    """Whether a fragment without an index begins a new call: another function's, or another id with a name."""
    if not name or call.name is None:
        return False
    if name != call.name:
        return True
    if server_id and call.server_id:
        return server_id != call.server_id
    return call.is_whole()
