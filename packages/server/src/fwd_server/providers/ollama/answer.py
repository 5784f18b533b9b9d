"""From Ollama's answers to OpenAI's. A line of a stream has the shape of a whole answer, so one reader serves both.

https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from fwd_server.providers import answer_shape, call_ids, lenient
from fwd_server.providers.base import NewId
from fwd_server.providers.ollama.failure import is_failure
from fwd_server.values import usage
from fwd_server.values.chat import ChatResponse, Json, StreamEvent
from fwd_server.values.errors import UpstreamError, upstream_failure


class AnswerReader:
    """Reads one answer, whole or in lines; the id and the time are those of its first line."""

    def __init__(self, failure: Callable[[object], UpstreamError], now: int, new_id: NewId) -> None:
        self.usage: usage.Usage | None = None
        self._failure = failure
        self._now = now
        self._new_id = new_id
        self._writer: answer_shape.ChunkWriter | None = None
        self._calls = 0
        self._ids = call_ids.AnswerIds(new_id)

    def whole(self, said: Json) -> ChatResponse:
        """A whole answer."""
        message = answer_shape.whole(self._deltas(said))
        self.usage = usage_of(said)
        choice = answer_shape.choice_object(0, message, self._reason(said), _logprobs(said))
        data = answer_shape.completion(self._head(said), [choice], answer_shape.usage_object(self.usage))
        return ChatResponse(data, self.usage)

    def read(self, said: Json) -> list[StreamEvent]:
        """One line of a stream."""
        if is_failure(said):
            return [self._failure(said)]
        writer = self._writer = self._writer or answer_shape.ChunkWriter(self._head(said))
        events = writer.deltas(0, self._deltas(said), _logprobs(said))
        if said.get("done") is not True:
            return events
        self.usage = usage_of(said)
        return [*events, *writer.finish(0, self._reason(said)), *writer.end(self.usage)]

    def end(self) -> list[StreamEvent]:
        """No line said that the answer is done."""
        return [upstream_failure("upstream_truncated")]

    def _head(self, said: Json) -> Json:
        created = _seconds(lenient.text(said.get("created_at")))
        return {
            "id": self._new_id("chatcmpl-"),
            "created": self._now if created is None else created,
            "model": lenient.text(said.get("model")),
        }

    def _deltas(self, said: Json) -> list[Json]:
        message = lenient.obj(said.get("message"))
        thinking, content = lenient.text(message.get("thinking")), lenient.text(message.get("content"))
        deltas: list[Json] = [{"reasoning_content": thinking}] if thinking else []
        deltas += [{"content": content}] if content else []
        return deltas + [self._call(call) for call in lenient.objects(message.get("tool_calls")) if _name(call)]

    def _call(self, call: Json) -> Json:
        # The server's own index is often 0 for all of them.
        index, self._calls = self._calls, self._calls + 1
        call_id = self._ids.claim_id(lenient.text(call.get("id")))
        return answer_shape.tool_call(index, call_id, _name(call), call["function"].get("arguments"))

    def _reason(self, said: Json) -> str:
        if said.get("done_reason") == "length":
            return "length"
        return "tool_calls" if self._calls else "stop"


def _name(call: Json) -> str:
    return lenient.text(lenient.obj(call.get("function")).get("name"))


def usage_of(said: Json) -> usage.Usage:
    """Tokens of an answer."""
    # A count of 0 is left out by the server.
    return usage.Usage(usage.count(said.get("prompt_eval_count")), usage.count(said.get("eval_count")))


def _logprobs(said: Json) -> Json | None:
    told = lenient.objects(said.get("logprobs"))
    return {"content": [_logprob(one, lenient.objects(one.get("top_logprobs"))) for one in told]} if told else None


def _logprob(one: Json, top: list[Json]) -> Json:
    others = [answer_shape.logprob(lenient.text(other.get("token")), other.get("logprob")) for other in top]
    return answer_shape.logprob(lenient.text(one.get("token")), one.get("logprob"), others)


_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)")


def _seconds(written: str) -> int | None:
    """RFC 3339 with nanoseconds, which Python before 3.11 does not read."""
    match = _TIME.fullmatch(written)
    if match is None:
        return None
    try:
        return int(datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00")).timestamp())
    except ValueError:
        return None
