"""Claude's message as a chat completion. https://platform.claude.com/docs/en/api/messages"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from attrs import define, frozen

from fwd_server.providers import answer_shape, lenient
from fwd_server.providers.anthropic import failure
from fwd_server.providers.anthropic.turns import FORMAT, Renaming
from fwd_server.providers.base import NewId
from fwd_server.values.chat import ChatResponse, Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import UpstreamError, upstream_failure
from fwd_server.values.usage import Usage, count

FINISH: Final = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_TIERS: Final = {"standard": "default", "priority": "priority"}


@frozen
class Memory:
    """What the way back must know of the way there."""

    deployment: Deployment
    now: int
    new_id: NewId
    names: Renaming
    json_only: bool = False
    asked_tier: bool = False

    def head(self, message: Json) -> Json:
        """Id, time and model of an answer, the same in all its chunks."""
        given = lenient.text(message.get("id"))
        return {
            "id": f"chatcmpl-{given}" if given else self.new_id("chatcmpl-"),
            "created": self.now,
            "model": lenient.text(message.get("model")) or self.deployment.model,
        }

    def call(self, index: int, block: Json, arguments: object) -> Json:
        """The delta that opens a tool call."""
        call_id = lenient.text(block.get("id")) or self.new_id("call_")
        return answer_shape.tool_call(index, call_id, self.names.back(lenient.text(block.get("name"))), arguments)

    def tier(self, usage: Json) -> Json:
        """The tier that served the call, for a caller who asked for one: as OpenAI does."""
        tier = _TIERS.get(lenient.text(usage.get("service_tier")))
        return {"service_tier": tier} if self.asked_tier and tier else {}

    def failure(self, answer: Json, *, committed: bool = False) -> UpstreamError:
        """The failure that an error inside a 200 stands for."""
        return failure.inside(answer, self.deployment.endpoint, self.now, committed=committed)


def completion(message: Json, memory: Memory) -> ChatResponse:
    """A whole answer. Raises UpstreamError: an error inside a 200 (F21), or no message at all (F20)."""
    if message.get("type") == "error":
        raise memory.failure(message)
    if not isinstance(message.get("content"), list):
        raise upstream_failure("bad_payload")
    said = _said(message, memory)
    reason = finish_reason(message.get("stop_reason"), bool(said.get("tool_calls")))
    counted = lenient.obj(message.get("usage"))
    usage = read_usage(counted) if counted else None
    choices = [answer_shape.choice_object(0, said, reason)]
    data = answer_shape.completion(memory.head(message), choices, answer_shape.usage_object(usage or Usage()))
    if usage is None:
        del data["usage"]
    return ChatResponse({**data, **memory.tier(counted)}, usage)


def _said(message: Json, memory: Memory) -> Json:
    """What the message says, as OpenAI writes a message."""
    deltas = list(_Blocks(memory).deltas(message["content"]))
    declined = refusal(message)
    if declined:
        deltas.append({"refusal": declined})
    said = answer_shape.whole(deltas)
    if said["content"] and memory.json_only:
        said["content"] = bare(said["content"])
    return said


def finish_reason(stop_reason: object, called: bool) -> str:
    """OpenAI's word for why it ended; with tool calls it is never simply "stop"."""
    reason = FINISH.get(lenient.text(stop_reason), "stop")
    return "tool_calls" if called and reason == "stop" else reason


def refusal(stop: Json) -> str:
    """Why the provider declined, in its own words if it has some; "" when it did not decline."""
    if stop.get("stop_reason") != "refusal":
        return ""
    details = lenient.obj(stop.get("stop_details"))
    category = lenient.text(details.get("category"))
    ours = f"The provider declined to continue{f' ({category})' if category else ''}."
    return lenient.text(details.get("explanation")) or ours


def thought(block: Json, index: int) -> Json:
    """A block of thinking as an opaque entry that the caller hands back as it is."""
    if block.get("type") == "redacted_thinking":
        told: Json = {"type": "reasoning.encrypted", "data": block.get("data")}
    else:
        told = {
            "type": "reasoning.text",
            "text": lenient.text(block.get("thinking")),
            "signature": lenient.text(block.get("signature")) or None,
        }
    return {**told, "format": FORMAT, "index": index}


def read_usage(usage: Json) -> Usage:
    """Token counts. Anthropic counts cached input beside the input, OpenAI within it.

    ``iterations`` (the loops of tools that run at the provider) stand for the whole when there are some.
    """
    loops = lenient.objects(usage.get("iterations")) or [usage]
    read, written, plain, completion = (sum(count(loop.get(name)) for loop in loops) for name in _COUNTS)
    details = [lenient.obj(loop.get("output_tokens_details")) for loop in loops]
    if not any(details):
        details = [lenient.obj(usage.get("output_tokens_details"))]
    thinking = sum(count(detail.get("thinking_tokens")) for detail in details)
    return Usage(
        prompt=plain + read + written,
        completion=completion,
        cached=read,
        cache_write=written,
        reasoning=min(thinking, completion),
    )


_COUNTS: Final = ("cache_read_input_tokens", "cache_creation_input_tokens", "input_tokens", "output_tokens")


