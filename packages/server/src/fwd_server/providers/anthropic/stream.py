"""Claude's stream as chunks. https://platform.claude.com/docs/en/build-with-claude/streaming"""

from __future__ import annotations

from attrs import define, field

from fwd_server.providers import answer_shape, lenient
from fwd_server.providers.anthropic.answer import MessageReader, is_error
from fwd_server.providers.anthropic.context import AnswerContext
from fwd_server.values.chat import Chunk, Json, StreamEvent
from fwd_server.values.errors import UpstreamError, upstream_failure
from fwd_server.values.usage import Usage
from fwd_server.wire import jsontext


@define
class StreamReader:
    """Events to chunks. The finish is held until ``message_stop``: what breaks off before that has none."""

    context: AnswerContext
    _message: MessageReader = field(init=False)
    _writer: answer_shape.ChunkWriter | None = None
    _is_committed: bool = False

    def __attrs_post_init__(self) -> None:
        self._message = MessageReader(self.context)

    @property
    def usage(self) -> Usage | None:
        """The tokens counted so far; None before the first count."""
        return self._message.usage

    def read_object(self, said: Json) -> list[StreamEvent]:
        """The chunks of one event, or the failure that it reports."""
        if is_error(said):
            return [self.context.failure(jsontext.replace_halves(said), committed=self._is_committed)]
        try:
            deltas = list(self._message.read_event(said))
        except UpstreamError as error:
            return [error]
        if self._message.head is None:
            return []
        if self._writer is None:
            self._writer = answer_shape.ChunkWriter(self._message.head)
        self._is_committed = self._is_committed or bool(deltas)
        chunks = self._writer.write_deltas(0, deltas)
        return [*chunks, *self._finish_events(self._writer)] if self._message.is_over else chunks

    def finish_stream(self) -> list[StreamEvent]:
        """The body ended before ``message_stop``."""
        return [upstream_failure("upstream_truncated")]

    def _finish_events(self, writer: answer_shape.ChunkWriter) -> list[StreamEvent]:
        events = [*writer.finish_choice(0, self._message.finish_reason), *writer.end_stream(self.usage)]
        # Counts may still change until the end, so only the last chunks carry the tier that stands beside them.
        tier = self.context.tier_field(self._message.counts)
        for event in events if tier else ():
            if isinstance(event, Chunk) and event.data:
                event.data.update(tier)
        return events


def shows_progress(event: Json) -> bool:
    """Whether an event shows the model at work: every event of a block does, also of thinking that is not shown.

    Pings only say that the connection is open. https://platform.claude.com/docs/en/build-with-claude/streaming
    """
    return lenient.text(event.get("type")).startswith("content_block_")
