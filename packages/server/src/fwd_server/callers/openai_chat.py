"""OpenAI's chat completions, as callers speak it.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from attrs import define, field

from fwd_server.callers.base import NO_HEAD, CallHead, Dialect
from fwd_server.callers.openai_errors import render_error
from fwd_server.callers.plain_chat import read_plain
from fwd_server.callers.validation import convert_body, take_extra_body
from fwd_server.values.chat import ChatBody, ChatRequest, ChatResponse, Chunk, Json, Message, calls_in
from fwd_server.values.errors import BadRequest, GatewayError
from fwd_server.values.record import CallRecord
from fwd_server.wire import jsontext


def parse_request(body: bytes, head: CallHead = NO_HEAD) -> ChatRequest:
    """Read and validate a call: a plain one fast, every other one exactly. Raises BadRequest that names the field."""
    return read_plain(body, parse_exactly) or parse_exactly(body)


def parse_exactly(body: bytes) -> ChatRequest:
    """Read and validate a call. Raises BadRequest that names the field."""
    travelling = jsontext.parse_object(body)
    extra_body = take_extra_body(travelling)
    legacy = _replace_functions(travelling)
    # The view checks and names fields; what is sent on is the object itself, so unknown fields survive
    # (docs/adr/0001-the-callers-object-travels.md).
    seen = convert_body(travelling, ChatBody)
    check_turns(seen.messages)
    return ChatRequest(travelling, seen, extra_body, legacy)


def render_response(response: ChatResponse, request: ChatRequest, record: CallRecord | None = None) -> bytes:
    """A whole answer: the provider's own bytes where nothing had to change."""
    if request.legacy_functions:
        return jsontext.dumps(_with_function_call(response.data))
    return response.raw if response.raw is not None else jsontext.dumps(response.data)


@define
class OpenAIStreamWriter:
    """A stream of ``chat.completion.chunk`` events, ended by ``[DONE]``.

    https://platform.openai.com/docs/api-reference/chat/streaming
    """

    _request: ChatRequest
    _record: CallRecord | None = None
    content_type: str = field(default="text/event-stream; charset=utf-8", init=False)

    def write_chunks(self, chunks: list[Chunk]) -> bytes:
        """An event for each chunk; none for a usage chunk that the caller did not ask for."""
        request = self._request
        if len(chunks) == 1:  # the usual case: one frame of the provider came, one goes out
            data = render_chunk(chunks[0], request)
            return b"data: %b\n\n" % data if data else b""
        return b"".join([b"data: %b\n\n" % data for chunk in chunks if (data := render_chunk(chunk, request))])

    def write_keep_alive(self) -> bytes:
        """A comment, which SSE clients skip."""
        return b": keep-alive\n\n"

    def write_receipt(self, facts: Json) -> bytes:
        """The receipt as a comment: no client takes it for content."""
        return b": fwd " + jsontext.dumps(facts) + b"\n\n"

    def write_end(self, facts: Json) -> bytes:
        """The receipt, then ``[DONE]``."""
        return self.write_receipt(facts) + b"data: [DONE]\n\n"

    def write_error(self, error: GatewayError) -> bytes:
        """An event with an ``error``, which OpenAI's SDKs raise (contract G5)."""
        return b"data: %b\n\n" % render_error(error)


def render_chunk(chunk: Chunk, request: ChatRequest) -> bytes:
    """The JSON of one event; empty for a usage chunk that the caller did not ask for."""
    if chunk.frame is not None and not request.legacy_functions:
        return chunk.frame
    data = chunk.data if chunk.data is not None else jsontext.loads(chunk.frame or b"{}")
    if not request.include_usage:
        # The gateway asks providers for usage even where the caller did not, for its own records.
        if not data.get("choices") and data.get("usage") is not None:
            return b""
        data = {key: value for key, value in data.items() if key != "usage"} if "usage" in data else data
    # OpenAI sends "usage": null in every other chunk of such a stream, and typed clients expect the field.
    elif "usage" not in data:
        data = {**data, "usage": None}
    if request.legacy_functions:
        data = _with_function_delta(data)
    return jsontext.dumps(data)


# -- the turns of a conversation


def check_turns(messages: list[Message]) -> None:
    """Every tool call has its answer, every answer its call; raises BadRequest in OpenAI's words."""
    open_ids: list[str] = []
    for index, message in enumerate(messages):
        if message.role == "tool":
            _close_call(message, index, open_ids)
            continue
        # Providers refuse such a conversation with texts of their own; here the message is the same for all of them.
        if open_ids:
            raise _missing_results(index, open_ids)
        if message.role == "assistant":
            open_ids = [call.id for call in message.tool_calls or ()]
            _check_content(message, index)
    if open_ids:
        raise _missing_results(len(messages), open_ids)


