"""Claude's content blocks as OpenAI's deltas: the one reader of a block, whether it comes whole or in pieces.

A whole block is one that begins with everything in it and ends at once, so both forms of an answer say the same.
https://platform.claude.com/docs/en/build-with-claude/streaming#event-types
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from attrs import define, field

from fwd_server.providers import answer_shape, lenient
from fwd_server.providers.anthropic import property_names, thoughts
from fwd_server.providers.anthropic.context import AnswerContext
from fwd_server.providers.anthropic.fence import Unfence
from fwd_server.providers.call_ids import AnswerIds
from fwd_server.providers.halves import HalfCharacters
from fwd_server.providers.tool_names import NameTranslator
from fwd_server.values.chat import Json


@define
class _OpenBlock:
    """A block that has begun. ``pieces`` are held back until its end: thinking, and arguments to rename.

    ``call`` is a call's place among the calls, ``start`` the place of a text among the characters of all texts.
    """

    block: Json
    kind: str
    call: int = -1
    start: int = 0
    has_arguments: bool = False
    pieces: list[str] = field(factory=list)
    citations: list[Json] = field(factory=list)
    halves: HalfCharacters = field(factory=HalfCharacters)

    def add_piece(self, piece: object) -> str:
        """A piece of the block's text, in whole characters: servers cut between the two halves of one."""
        return self.halves.join_piece(self.kind, lenient.text(piece))


