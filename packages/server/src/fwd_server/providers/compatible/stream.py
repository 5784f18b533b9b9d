"""A stream in OpenAI's shape: relayed frame by frame where it keeps OpenAI's rules, put right where it does not.

A frame goes out as the bytes it came in if it fits ``_Frame``: it adds text (or, from an exact provider, a piece of a
tool call) to a choice that has begun, and has none of the fields that must be renamed or stay behind. That is nearly
every frame, and msgspec finds it out in half a microsecond, without building the object. All others are parsed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import msgspec
import orjson
from attrs import define, field
from msgspec import UNSET, UnsetType

from fwd_server import sse, tokens
from fwd_server.chat import ChatRequest, Chunk, End, Json, StreamEvent, choice_delta
from fwd_server.errors import UpstreamError, broken
from fwd_server.providers.base import NewId
from fwd_server.providers.compatible.answer import (
    FAILED,
    arguments,
    finish_reason,
    read_head,
    tidy_said,
    tidy_tier,
    tidy_usage,
)
from fwd_server.providers.compatible.failure import is_failure
from fwd_server.providers.compatible.row import Row
from fwd_server.providers.native import obj, objects
from fwd_server.usage import Usage, read

_USAGE: Final = b',"usage":null'
_HEAD: Final = ("id", "object", "created", "model")


# -- what a frame looks like that may be relayed; anything else does not fit and is parsed


class _Piece(msgspec.Struct, gc=False):
    arguments: str
    name: UnsetType = UNSET


class _Fragment(msgspec.Struct, gc=False):
    index: int
    function: _Piece
    id: UnsetType = UNSET


class _Delta(msgspec.Struct, gc=False):
    content: str = ""
    reasoning_content: str = ""
    refusal: str = ""
    tool_calls: list[_Fragment] | UnsetType = UNSET
    role: UnsetType = UNSET
    function_call: UnsetType = UNSET
    reasoning: UnsetType = UNSET
    reasoning_details: UnsetType = UNSET
    images: UnsetType = UNSET


class _Choice(msgspec.Struct, gc=False):
    index: int
    delta: _Delta
    finish_reason: None = None


class _Frame(msgspec.Struct, gc=False):
    id: str
    object: str
    created: int
    model: str
    choices: list[_Choice]
    usage: UnsetType | None = UNSET
    error: UnsetType | None = UNSET


@functools.cache
def _frames(extras: frozenset[str]) -> msgspec.json.Decoder[_Frame]:
    """A decoder of frames in which none of ``extras`` may be: made once for each row that streams."""
    absent = [(name, UnsetType, UNSET) for name in sorted(extras)]
    delta = msgspec.defstruct("Delta", absent, bases=(_Delta,), gc=False)
    choice = msgspec.defstruct("Choice", [("delta", delta), *absent], bases=(_Choice,), gc=False, kw_only=True)
    frame = msgspec.defstruct("Frame", [("choices", list[choice]), *absent], bases=(_Frame,), gc=False, kw_only=True)  # type: ignore[valid-type]
    return msgspec.json.Decoder(frame)


# -- the state of a choice


@define
class _Call:
    """A tool call as far as it has come."""

    number: int
    id: str | None
    name: str | None = None
    pieces: list[str] = field(factory=list)
    size: int = 0

    def add(self, piece: str) -> None:
        self.pieces.append(piece)
        self.size += len(piece)

    def is_whole(self) -> bool:
        """Whether its arguments are complete JSON."""
        try:
            orjson.loads("".join(self.pieces))
        except orjson.JSONDecodeError:
            return False
        return True

    def repeats(self, piece: str) -> bool:
        """Whether a fragment says again what was already said in full."""
        return 0 < self.size == len(piece) and "".join(self.pieces) == piece and self.is_whole()


class _Calls:
    """The tool calls of one choice, numbered 0, 1, 2 whatever the server says about them.

    Some servers send no index, one index for all, an id with every fragment, or the whole call once more at its end.
    """

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id
        self._by_index: dict[int, _Call] = {}
        self._open: _Call | None = None
        self.all: list[_Call] = []

    def take(self, fragment: Json) -> Json | None:
        """The fragment as it should be, or None if it adds nothing."""
        function = obj(fragment.get("function"))
        call, piece = self._call(fragment, function), arguments(function.get("arguments"))
        if call.repeats(piece):
            return None
        call.add(piece)
        if call.name:
            return {"index": call.number, "function": {"arguments": piece}} if piece else None
        call.name = function.get("name") or None
        return self._opening(call, fragment) if call.name else None

    def _opening(self, call: _Call, fragment: Json) -> Json:
        call.id = call.id or self._new_id("call_")
        function = {**obj(fragment.get("function")), "name": call.name, "arguments": "".join(call.pieces)}
        return {**fragment, "index": call.number, "id": call.id, "type": "function", "function": function}

    def _call(self, fragment: Json, function: Json) -> _Call:
        index, id_, name = fragment.get("index"), fragment.get("id") or None, function.get("name") or None
        found = self._by_index.get(index) if isinstance(index, int) else self._open
        if found is None or self._is_new(found, id_, name):
            found = next((call for call in self.all if id_ and call.id == id_), None) or self._begin(id_)
        self._open = found
        if isinstance(index, int):
            self._by_index[index] = found
        return found

    def _is_new(self, found: _Call, id_: str | None, name: str | None) -> bool:
        if name is None or found.name is None:
            return False
        if id_ is not None and found.id is not None:
            return id_ != found.id
        return name != found.name or found.is_whole()

    def _begin(self, id_: str | None) -> _Call:
        call = _Call(len(self.all), id_)
        self.all.append(call)
        return call

    def unsaid(self) -> list[Json]:
        """The arguments of calls that ended without any: an empty object."""
        return [
            {"index": call.number, "function": {"arguments": "{}"}} for call in self.all if call.name and not call.size
        ]


@define
class _State:
    """One choice: whether it has begun and ended, and its tool calls."""

    calls: _Calls
    opened: bool = False
    finished: bool = False
    called: bool = False


# -- the decoder


class Decoder:
    """Bytes of the upstream to events, for one caller."""

    def __init__(
        self, row: Row, request: ChatRequest, head: Json, new_id: NewId, failure: Callable[[object], UpstreamError]
    ) -> None:
        self._row = row
        self._request = request
        self._asked = request.include_usage
        self._frames = _frames(row.extras)
        self._head = head  # id, created and model, until the first chunk says them
        self._key: tuple[Any, ...] = ()
        self._new_id = new_id
        self._failure = failure
        self._events = sse.Decoder()
        self._choices: dict[int, _State] = {}
        self._last: Json = {}  # the chunk that usage came in
        self._bytes = 0  # of text, for an estimate where the provider does not count
        self._done = False
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events that ``data`` completes."""
        if self._done:
            return []
        found: list[StreamEvent] = []
        try:
            for event in self._events.feed(data):
                self._take(event, found)
        except sse.LineTooLong:
            self._fail(broken("too_large"), found)
        except orjson.JSONDecodeError:
            self._fail(broken("bad_payload"), found)
        return found

    def close(self) -> list[StreamEvent]:
        """The body is over: the end if every choice has its finish reason (F23), else the stream was cut (F22)."""
        found: list[StreamEvent] = []
        try:
            for event in () if self._done else self._events.close():
                self._take(event, found)
        except (sse.LineTooLong, orjson.JSONDecodeError):
            pass  # the event it broke off in; what came before decides
        if not self._done and self._choices and all(state.finished for state in self._choices.values()):
            self._end(found)
        elif not self._done:
            self._fail(broken("upstream_truncated"), found)
        return found

    def _fail(self, error: UpstreamError, found: list[StreamEvent]) -> None:
        self._done = True
        found.append(error)

    def _take(self, event: sse.Event, found: list[StreamEvent]) -> None:
        if self._done:
            return
        if event.data == b"[DONE]":
            self._finish_all(found)
            self._end(found)
            return
        frame = self._relay(event.data)
        if frame is not None:
            found.append(Chunk(True, frame=frame))
            return
        self._parse(event, found)

    # -- relayed

    def _relay(self, data: bytes) -> bytes | None:
        """The frame to send for ``data``, or None if it has to be parsed."""
        try:
            frame = self._frames.decode(data)
            if not data.isascii():
                data.decode()  # msgspec does not look into strings it skips (F27)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None  # does not fit; whether it can be read at all is found out by parsing it
        if len(frame.choices) != 1 or (frame.id, frame.created, frame.model, frame.object) != self._key:
            return None
        return self._as_asked(data, frame) if self._adds(frame.choices[0]) else None

    def _adds(self, choice: _Choice) -> bool:
        """Whether the choice has begun, goes on, and is given something."""
        state = self._choices.get(choice.index)
        if state is None or state.finished:
            return False
        delta = choice.delta
        if delta.tool_calls is not UNSET:
            return self._row.exact and bool(delta.tool_calls)
        said = delta.content or delta.reasoning_content or delta.refusal
        self._bytes += len(said) if said.isascii() else len(said.encode())
        return bool(said)

    def _as_asked(self, data: bytes, frame: _Frame) -> bytes | None:
        """``data`` as a frame with ``"usage": null`` if the caller asked for usage, without it if not."""
        if b"\n" in data:
            return None
        if (frame.usage is None) is not self._asked:
            if self._asked:
                data = data[:-1] + _USAGE + b"}"
            elif data.count(b'"usage"') == 1 and _USAGE in data:
                data = data.replace(_USAGE, b"")
            else:
                return None
        return b"data: " + data + b"\n\n"

    # -- parsed

    def _parse(self, event: sse.Event, found: list[StreamEvent]) -> None:
        chunk = orjson.loads(event.data)
        if not isinstance(chunk, dict):
            self._fail(broken("bad_payload"), found)
        elif event.name == "error" or is_failure(chunk):
            self._fail(self._failure(chunk), found)
        elif obj(chunk.get("x_groq")).get("error"):
            self._fail(self._failure({"error": chunk["x_groq"]["error"]}), found)
        else:
            self._read(chunk, found)

    def _read(self, chunk: Json, found: list[StreamEvent]) -> None:
        rest = self._without_extras(chunk)
        self._note_usage(chunk, rest)
        choices = objects(chunk.get("choices"))
        if not self._key and (choices or chunk.get("id")):
            self._begin(chunk)
        failed = next((choice for choice in choices if choice.get("finish_reason") == FAILED), None)
        if failed is not None:
            self._fail(self._failure(failed), found)
            return
        for choice in choices:
            found += self._normal(rest, choice)
        if chunk.get("choices") == [] and self._key and rest and not chunk.get("usage"):
            found.append(self._chunk(rest, []))

    def _without_extras(self, chunk: Json) -> Json:
        """What a chunk says besides its head, its choices and its usage."""
        gone = self._row.extras.union(_HEAD, ("choices", "usage"))
        rest = {key: value for key, value in chunk.items() if key not in gone}
        tidy_tier(self._row, rest)
        return rest

    def _note_usage(self, chunk: Json, rest: Json) -> None:
        """Keep the latest count; it goes out in a chunk of its own at the end, whichever chunk it came in."""
        usage = chunk.get("usage") or obj(chunk.get("x_groq")).get("usage")
        if isinstance(usage, dict):
            tidy = tidy_usage(self._row, usage)
            self.usage = read(tidy)
            self._last = {**rest, "usage": tidy}

    def _begin(self, chunk: Json) -> None:
        """The first chunk's head is the head of all (id, created and model never change)."""
        self._head = read_head(chunk, self._head, self._new_id)
        self._key = (self._head["id"], self._head["created"], self._head["model"], "chat.completion.chunk")

    def _chunk(self, rest: Json, choices: list[Json]) -> Chunk:
        commits = any(choice["finish_reason"] or _says(choice["delta"]) for choice in choices)
        return Chunk(commits, {**self._head, "object": "chat.completion.chunk", **rest, "choices": choices})

    def _normal(self, rest: Json, choice: Json) -> list[Chunk]:
        """One choice of a chunk by the rules: at most what it adds, and then its end."""
        index = choice.get("index") if isinstance(choice.get("index"), int) else 0
        state = self._choices.setdefault(index or 0, _State(_Calls(self._new_id)))
        if state.finished:
            return []
        kept = {key: value for key, value in choice.items() if key not in self._row.extras}
        base = {**choice_delta({}, index or 0), **kept, "index": index or 0}
        delta = self._delta(state, obj(choice.get("delta")))
        finish = finish_reason(choice.get("finish_reason"), state.called and not self._row.exact)
        chunks = [self._chunk(rest, [{**base, "delta": delta, "finish_reason": None}])] if delta else []
        if finish:
            base["logprobs"] = None if delta else base["logprobs"]
            chunks += self._finish(state, {**base, "finish_reason": finish}, rest)
        return chunks

    def _delta(self, state: _State, said: Json) -> Json:
        """What a delta adds: role and empty texts only in the first one, tool calls with our numbers."""
        tidy = tidy_said(self._row, said)
        fragments = objects(tidy.pop("tool_calls", None))
        first = {} if state.opened else {"role": "assistant", "content": ""}
        keep = () if state.opened else ("content", "refusal")
        delta = {k: v for k, v in tidy.items() if k != "role" and (k in keep or v not in (None, "", []))}
        calls = [call for call in map(state.calls.take, fragments) if call] if not _custom(fragments) else fragments
        state.opened = True
        state.called = state.called or bool(calls)
        texts = [*delta.values(), *(obj(call.get("function")).get("arguments") for call in calls)]
        self._bytes += sum(len(value.encode()) for value in texts if isinstance(value, str))
        return {**first, **delta, **({"tool_calls": calls} if calls else {})}

    def _finish(self, state: _State, last: Json, rest: Json) -> list[Chunk]:
        """The last chunk of a choice; calls that never got arguments get an empty object before it."""
        state.finished = True
        chunks = [self._chunk(rest, [{**last, "delta": {}}])]
        unsaid = state.calls.unsaid() if last["finish_reason"] == "tool_calls" and not self._row.exact else []
        if unsaid:
            chunks.insert(0, self._chunk(rest, [choice_delta({"tool_calls": unsaid}, last["index"])]))
        return chunks

    # -- the end

    def _finish_all(self, found: list[StreamEvent]) -> None:
        """The provider says that all is done: choices it left open are over."""
        for index, state in self._choices.items():
            if not state.finished:
                found += self._finish(state, choice_delta({}, index, "tool_calls" if state.called else "stop"), {})

    def _end(self, found: list[StreamEvent]) -> None:
        """The usage, counted by us where the provider did not, and the end."""
        if not self._choices:
            self._fail(broken("bad_payload", "The provider ended its answer without saying anything."), found)
            return
        self._done = True
        if self.usage is None:
            completion = tokens.estimate_bytes(self._bytes)
            self.usage = Usage(tokens.estimate_prompt(self._request.body), completion, estimated=True)
            self._last = {"usage": tokens.render(self.usage)}
        found += [self._chunk(self._last, []), End(self.usage)]


def _says(delta: Json) -> bool:
    """Whether a delta is content: anything but a role and empty texts (contract 3a)."""
    return any(value for key, value in delta.items() if key != "role")


def _custom(fragments: list[Json]) -> bool:
    """Custom tools stream their input elsewhere; only OpenAI has them, and numbers them rightly."""
    return any("custom" in fragment for fragment in fragments)