def _close_call(message: Message, index: int, open_ids: list[str]) -> None:
    where = f"messages[{index}].tool_call_id"
    if message.tool_call_id is None:
        raise BadRequest(f"Missing required parameter: '{where}'.", param=where)
    # Also the second result for one call: its id is taken off the list by the first.
    if message.tool_call_id not in open_ids:
        raise BadRequest(
            f"Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
            f"'tool_calls'; {message.tool_call_id!r} is not the id of an open call.",
            param=f"messages[{index}].role",
        )
    open_ids.remove(message.tool_call_id)


def _missing_results(index: int, ids: Iterable[str]) -> BadRequest:
    return BadRequest(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
        f"'tool_call_id'. The following ids have no response message: {', '.join(ids)}.",
        param=f"messages[{index - 1}].role",
    )


def _check_content(message: Message, index: int) -> None:
    """An assistant's message without content is taken if it has anything else to say, thinking included."""
    other = message.tool_calls or message.function_call or message.refusal or message.audio
    # What an answer that only thought sends back says something, too.
    thought = message.reasoning_content or message.reasoning or message.reasoning_details
    if message.content is None and not other and not thought:
        where = f"messages[{index}].content"
        raise BadRequest(
            f"Invalid value for '{where}': expected a string or parts; null is only allowed beside "
            f"'tool_calls', 'function_call', 'refusal' or reasoning.",
            param=where,
        )


# -- the deprecated functions, which become tools on the way in and functions again on the way out


def _replace_functions(body: Json) -> bool:
    """Turn ``functions``, ``function_call`` and messages about them into tools; says whether there were any."""
    functions, choice = body.pop("functions", None), body.pop("function_call", None)
    messages = body.get("messages")
    old_turns = isinstance(messages, list) and any(_is_old_turn(m) for m in messages)
    if old_turns and isinstance(messages, list):
        body["messages"] = list(_modern_turns(messages))
    if functions is not None and body.get("tools") is not None:
        raise BadRequest("Use either 'tools' or the deprecated 'functions', not both.", param="functions")
    if isinstance(functions, list):
        body["tools"] = [{"type": "function", "function": function} for function in functions]
    elif functions is not None:
        raise BadRequest("Invalid type for 'functions': expected an array.", param="functions")
    if choice is not None:
        body["tool_choice"] = {"type": "function", "function": choice} if isinstance(choice, dict) else choice
    return functions is not None or choice is not None or old_turns


def _is_old_turn(message: object) -> bool:
    return isinstance(message, dict) and (message.get("role") == "function" or bool(message.get("function_call")))


def _modern_turns(messages: list[Any]) -> Iterator[Any]:
    call_id = ""
    for index, message in enumerate(messages):
        if not _is_old_turn(message):
            yield message
        elif message.get("role") == "function":
            answer = {key: value for key, value in message.items() if key != "name"}
            yield {**answer, "role": "tool", "tool_call_id": call_id}
        else:
            # Old messages have no ids. An index is the same in every request, so prompt caches still match.
            call_id = f"call_{index}"
            rest = {key: value for key, value in message.items() if key != "function_call"}
            calls = [{"id": call_id, "type": "function", "function": message["function_call"]}]
            yield {**rest, "tool_calls": calls}


def _with_function_call(data: Json) -> Json:
    return {**data, "choices": [_old_choice(choice, "message") for choice in data.get("choices") or []]}


def _with_function_delta(data: Json) -> Json:
    return {**data, "choices": [_old_choice(choice, "delta") for choice in data.get("choices") or []]}


def _old_choice(choice: Json, side: str) -> Json:
    message = dict(choice.get(side) or {})
    calls = calls_in(message)
    message.pop("tool_calls", None)
    if calls:
        # The old shape has room for one call only.
        message["function_call"] = _without_nulls(calls[0].get("function"))
    finish = choice.get("finish_reason")
    return {**choice, side: message, "finish_reason": "function_call" if finish == "tool_calls" else finish}


def _without_nulls(function: object) -> Json:
    return {k: v for k, v in function.items() if v is not None} if isinstance(function, dict) else {}


OPENAI_CHAT: Final = Dialect("openai-chat", parse_request, render_response, render_error, OpenAIStreamWriter)