@define
class BlockReader:
    """The blocks of one message. Blocks of tools that run at the provider, and unknown ones, give no delta."""

    context: AnswerContext
    calls: int = 0
    _open: dict[int | None, _OpenBlock] = field(factory=dict)
    _ids: AnswerIds = field(init=False)
    _thoughts: int = 0
    _trail: thoughts.Trail = field(factory=list)
    _has_reasoned: bool = False
    _length: int = 0
    _annotations: list[Json] = field(factory=list)
    _unfence: Unfence = field(factory=Unfence)

    def __attrs_post_init__(self) -> None:
        self._ids = AnswerIds(self.context.new_id)

    def read_whole(self, blocks: list[Any]) -> Iterator[Json]:
        """The deltas of whole blocks."""
        for index, block in enumerate(lenient.objects(blocks)):
            yield from self.start_block(index, block)
            yield from self.stop_block(index)

    def start_block(self, index: int | None, block: Json) -> Iterator[Json]:
        """A block begins; what it holds already counts as its first piece."""
        yield from self.stop_block(index)  # a number that is used again is another block: calls stay apart
        opened = self._open[index] = _OpenBlock(dict(block), lenient.text(block.get("type")), start=self._length)
        if opened.kind == "text":
            opened.citations += lenient.objects(block.get("citations"))
            yield from self._add_text(opened, block.get("text"))
        elif opened.kind == "tool_use":
            yield from self._open_call(opened)
        elif opened.kind == "thinking":
            yield from self._add_thinking(opened, block.get("thinking"))
        elif opened.kind == "redacted_thinking":
            # Its data is encrypted and never comes in pieces, so the entry is whole from the start.
            yield self._reasoning_entry(block)

    def add_delta(self, index: int | None, delta: Json) -> Iterator[Json]:
        """A piece of a block. A piece that does not belong to a block of this kind is ignored.

        Tools that run at the provider get their input in the same pieces as the caller's own calls: only the kind of
        the block tells them apart.
        """
        opened = self._open.get(index)
        if opened is None:
            return
        wanted = _DELTAS.get((opened.kind, lenient.text(delta.get("type"))))
        if wanted is not None:
            name, add = wanted
            yield from add(self, opened, delta.get(name))

    def stop_block(self, index: int | None) -> Iterator[Json]:
        """A block ends: calls without arguments get ``{}``, thinking becomes one entry."""
        opened = self._open.get(index)
        if opened is None:
            return
        for alone in opened.halves.take_rest().values():
            add = {"text": self._add_text, "thinking": self._add_thinking, "tool_use": self._add_arguments}[opened.kind]
            yield from add(opened, alone)
        del self._open[index]
        if opened.kind == "tool_use":
            yield from self._close_call(opened)
        elif opened.kind == "thinking":
            yield self._reasoning_entry({**opened.block, "thinking": "".join(opened.pieces)})
        elif opened.kind == "text":
            self._close_text(opened)

    def close_message(self) -> Iterator[Json]:
        """Everything held back until the end of the message.

        All annotations come in one delta: the SDKs cannot add up a list whose entries have no index.
        """
        for index in list(self._open):
            yield from self.stop_block(index)
        held = self._unfence.close()
        if held:
            yield {"content": held}
        if self._annotations:
            yield {"annotations": self._annotations}

    # -- texts

    def _add_text(self, opened: _OpenBlock, piece: object) -> Iterator[Json]:
        text = opened.add_piece(piece)
        if self.context.json_only:
            text = self._unfence.feed(text)
        self._length += len(text)
        if text:
            yield {"content": text}

    def _add_citation(self, opened: _OpenBlock, citation: object) -> Iterator[Json]:
        opened.citations += lenient.objects([citation])
        yield from ()

    def _close_text(self, opened: _OpenBlock) -> None:
        if self._length > opened.start:
            self._trail.append(self._length - opened.start)
        # Only web pages have a counterpart in OpenAI's annotations.
        pages = (found for found in opened.citations if found.get("type") == "web_search_result_location")
        for page in pages:
            citation = {
                "start_index": opened.start,
                "end_index": self._length,
                "title": lenient.text(page.get("title")),
                "url": lenient.text(page.get("url")),
            }
            self._annotations.append({"type": "url_citation", "url_citation": citation})

    # -- calls

    def _open_call(self, opened: _OpenBlock) -> Iterator[Json]:
        opened.call = self.calls
        self.calls += 1
        self._trail.append(thoughts.CALL)
        name = lenient.text(opened.block.get("name"))
        call_id = self._ids.claim_id(lenient.text(opened.block.get("id")))
        yield answer_shape.tool_call(opened.call, call_id, self.context.names.tools.caller_name(name), "")
        given = opened.block.get("input")
        if given:
            # A stream begins a call with an empty input, which is not text of the arguments.
            yield from self._add_arguments(opened, given if isinstance(given, str) else lenient.dumps(given))

    def _add_arguments(self, opened: _OpenBlock, piece: object) -> Iterator[Json]:
        text = opened.add_piece(piece)
        if not text:
            return
        opened.has_arguments = True
        # Keys can be renamed only in whole JSON, so these arguments wait for the end of the block.
        if self._argument_names(opened) is not None:
            opened.pieces.append(text)
        else:
            yield self._arguments_delta(opened, text)

    def _close_call(self, opened: _OpenBlock) -> Iterator[Json]:
        renaming = self._argument_names(opened)
        # Clients parse the arguments as JSON, and "" is not JSON (https://github.com/BerriAI/litellm/issues/5063).
        if not opened.has_arguments:
            yield self._arguments_delta(opened, "{}")
        elif renaming is not None:
            yield self._arguments_delta(
                opened, property_names.rename_arguments("".join(opened.pieces), renaming.caller_name)
            )

    def _argument_names(self, opened: _OpenBlock) -> NameTranslator | None:
        """The names to change in a call's arguments, which can be read only when they are whole."""
        return self.context.names.properties.get(lenient.text(opened.block.get("name")))

    def _arguments_delta(self, opened: _OpenBlock, text: str) -> Json:
        return {"tool_calls": [{"index": opened.call, "function": {"arguments": text}}]}

    # -- thinking

    def _add_thinking(self, opened: _OpenBlock, piece: object) -> Iterator[Json]:
        """Readable thinking; the text of a second block begins on a new line."""
        text = opened.add_piece(piece)
        if not text:
            return
        # Blocks are separate thoughts; joined without a break, their last and first words would run together.
        again = self._has_reasoned and not opened.pieces
        opened.pieces.append(text)
        self._has_reasoned = True
        yield {"reasoning_content": f"\n{text}" if again else text}

    def _add_signature(self, opened: _OpenBlock, signature: object) -> Iterator[Json]:
        opened.block["signature"] = signature
        yield from ()

    def _reasoning_entry(self, block: Json) -> Json:
        entry = thoughts.entry_of(block, self._thoughts, self._trail)
        self._thoughts += 1
        self._trail = []
        return {"reasoning_details": [entry]}


# What a delta holds, and who reads it, by the kind of the block and of the delta.
_DELTAS: Final[dict[tuple[str, str], tuple[str, Callable[[BlockReader, _OpenBlock, object], Iterator[Json]]]]] = {
    ("text", "text_delta"): ("text", BlockReader._add_text),
    ("text", "citations_delta"): ("citation", BlockReader._add_citation),
    ("tool_use", "input_json_delta"): ("partial_json", BlockReader._add_arguments),
    ("thinking", "thinking_delta"): ("thinking", BlockReader._add_thinking),
    ("thinking", "signature_delta"): ("signature", BlockReader._add_signature),
}
