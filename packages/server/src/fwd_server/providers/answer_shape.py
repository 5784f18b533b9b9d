"""Answers written in OpenAI's shape, whole or as chunks, for providers with a language of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field

from fwd_server.providers.halves import HalfCharacters
from fwd_server.providers.lenient import dumps
from fwd_server.values.chat import Chunk, End, Json, StreamEvent, choice_delta, chunk_object
from fwd_server.values.usage import Usage
from fwd_server.wire import jsontext


def usage_object(usage: Usage, **prompt_details: int) -> Json:
    """``usage`` in OpenAI's shape; details that are 0 are left out, but for the cached tokens."""
    prompt = {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write, **prompt_details}
    written: Json = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "prompt_tokens_details": {k: v for k, v in prompt.items() if v or k == "cached_tokens"},
    }
    if usage.reasoning:
        written["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return written


def tool_call(index: int, call_id: str, name: str, args: object, **more: object) -> Json:
    """A delta with one whole call; ``args`` that are no string become one."""
    written = args if isinstance(args, str) else dumps(args or {})
    function = {"name": name, "arguments": written}
    return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function, **more}]}


def whole(deltas: Iterable[Json]) -> Json:
    """The deltas of one choice as a message, by the rules the SDKs go by: texts and lists grow, calls by their index.

    Its content is null only beside calls or a refusal. Pieces of text are joined once, at the end: a long answer has
    thousands of them.
    """
    message: Json = {"role": "assistant", "content": "", "refusal": None}
    texts: dict[str, list[str]] = {}
    calls: dict[Any, tuple[Json, list[str]]] = {}
    for delta in deltas:
        for key, value in delta.items():
            if key == "tool_calls":
                _gather_calls(calls, value)
            elif isinstance(value, str):
                message.setdefault(key, None)
                texts.setdefault(key, []).append(value)
            elif isinstance(value, list):
                message[key] = [*(message.get(key) or ()), *value]
            else:
                message[key] = value
    message.update({key: jsontext.join_halves("".join(pieces)) for key, pieces in texts.items()})
    if calls:
        message["tool_calls"] = [_whole_call(call, pieces) for call, pieces in calls.values()]
    if not message["content"] and (calls or message["refusal"]):
        message["content"] = None
    return message


def _gather_calls(calls: dict[Any, tuple[Json, list[str]]], pieces: list[Json]) -> None:
    for piece in pieces:
        _, arguments = calls.setdefault(piece["index"], (piece, []))
        arguments.append(piece["function"]["arguments"])


def _whole_call(call: Json, arguments: list[str]) -> Json:
    whole_call = {**call, "function": {**call["function"], "arguments": "".join(arguments)}}
    del whole_call["index"]
    return whole_call


def completion(head: Mapping[str, Any], choices: list[Json], usage: Json | None) -> Json:
    """A ``chat.completion`` object; ``head`` holds id, created and model. Unknown usage is left out, not 0."""
    known = {} if usage is None else {"usage": usage}
    return {
        "id": head["id"],
        "object": "chat.completion",
        "created": head["created"],
        "model": head["model"],
        "choices": choices,
        **known,
    }


def choice_object(index: int, message: Json, finish_reason: str, logprobs: Json | None = None) -> Json:
    """One choice of a whole answer."""
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def logprob(token: str, value: object, top: list[Json] | None = None) -> Json:
    """One token's probability in OpenAI's shape; without ``top`` one of the alternatives."""
    told: Json = {"token": token, "logprob": value, "bytes": list(token.encode("utf-8", "replace"))}
    return told if top is None else {**told, "top_logprobs": top}


def _frame_of(head: Json) -> Json:
    """What all chunks of a stream have in common."""
    return chunk_object(head, [])


@define
class ChunkWriter:
    """Writes the chunks of one stream: every choice begins with its role, and one kind of delta fills a chunk.

    The first half of a character at the end of a text waits for the second one in the next piece of that text.
    """

    _frame: Json = field(alias="head", converter=_frame_of)
    _open: set[int] = field(factory=set, init=False)
    _halves: dict[int, HalfCharacters] = field(factory=dict, init=False)

    def deltas(self, index: int, deltas: Iterable[Json], logprobs: Json | None = None) -> list[StreamEvent]:
        """A chunk for every delta; ``logprobs`` go with the first."""
        chunks: list[StreamEvent] = []
        for given in deltas:
            delta = self._whole_characters(index, given)
            if not delta:
                continue
            if index not in self._open:
                chunks.append(self._opening(index))
            chunks.append(self._chunk(choice_delta(delta, index, None, logprobs)))
            logprobs = None
        return chunks

    def finish(self, index: int, reason: str, logprobs: Json | None = None) -> list[StreamEvent]:
        """The last chunk of a choice, after what stays alone of characters that were cut in two."""
        alone = self._halves.pop(index).take_rest() if index in self._halves else {}
        before = self.deltas(index, ({str(name): rest} for name, rest in alone.items()))
        last = self._chunk(choice_delta({}, index, reason, logprobs))
        return [*before, last] if index in self._open else [self._opening(index), last]

    def end(self, usage: Usage | None, **prompt_details: int) -> list[StreamEvent]:
        """The usage chunk, where usage is known, and the true end."""
        if usage is None:
            return [End()]
        return [Chunk(False, {**self._frame, "usage": usage_object(usage, **prompt_details)}), End(usage)]

    def _whole_characters(self, index: int, delta: Json) -> Json:
        """``delta`` without halves of characters; empty if it had nothing but the first half of one."""
        halves = self._halves.get(index)
        texts = {name: text for name, text in delta.items() if isinstance(text, str) and (halves or not text.isascii())}
        if not texts:
            return delta
        halves = halves or self._halves.setdefault(index, HalfCharacters())
        whole_texts = {name: halves.join_piece(name, text) for name, text in texts.items()}
        return {name: whole_texts.get(name, value) for name, value in delta.items() if whole_texts.get(name) != ""}

    def _opening(self, index: int) -> Chunk:
        self._open.add(index)
        return self._chunk(choice_delta({"role": "assistant", "content": ""}, index), commits=False)

    def _chunk(self, choice: Json, commits: bool = True) -> Chunk:
        return Chunk(commits, {**self._frame, "choices": [choice]})
