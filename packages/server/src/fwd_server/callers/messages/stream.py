"""A stream of chunks as Anthropic's events. https://platform.claude.com/docs/en/build-with-claude/streaming

One block is open at a time, and blocks are numbered without holes. A chunk may hold reasoning, text and pieces of calls
at once; they are written in that order, and what cannot be written yet is held, never lost.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
import orjson
from attrs import define, field

from fwd_server.callers.messages.answer import (
    capsule_of,
    signature_of,
    stop_details,
    stop_reason,
    usage_object,
)
from fwd_server.callers.messages.errors import render_error
from fwd_server.callers.messages.request import MessagesRequest
from fwd_server.values.chat import Chunk, Json, calls_in
from fwd_server.values.errors import GatewayError
from fwd_server.values.foreign import NativeChunk
from fwd_server.values.ids import new_id
from fwd_server.values.record import CallRecord
from fwd_server.values.usage import Usage, parse_usage
from fwd_server.wire import jsontext

_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_DELTA: Final = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n'
_BLOCK_STOP: Final = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'


def _event(name: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), jsontext.dumps({"type": name, **fields}))


class _PlainDelta(msgspec.Struct, forbid_unknown_fields=True):
    content: str
    role: str | None = None


class _PlainChoice(msgspec.Struct, forbid_unknown_fields=True):
    delta: _PlainDelta
    index: Literal[0] = 0
    logprobs: None = None
    finish_reason: None = None


class _PlainFrame(msgspec.Struct):
    """What nearly every frame is that a provider's bytes pass in: one more piece of the text."""

    choices: Annotated[list[_PlainChoice], msgspec.Meta(min_length=1, max_length=1)]
    usage: None = None


_PLAIN: Final = msgspec.json.Decoder(_PlainFrame)


@define
class _Call:
    """One tool call as far as it has come."""

    id: str = ""
    name: str = ""
    signature: str | None = None
    pieces: list[str] = field(factory=list)  # all of its arguments so far; joined each time they would cost too much
    sent: int = 0  # how many of them are out
    begun: bool = False
    over: bool = False

    def is_complete(self) -> bool:
        """Whether its arguments are a whole object."""
        if not self.pieces or not self.pieces[-1].rstrip().endswith("}"):
            return False
        try:
            jsontext.loads("".join(self.pieces))
        except orjson.JSONDecodeError:
            return False
        return True


