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
    """Reads one answer, whole or line by line; the id and the time are those of its first line."""

    def __init__(self, failure: Callable[[object], UpstreamError], now: int, new_id: NewId) -> None:
        self.usage: usage.Usage | None = None
        self._failure = failure
        self._now = now
        self._new_id = new_id
        self._writer: answer_shape.ChunkWriter | None = None
        self._calls = 0
        self._ids = call_ids.AnswerIds(new_id)

    def read_whole(self, response: Json) -> ChatResponse:
        """Read a whole answer."""
        message = answer_shape.merge_deltas(self._read_deltas(response))
        self.usage = usage_of(response)
        choice = answer_shape.choice_object(0, message, self._finish_reason(response), _read_logprobs(response))
        data = answer_shape.completion_object(
            self._answer_head(response), [choice], answer_shape.usage_object(self.usage)
        )
        return ChatResponse(data, self.usage)

    def read_object(self, response: Json) -> list[StreamEvent]:
        """Read one line of a stream; the one with ``done`` ends it."""
        if is_failure(response):
            return [self._failure(response)]
        writer = self._writer = self._writer or answer_shape.ChunkWriter(self._answer_head(response))
        events = writer.write_deltas(0, self._read_deltas(response), _read_logprobs(response))
        if response.get("done") is not True:
            return events
        self.usage = usage_of(response)
        return [*events, *writer.finish_choice(0, self._finish_reason(response)), *writer.end_stream(self.usage)]

    def finish_stream(self) -> list[StreamEvent]:
        """The body ended without a line with ``done``: the answer was cut off."""
        return [upstream_failure("upstream_truncated")]

    def _answer_head(self, response: Json) -> Json:
        created = _parse_time(lenient.text(response.get("created_at")))
        return {
            # Ollama gives answers no id.
            "id": self._new_id("chatcmpl-"),
            "created": self._now if created is None else created,
            "model": lenient.text(response.get("model")),
        }

    def _read_deltas(self, response: Json) -> list[Json]:
        message = lenient.obj(response.get("message"))
        thinking, content = lenient.text(message.get("thinking")), lenient.text(message.get("content"))
        # One line may have all three, and thinking always comes before the text that follows from it.
        deltas: list[Json] = [{"reasoning_content": thinking}] if thinking else []
        deltas += [{"content": content}] if content else []
        return deltas + [
            self._read_call(call) for call in lenient.objects(message.get("tool_calls")) if _call_name(call)
        ]

    def _read_call(self, call: Json) -> Json:
        # The server's own index is often 0 for all of them.
        index, self._calls = self._calls, self._calls + 1
        call_id = self._ids.claim_id(lenient.text(call.get("id")))
        return answer_shape.tool_call(index, call_id, _call_name(call), call["function"].get("arguments"))

    def _finish_reason(self, response: Json) -> str:
        if response.get("done_reason") == "length":
            return "length"
        # The calls come in lines before the last one, whose reason is "stop" all the same (pitfall 11).
        return "tool_calls" if self._calls else "stop"


def _call_name(call: Json) -> str:
    return lenient.text(lenient.obj(call.get("function")).get("name"))


def usage_of(response: Json) -> usage.Usage:
    """Tokens of an answer."""
    # The server leaves out a count of 0.
    return usage.Usage(
        usage.clean_count(response.get("prompt_eval_count")), usage.clean_count(response.get("eval_count"))
    )


def _read_logprobs(response: Json) -> Json | None:
    tokens = lenient.objects(response.get("logprobs"))
    return (
        {"content": [_read_logprob(token, lenient.objects(token.get("top_logprobs"))) for token in tokens]}
        if tokens
        else None
    )


def _read_logprob(token: Json, top: list[Json]) -> Json:
    others = [answer_shape.logprob_object(lenient.text(other.get("token")), other.get("logprob")) for other in top]
    return answer_shape.logprob_object(lenient.text(token.get("token")), token.get("logprob"), others)


_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)")


def _parse_time(written: str) -> int | None:
    """RFC 3339 with nanoseconds, which Python before 3.11 does not read."""
    match = _TIME.fullmatch(written)
    if match is None:
        return None
    try:
        return int(datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00")).timestamp())
    except ValueError:
        return None