@define
class _Blocks:
    """Whole blocks as the deltas they would be in a stream."""

    memory: Memory
    _thoughts: int = 0
    _reasoned: bool = False
    _length: int = 0

    def deltas(self, blocks: list[Any]) -> Iterator[Json]:
        """The deltas of all blocks; those of tools that run at the provider, and unknown ones, give none."""
        for block in lenient.objects(blocks):
            read = _KINDS.get(lenient.text(block.get("type")))
            if read is not None:
                yield from read(self, block)

    def _text(self, block: Json) -> Iterator[Json]:
        text, start = lenient.text(block.get("text")), self._length
        self._length += len(text)
        yield {"content": text}
        yield from _citations(block, start, self._length)

    def _call(self, block: Json) -> Iterator[Json]:
        yield self.memory.call(0, block, block.get("input"))  # a whole call has no index

    def _think(self, block: Json) -> Iterator[Json]:
        text = lenient.text(block.get("thinking"))
        if text:
            yield {"reasoning_content": f"\n{text}" if self._reasoned else text}
            self._reasoned = True
        yield {"reasoning_details": [thought(block, self._thoughts)]}
        self._thoughts += 1


_KINDS: Final[dict[str, Callable[[_Blocks, Json], Iterator[Json]]]] = {
    "text": _Blocks._text,
    "tool_use": _Blocks._call,
    "thinking": _Blocks._think,
    "redacted_thinking": _Blocks._think,
}


def _citations(block: Json, start: int, end: int) -> Iterator[Json]:
    """Web pages that a text cites."""
    for found in lenient.objects(block.get("citations")):
        if found.get("type") == "web_search_result_location":
            told = {
                "start_index": start,
                "end_index": end,
                "title": lenient.text(found.get("title")),
                "url": lenient.text(found.get("url")),
            }
            yield {"annotations": [{"type": "url_citation", "url_citation": told}]}


# -- an answer that was asked for as a stream, because it may be long


def fold(events: list[bytes]) -> Json:
    """The events of a stream as the message they tell. Raises UpstreamError when they do not tell it to its end."""
    folding = _Folding()
    for written in events:
        said = lenient.obj(lenient.load(written))
        kind = said.get("type")
        if kind == "error":
            return said
        folding.take(said)
        if kind == "message_stop":
            return folding.whole()
    raise upstream_failure("upstream_truncated")


def block_number(said: Json) -> int | None:
    """Which block an event is about; None where it does not say."""
    number = said.get("index")
    return number if isinstance(number, int) else None


class _Folding:
    """A message as it grows; pieces of text are joined once, at the end."""

    def __init__(self) -> None:
        self.message: Json = {}
        self._blocks: dict[Any, Json] = {}
        self._pieces: dict[tuple[Any, str], list[str]] = {}

    def take(self, said: Json) -> None:
        kind, index = said.get("type"), block_number(said)
        if kind == "message_start":
            self.message = {**lenient.obj(said.get("message")), "content": []}
        elif not self.message:
            raise upstream_failure("bad_payload")
        elif kind == "content_block_start":
            self._blocks[index] = block = dict(lenient.obj(said.get("content_block")))
            self.message["content"].append(block)
        elif kind == "content_block_delta" and index in self._blocks:
            self._add(index, lenient.obj(said.get("delta")))
        elif kind == "message_delta":
            self.message.update(lenient.obj(said.get("delta")))
            self.message["usage"] = latest(lenient.obj(self.message.get("usage")), said.get("usage"))

    def whole(self) -> Json:
        for (index, name), pieces in self._pieces.items():
            self._blocks[index][name] = "".join(pieces)
        return self.message

    def _add(self, index: Any, delta: Json) -> None:
        block = self._blocks[index]
        if delta.get("citation"):
            block["citations"] = [*lenient.objects(block.get("citations")), delta["citation"]]
        if "signature" in delta:
            block["signature"] = delta["signature"]
        for said, name in _PIECES:
            if said in delta:
                pieces = self._pieces.setdefault((index, name), [lenient.text(block.get(name))])
                pieces.append(lenient.text(delta[said]))


_PIECES: Final = (("text", "text"), ("thinking", "thinking"), ("partial_json", "input"))


def latest(usage: Json, told: object) -> Json:
    """Counts with newer ones: those are totals, so they replace, and what is null or missing stays."""
    return {**usage, **{name: value for name, value in lenient.obj(told).items() if value is not None}}


# -- a JSON object without the fence that models like to put around it

_OPENING: Final = re.compile(r"\s*```[^\n`]*\n")
_CLOSING: Final = re.compile(r"\s*`{0,3}\s*$")


class Unfence:
    """Takes a Markdown fence off a text that comes in pieces."""

    def __init__(self) -> None:
        self._held = ""
        self._fenced: bool | None = None  # None: cannot be known yet

    def feed(self, text: str) -> str:
        """What of the text so far is surely inside the fence."""
        self._held += text
        if self._fenced is None:
            self._decide()
        if self._fenced is None:
            return ""
        keep = _CLOSING.search(self._held) if self._fenced else None
        return self._give(keep.start() if keep else len(self._held))

    def close(self) -> str:
        """The rest: without the closing fence, if there was an opening one."""
        rest = self._give(len(self._held))
        return re.sub(r"\s*```\s*$", "", rest) if self._fenced else rest

    def _decide(self) -> None:
        start = self._held.lstrip()
        if "```".startswith(start[:3]) and "\n" not in start:
            return
        opening = _OPENING.match(self._held)
        self._fenced = opening is not None
        if opening:
            self._held = self._held[opening.end() :]

    def _give(self, end: int) -> str:
        given, self._held = self._held[:end], self._held[end:]
        return given


def bare(text: str) -> str:
    """A whole text without its fence."""
    unfence = Unfence()
    return unfence.feed(text) + unfence.close()