@define
class MessagesStreamWriter:
    """One streamed answer."""

    _request: MessagesRequest
    _record: CallRecord
    content_type: str = field(default="text/event-stream; charset=utf-8", init=False)
    _begun: bool = field(default=False, init=False)
    _native_end: bytes = field(default=b"", init=False)
    _is_native: bool = field(default=False, init=False)
    _open: str = field(default="", init=False)  # the kind of the open block, "" for none
    _open_call: int = field(default=-1, init=False)
    _index: int = field(default=-1, init=False)  # of the latest block
    _calls: dict[int, _Call] = field(factory=dict, init=False)
    _held: list[tuple[str, str]] = field(factory=list, init=False)  # texts that came while a call was unfinished
    _details: list[Json] = field(factory=list, init=False)  # signed reasoning that is not out yet
    _refusal: list[str] = field(factory=list, init=False)
    _finish: str = field(default="", init=False)
    _usage: Usage | None = field(default=None, init=False)
    _sent_bytes: int = field(default=0, init=False)

    # -- what the exchange calls

    def write_chunks(self, chunks: list[Chunk]) -> bytes:
        """The events of some chunks; Anthropic's own pass as they are."""
        return b"".join([self._write_chunk(chunk) for chunk in chunks])

    def write_keep_alive(self) -> bytes:
        """A ping; before the first event, which has to be message_start, a comment."""
        return _PING if self._begun else b": keep-alive\n\n"

    def write_receipt(self, facts: Json) -> bytes:
        """The receipt as a comment: no client takes it for content."""
        return b": fwd " + jsontext.dumps(facts) + b"\n\n"

    def write_end(self, facts: Json) -> bytes:
        """Why and with which counts it ended, the receipt, and ``message_stop``."""
        if self._is_native:
            return self.write_receipt(facts) + self._native_end
        return b"".join([*self._start(), *self._finish_blocks(), self._last_delta(), self.write_receipt(facts), _STOP])

    def write_error(self, error: GatewayError) -> bytes:
        """One event, and nothing after it: Claude Code then asks again without a stream, not so after a mere cut."""
        body = render_error(error, self._record.call.id)
        # Anthropic's own bytes may be an event already.
        return body if body.startswith(b"event:") else b"event: error\ndata: %b\n\n" % body

    # -- chunks

    def _write_chunk(self, chunk: Chunk) -> bytes:
        if isinstance(chunk, NativeChunk):
            self._begun = self._is_native = True
            if chunk.last:
                self._native_end = chunk.frame or b""
                return b""
            return chunk.frame or b""
        if self._open == "text" and chunk.data is None and chunk.frame is not None:
            try:
                text = _PLAIN.decode(chunk.frame).choices[0].delta.content
            except (msgspec.DecodeError, UnicodeDecodeError):
                text = ""  # something else is in it, which is read below
            if text:
                return b"".join(self._write_text("text", text))
        data = chunk.data if chunk.data is not None else jsontext.loads(chunk.frame or b"{}")
        out = self._start(data.get("model"))
        usage = parse_usage(data.get("usage"))
        if usage is not None:
            self._usage = usage
        for choice in data.get("choices") or ():
            # A message of Anthropic's has one answer: further choices have no place in it.
            if not choice.get("index"):
                out += self._write_choice(choice)
        return b"".join(out)

    def _start(self, model: object = None) -> list[bytes]:
        if self._begun:
            return []
        self._begun = True
        # Clients show these counts while the stream runs; the true ones come only with its end, in message_delta.
        counts = usage_object(Usage(prompt=self._request.estimate, completion=1))
        message = {
            "id": new_id("msg_"),
            "type": "message",
            "role": "assistant",
            "model": model or self._request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": counts,
        }
        return [_event("message_start", message=message), _PING]

    def _write_choice(self, choice: Json) -> list[bytes]:
        delta = choice.get("delta") or {}
        out: list[bytes] = []
        details = delta.get("reasoning_details")
        if isinstance(details, list):
            self._details += [entry for entry in details if isinstance(entry, dict)]
        for kind, name in (("thinking", "reasoning_content"), ("text", "content"), ("refusal", "refusal")):
            text = delta.get(name)
            if isinstance(text, str) and text:
                out += self._write_text(kind, text)
        if delta.get("tool_calls"):
            out += self._write_calls(calls_in(delta))
        if choice.get("finish_reason"):
            self._finish = choice["finish_reason"]
            out += self._finish_blocks()
        return out

    # -- texts

    def _write_text(self, kind: str, text: str) -> list[bytes]:
        if self._open == "tool" and not self._calls[self._open_call].is_complete():
            # Closing the call now would give the client half an object as its input.
            self._held.append((kind, text))
            return []
        if kind == "refusal":
            self._refusal.append(text)
        out = [] if self._open == kind else [*self._close_block(), self._open_block(kind)]
        self._sent_bytes += len(text)
        written = jsontext.dumps(text)
        piece = b'{"type":"text_delta","text":%b}' % written
        if kind == "thinking":
            piece = b'{"type":"thinking_delta","thinking":%b}' % written
        out.append(_DELTA % (self._index, piece))
        return out

    def _open_block(self, kind: str) -> bytes:
        self._index += 1
        self._open = kind
        block: Json = {"type": "text", "text": ""}
        if kind == "thinking":
            block = {"type": "thinking", "thinking": "", "signature": ""}
        return _event("content_block_start", index=self._index, content_block=block)

    def _close_block(self) -> list[bytes]:
        """End the open block; thinking is signed with what came with it, a call gets the last of its arguments."""
        out: list[bytes] = []
        if self._open == "thinking":
            held = self._take_capsule()
            if held:
                signed = {"type": "signature_delta", "signature": held}
                out.append(_DELTA % (self._index, jsontext.dumps(signed)))
        elif self._open == "tool":
            self._calls[self._open_call].over = True
        if self._open:
            out.append(_BLOCK_STOP % self._index)
        self._open = ""
        return out

    def _take_capsule(self) -> str:
        """Signed parts that have not been sent yet: reasoning, and Gemini's signatures of calls that have not begun."""
        waiting = [call for call in self._calls.values() if call.signature and not call.begun and call.id]
        held = capsule_of(self._record, self._details, {call.id: call.signature for call in waiting if call.signature})
        self._details = []
        for call in waiting:
            call.signature = None
        return held

    # -- calls

    def _write_calls(self, pieces: list[Json]) -> list[bytes]:
        for piece in pieces:
            at = piece.get("index")
            call = self._calls.setdefault(at if type(at) is int else 0, _Call())
            function = piece.get("function")
            named: Json = function if isinstance(function, dict) else {}
            call.id = call.id or str(piece.get("id") or "")
            call.name = call.name or str(named.get("name") or "")
            call.signature = call.signature or signature_of(piece)
            if named.get("arguments"):
                call.pieces.append(str(named["arguments"]))
        return self._advance_calls(ended=False)

    def _advance_calls(self, *, ended: bool) -> list[bytes]:
        """Write what can be written of the calls, one after the other."""
        out: list[bytes] = []
        # One block at a time: a provider may mix the pieces of parallel calls, Anthropic's stream may not.
        for at, call in sorted(self._calls.items()):
            if call.over:
                continue
            if not call.begun:
                if self._is_waiting(ended=ended):
                    break
                if ended:
                    call.id = call.id or new_id("call_")
                # Providers may send them in a later piece, and a block cannot begin without them.
                if not call.id or not call.name:
                    break
                out += self._open_call_block(at, call)
            out += self._write_arguments(call)
        return out

    def _is_waiting(self, *, ended: bool) -> bool:
        """Whether the open call needs more of its arguments before another block may begin."""
        return self._open == "tool" and not ended and not self._calls[self._open_call].is_complete()

    def _open_call_block(self, at: int, call: _Call) -> list[bytes]:
        out = self._close_block()
        if call.signature or self._details:
            # No thinking is open that could carry it: it stands directly before its call.
            held = self._take_capsule()
            self._index += 1
            block = {"type": "redacted_thinking", "data": held}
            out += [_event("content_block_start", index=self._index, content_block=block), _BLOCK_STOP % self._index]
        call.begun = True
        self._index += 1
        self._open, self._open_call = "tool", at
        named = {"type": "tool_use", "id": call.id, "name": self._request.caller_name(call.name), "input": {}}
        out.append(_event("content_block_start", index=self._index, content_block=named))
        return out

    def _write_arguments(self, call: _Call) -> list[bytes]:
        new = "".join(call.pieces[call.sent :])
        if not new:
            return []
        call.sent = len(call.pieces)
        self._sent_bytes += len(new)
        piece = {"type": "input_json_delta", "partial_json": new}
        return [_DELTA % (self._index, jsontext.dumps(piece))]

    # -- the end

    def _finish_blocks(self) -> list[bytes]:
        """Everything that was held, and the end of the open block."""
        out = self._advance_calls(ended=True)
        if self._held:
            out += self._close_block()
            held, self._held = self._held, []
            for kind, text in held:
                out += self._write_text(kind, text)
        return [*out, *self._close_block()]

    def _last_delta(self) -> bytes:
        usage = self._usage or self._record.usage
        if usage is None:
            # Nobody counted: the same estimate of four bytes a token as everywhere.
            usage = Usage(prompt=self._request.estimate, completion=max(1, -(-self._sent_bytes // 4)))
        finish, refusal = self._finish or "stop", "".join(self._refusal)
        reason = stop_reason(finish, has_calls=bool(self._calls), refused=bool(refusal))
        delta: Json = {"stop_reason": reason, "stop_sequence": None}
        if refusal or finish == "content_filter":
            delta["stop_details"] = stop_details(refusal)
        return _event("message_delta", delta=delta, usage=usage_object(usage))
