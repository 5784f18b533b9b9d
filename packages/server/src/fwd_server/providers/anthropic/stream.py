"""Claude's stream as chunks. https://platform.claude.com/docs/en/build-with-claude/streaming"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from attrs import define, field

from fwd_server.providers import answer_shape, lenient
from fwd_server.providers.anthropic.answer import (
    Memory,
    Unfence,
    block_number,
    finish_reason,
    latest,
    read_usage,
    refusal,
    thought,
)
from fwd_server.values.chat import Chunk, Json, StreamEvent
from fwd_server.values.errors import upstream_failure
from fwd_server.values.usage import Usage


@define
class _Block:
    """A block that is open, with what it has said so far; ``call`` is a tool call's place among the calls."""

    block: Json
    call: int = -1
    argued: bool = False
    thoughts: list[str] = field(factory=list)


@define
class Reader:
    """Events to chunks. The finish is held until ``message_stop``: what breaks off before that has none."""

    memory: Memory
    usage: Usage | None = None
    _writer: answer_shape.ChunkWriter | None = None
    _counts: Json = field(factory=dict)
    _stop: Json = field(factory=dict)
    _open: dict[int | None, _Block] = field(factory=dict)
    _calls: int = 0
    _thoughts: int = 0
    _reasoned: bool = False
    _committed: bool = False
    _unfence: Unfence = field(factory=Unfence)

    def read(self, said: Json) -> list[StreamEvent]:
        """The chunks of one event; pings and events nobody knows give none."""
        kind = lenient.text(said.get("type"))
        if kind == "error":
            return [self.memory.failure(said, committed=self._committed)]
        if kind == "message_stop":
            return self._finish()
        if kind not in _EVENTS:
            return []
        if self._writer is None and kind != "message_start":
            return [upstream_failure("bad_payload")]
        return self._write(_EVENTS[kind](self, said))

    def end(self) -> list[StreamEvent]:
        """The body ended before ``message_stop``."""
        return [upstream_failure("upstream_truncated")]

    def _write(self, deltas: Iterator[Json]) -> list[StreamEvent]:
        found = list(deltas)
        self._committed = self._committed or bool(found)
        return self._writer.deltas(0, found) if self._writer else []

    def _finish(self) -> list[StreamEvent]:
        if self._writer is None:
            return [upstream_failure("bad_payload")]
        last = self._write(self._last())
        finish = self._writer.finish(0, finish_reason(self._stop.get("stop_reason"), self._calls > 0))
        events = [*last, *finish, *self._writer.end(self.usage)]
        tier = self.memory.tier(self._counts)
        for event in events if tier else ():
            if isinstance(event, Chunk) and event.data:
                event.data.update(tier)
        return events

    def _last(self) -> Iterator[Json]:
        """What is still held back at the end."""
        for index in list(self._open):
            yield from self._block_stop({"index": index})
        held = self._unfence.close()
        if held:
            yield {"content": held}
        declined = refusal(self._stop)
        if declined:
            yield {"refusal": declined}

    # -- events

    def _message_start(self, said: Json) -> Iterator[Json]:
        message = lenient.obj(said.get("message"))
        if self._writer is None:
            self._writer = answer_shape.ChunkWriter(self.memory.head(message))
        self._count(message.get("usage"))
        yield from ()

    def _message_delta(self, said: Json) -> Iterator[Json]:
        self._stop = latest(self._stop, said.get("delta"))
        self._count(said.get("usage"))
        yield from ()

    def _count(self, told: object) -> None:
        self._counts = latest(self._counts, told)
        self.usage = read_usage(self._counts) if self._counts else None

    def _block_start(self, said: Json) -> Iterator[Json]:
        block = dict(lenient.obj(said.get("content_block")))
        opened = self._open[block_number(said)] = _Block(block)
        kind = block.get("type")
        if kind == "text":
            yield from self._text(lenient.text(block.get("text")))
        elif kind == "tool_use":
            yield from self._call(opened)
        elif kind == "thinking":
            yield from self._think(opened, lenient.text(block.get("thinking")))
        elif kind == "redacted_thinking":
            yield self._thought(block)

    def _block_delta(self, said: Json) -> Iterator[Json]:
        opened, delta = self._open.get(block_number(said)), lenient.obj(said.get("delta"))
        kind = delta.get("type")
        if opened is None:
            return
        if kind == "text_delta":
            yield from self._text(lenient.text(delta.get("text")))
        elif kind == "input_json_delta":
            yield from self._argue(opened, lenient.text(delta.get("partial_json")))
        elif kind == "thinking_delta":
            yield from self._think(opened, lenient.text(delta.get("thinking")))
        elif kind == "signature_delta":
            opened.block["signature"] = delta.get("signature")

    def _block_stop(self, said: Json) -> Iterator[Json]:
        opened = self._open.pop(block_number(said), None)
        if opened is None:
            return
        if opened.call >= 0 and not opened.argued:
            yield from self._argue(opened, "{}")
        elif opened.block.get("type") == "thinking":
            yield self._thought({**opened.block, "thinking": "".join(opened.thoughts)})

    # -- what blocks say

    def _text(self, text: str) -> Iterator[Json]:
        if self.memory.json_only:
            text = self._unfence.feed(text)
        if text:
            yield {"content": text}

    def _call(self, opened: _Block) -> Iterator[Json]:
        opened.call = self._calls
        self._calls += 1
        yield self.memory.call(opened.call, opened.block, "")
        given = opened.block.get("input")
        if given:
            yield from self._argue(opened, lenient.dumps(given))

    def _argue(self, opened: _Block, text: str) -> Iterator[Json]:
        if text:
            opened.argued = True
            yield {"tool_calls": [{"index": opened.call, "function": {"arguments": text}}]}

    def _think(self, opened: _Block, text: str) -> Iterator[Json]:
        """Readable thinking; the text of a second block begins on a new line."""
        if not text:
            return
        again = self._reasoned and not opened.thoughts
        opened.thoughts.append(text)
        self._reasoned = True
        yield {"reasoning_content": f"\n{text}" if again else text}

    def _thought(self, block: Json) -> Json:
        self._thoughts += 1
        return {"reasoning_details": [thought(block, self._thoughts - 1)]}


_EVENTS: Final[dict[str, Callable[[Reader, Json], Iterator[Json]]]] = {
    "message_start": Reader._message_start,
    "message_delta": Reader._message_delta,
    "content_block_start": Reader._block_start,
    "content_block_delta": Reader._block_delta,
    "content_block_stop": Reader._block_stop,
}
