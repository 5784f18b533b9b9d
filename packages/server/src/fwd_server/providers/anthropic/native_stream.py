"""Claude's own stream for a caller who speaks its language: whole events pass as they came, and only counts are read.

https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

import re
from typing import Final

import orjson
from attrs import define, field

from fwd_server.providers import lenient
from fwd_server.providers.anthropic import failure
from fwd_server.providers.anthropic.context import AnswerContext
from fwd_server.providers.anthropic.usage import latest_fields, read_usage
from fwd_server.values.chat import End, Json, StreamEvent
from fwd_server.values.errors import UpstreamError, upstream_failure
from fwd_server.values.foreign import NativeChunk
from fwd_server.values.usage import Usage
from fwd_server.wire import jsontext
from fwd_server.wire.redact import LONGEST
from fwd_server.wire.sse import LONGEST_LINE

_BREAK: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA: Final = re.compile(rb"^data: ?(.*?)\r?$", re.MULTILINE)
_NAME: Final = re.compile(rb"^event: ?(\w+)", re.MULTILINE)
# Nearly every event, told by its first bytes.
_DELTA: Final = b"event: content_block_delta"
_COMMITS: Final = frozenset({"content_block_delta", "message_delta"})


@define
class MessageRelay:
    """Bytes to whole events. After the last one, or an error, it gives nothing more (F30)."""

    _context: AnswerContext
    usage: Usage | None = field(default=None, init=False)
    progress: int = field(default=0, init=False)
    _rest: bytearray = field(factory=bytearray, init=False)
    _seen: int = field(default=0, init=False)  # how much of the rest was searched for the end of an event
    _counts: Json = field(factory=dict, init=False)
    _committed: bool = field(default=False, init=False)
    _over: bool = field(default=False, init=False)

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events that ``data`` completes."""
        if self._over:
            return []
        self._rest += data
        events: list[StreamEvent] = []
        # Three bytes back: the end of an event may have come in two pieces.
        while (found := _BREAK.search(self._rest, max(0, self._seen - 3))) is not None:
            event = bytes(self._rest[: found.end()])
            del self._rest[: found.end()]
            self._seen = 0
            events += self._read_event(event)
            if self._over:
                return events
        self._seen = len(self._rest)
        if self._seen > LONGEST_LINE:
            self._over = True
            events.append(upstream_failure("too_large"))
        return events

    def close(self) -> list[StreamEvent]:
        """The body is over. Real servers forget the last blank line."""
        if self._over:
            return []
        rest = bytes(self._rest)
        events = self._read_event(rest.rstrip(b"\r\n") + b"\n\n") if rest.strip() else []
        if not self._over:
            self._over = True
            # An event that was cut off is not passed on.
            events = [*(events if _is_whole(rest) else []), upstream_failure("upstream_truncated")]
        return events

    def _read_event(self, event: bytes) -> list[StreamEvent]:
        """One event. Comments and events without data pass too: they are the provider's."""
        if event.startswith(_DELTA):
            self.progress += 1
            self._committed = True
            return [NativeChunk(True, None, event)]
        name = _name_of(event)
        self.progress += name.startswith("content_block_")
        self._committed = self._committed or name in _COMMITS
        if name == "error":
            return [self._fail(event)]
        if name in ("message_start", "message_delta"):
            self._count(_object_in(event), name)
        if name == "message_stop":
            self._over = True
            return [NativeChunk(True, None, event, last=True), End(self.usage)]
        return [NativeChunk(name in _COMMITS, None, event)]

    def _count(self, said: Json, name: str) -> None:
        owner = lenient.obj(said.get("message")) if name == "message_start" else said
        self._counts = latest_fields(self._counts, owner.get("usage"))
        self.usage = read_usage(self._counts)

    def _fail(self, event: bytes) -> UpstreamError:
        self._over = True
        answer = _object_in(event)
        error = self._context.failure(answer, committed=self._committed)
        said = failure.message_of(answer)
        # As it came, unless something in it had to be hidden: then our own wording replaces it.
        if self._committed and len(event) <= 2 * LONGEST and said in (error.message, ""):
            error.native = event
        return error


def _name_of(event: bytes) -> str:
    found = _NAME.search(event)
    if found is not None:
        return found[1].decode()
    return lenient.text(_object_in(event).get("type")) if b"data:" in event else ""


def _object_in(event: bytes) -> Json:
    written = b"\n".join(_DATA.findall(event))
    try:
        return lenient.obj(jsontext.loads(written))
    except orjson.JSONDecodeError:
        return {}


def _is_whole(event: bytes) -> bool:
    return bool(_object_in(event))
