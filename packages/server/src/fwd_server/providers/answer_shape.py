"""Answers written in OpenAI's shape, whole or as chunks, for providers with a language of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import define, field

from fwd_server.providers.halves import HalfCharacters
from fwd_server.providers.lenient import dumps, obj, objects
from fwd_server.values.chat import ChatResponse, Chunk, End, Json, StreamEvent, choice_delta, chunk_object
from fwd_server.values.errors import UpstreamError, upstream_failure
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


def merge_deltas(deltas: Iterable[Json]) -> Json:
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
                # Set now, so that the fields stand in the order in which they came.
                message.setdefault(key, None)
                texts.setdefault(key, []).append(value)
            elif isinstance(value, list):
                message[key] = [*(message.get(key) or ()), *value]
            elif key == "audio":
                message[key] = _joined_audio(message.get(key), value)
            else:
                message[key] = value
    message.update({key: jsontext.join_halves("".join(pieces)) for key, pieces in texts.items()})
    if calls:
        message["tool_calls"] = [_whole_call(call, pieces) for call, pieces in calls.values()]
    if not message["content"] and (calls or message["refusal"] or message.get("audio")):
        message["content"] = None
    return message


def _gather_calls(calls: dict[Any, tuple[Json, list[str]]], pieces: list[Json]) -> None:
    for piece in pieces:
        _, arguments = calls.setdefault(piece["index"], (piece, []))
        # A custom tool's input is a text of its own: https://platform.openai.com/docs/guides/function-calling
        arguments.append(obj(piece.get("function")).get("arguments") or obj(piece.get("custom")).get("input") or "")


def _whole_call(call: Json, arguments: list[str]) -> Json:
    kind, name = ("custom", "input") if "custom" in call else ("function", "arguments")
    whole_call = {**call, kind: {**call[kind], name: "".join(arguments)}}
    del whole_call["index"]
    return whole_call


def _joined_audio(old: Any, new: Any) -> Any:
    """More of a spoken answer: its sound and its transcript grow, everything else comes once."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **new, **{key: old.get(key, "") + new[key] for key in ("data", "transcript") if new.get(key)}}


_OF_A_CHUNK: Final = frozenset({"id", "object", "created", "model", "choices", "usage"})


@define
class _FoldedChoice:
    deltas: list[Json] = field(factory=list)
    logprobs: Json | None = None
    finish: str = "stop"

    def add_choice(self, choice: Json) -> None:
        self.deltas.append(choice["delta"])
        # A choice without a reason ended well: "stop" is what SDKs expect then.
        self.finish = choice.get("finish_reason") or self.finish
        for name, entries in obj(choice.get("logprobs")).items():
            known = self.logprobs = self.logprobs or {}
            old = known.get(name)
            known[name] = [*old, *entries] if isinstance(old, list) and isinstance(entries, list) else entries or old


def fold_events(events: Iterable[StreamEvent]) -> ChatResponse:
    """One whole answer from the events of a decoded stream, for a provider that streams to a call for a whole answer.

    Raises the UpstreamError in it, or ``upstream_truncated`` where the stream has no true end.
    """
    choices: dict[int, _FoldedChoice] = {}
    head: Json = {}
    more: Json = {}
    for event in events:
        if isinstance(event, UpstreamError):
            raise event
        if isinstance(event, End):
            listed = [
                choice_object(index, merge_deltas(folded.deltas), folded.finish, folded.logprobs)
                for index, folded in sorted(choices.items())
            ]
            answer = completion_object(head, listed, more.pop("usage", None))
            return ChatResponse({**answer, **more}, event.usage)
        data = event.data if event.data is not None else jsontext.loads(event.frame or b"{}")
        head = head or data
        # The last value counts: usage, tiers and fingerprints are complete only at the end.
        more.update((k, v) for k, v in data.items() if v is not None and (k == "usage" or k not in _OF_A_CHUNK))
        for choice in objects(data.get("choices")):
            choices.setdefault(choice["index"], _FoldedChoice()).add_choice(choice)
    raise upstream_failure("upstream_truncated")


def completion_object(head: Mapping[str, Any], choices: list[Json], usage: Json | None) -> Json:
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


def logprob_object(token: str, value: object, top: list[Json] | None = None) -> Json:
    """One token's probability in OpenAI's shape; without ``top`` one of the alternatives."""
    entry: Json = {"token": token, "logprob": value, "bytes": list(token.encode("utf-8", "replace"))}
    return entry if top is None else {**entry, "top_logprobs": top}


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

    def write_deltas(self, index: int, deltas: Iterable[Json], logprobs: Json | None = None) -> list[StreamEvent]:
        """A chunk for every delta; ``logprobs`` go with the first."""
        chunks: list[StreamEvent] = []
        for raw_delta in deltas:
            delta = self._whole_characters(index, raw_delta)
            if not delta:
                continue
            if index not in self._open:
                chunks.append(self._opening_chunk(index))
            chunks.append(self._wrap_choice(choice_delta(delta, index, None, logprobs)))
            logprobs = None
        return chunks

    def finish_choice(self, index: int, reason: str, logprobs: Json | None = None) -> list[StreamEvent]:
        """The last chunk of a choice, after what stays alone of characters that were cut in two."""
        alone = self._halves.pop(index).take_rest() if index in self._halves else {}
        # A lone half becomes U+FFFD in the last chunk rather than being lost without a trace.
        before = self.write_deltas(index, ({str(name): rest} for name, rest in alone.items()))
        last = self._wrap_choice(choice_delta({}, index, reason, logprobs))
        return [*before, last] if index in self._open else [self._opening_chunk(index), last]

    def end_stream(self, usage: Usage | None, **prompt_details: int) -> list[StreamEvent]:
        """The usage chunk, where usage is known, and the true end."""
        # No usage chunk is better than one with zeros, which a client would add up as free.
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

    def _opening_chunk(self, index: int) -> Chunk:
        self._open.add(index)
        return self._wrap_choice(choice_delta({"role": "assistant", "content": ""}, index), commits=False)

    def _wrap_choice(self, choice: Json, commits: bool = True) -> Chunk:
        return Chunk(commits, {**self._frame, "choices": [choice]})
