"""Claude's thinking as entries of ``reasoning_details``, and back.

Claude signs its thinking, and takes it back only unmodified and in its place: a block is bound to what stood before
it (https://platform.claude.com/docs/en/build-with-claude/extended-thinking#preserving-thinking-blocks). A chat message
has one text and one list of calls, so what stood between two blocks of thinking would be lost. Each entry therefore
says in ``after`` what came since the entry before it: a number for a text of so many characters, "call" for a call.
The SDKs add a list of plain values up by joining it, and every entry comes once, so ``after`` survives them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

from fwd_server.providers import lenient
from fwd_server.values.chat import Json

FORMAT: Final = "anthropic-claude-v1"  # of reasoning that only Claude can read back
CALL: Final = "call"
KINDS: Final = ("thinking", "redacted_thinking")

Trail = list[Any]  # of numbers and CALL


def entry_of(block: Json, index: int, trail: Trail) -> Json:
    """A block of thinking as an opaque entry, which the caller hands back as it is."""
    if block.get("type") == "redacted_thinking":
        entry: Json = {"type": "reasoning.encrypted", "data": block.get("data")}
    else:
        entry = {
            "type": "reasoning.text",
            "text": lenient.text(block.get("thinking")),
            "signature": lenient.text(block.get("signature")) or None,
        }
    place = {"after": trail} if trail else {}
    return {**entry, "format": FORMAT, "index": index, **place}


def block_of(entry: Json) -> Json | None:
    """The block that an entry was; None for one that Claude cannot read back, because it did not sign it."""
    if entry.get("format") != FORMAT:
        return None
    if entry.get("type") == "reasoning.text" and isinstance(entry.get("signature"), str) and entry["signature"]:
        return {"type": "thinking", "thinking": lenient.text(entry.get("text")), "signature": entry["signature"]}
    if entry.get("type") == "reasoning.encrypted" and entry.get("data"):
        return {"type": "redacted_thinking", "data": entry["data"]}
    return None


def whole_entries(entries: object) -> Iterator[tuple[int, Json]]:
    """Entries with their places in the list; those that came in pieces are joined.

    Pieces are neighbours of one type, format and index; the signature comes last, and what has a text of its own after
    it is another entry. Encrypted data always comes whole, so two of those are two.
    https://openrouter.ai/docs/use-cases/reasoning-tokens
    """
    group: list[Json] = []
    for at, entry in enumerate(lenient.objects(entries)):
        if group and not _continues(entry, group):
            yield at - len(group), _joined_entry(group)
            group = []
        group.append(entry)
    if group:
        yield len(lenient.objects(entries)) - len(group), _joined_entry(group)


def _continues(entry: Json, group: list[Json]) -> bool:
    same = all(entry.get(name) == group[0].get(name) for name in ("type", "format", "index"))
    # A signature may come in pieces too, so only the last piece tells whether the text is over.
    is_signed = bool(group[-1].get("signature"))
    return same and entry.get("type") == "reasoning.text" and not (is_signed and entry.get("text"))


def _joined_entry(group: list[Json]) -> Json:
    """One entry of its pieces; their texts are joined once, because a caller may send very many."""
    if len(group) == 1:
        return group[0]
    texts = {name: "".join(lenient.text(piece.get(name)) for piece in group) for name in ("text", "signature")}
    return {**group[0], **texts}


def in_order(details: object, texts: list[Json], calls: list[Json]) -> list[Json]:
    """A turn's blocks: thinking where it stood among texts and calls, what nobody placed after it, texts first.

    A caller may have changed the texts since: they are cut where the entries say, as far as they reach.
    """
    text, rest = _TextBlocks(texts), iter(calls)
    blocks: list[Json] = []
    for _, entry in whole_entries(details):
        # The steps count also for an entry that cannot go back, because the next entry's steps begin after it.
        for step in _trail_of(entry):
            blocks += text.take(step) if isinstance(step, int) else _next_call(rest)
        block = block_of(entry)
        if block is not None:
            blocks.append(block)
    return [*blocks, *text.take(None), *rest]


def _trail_of(entry: Json) -> Iterable[Any]:
    after = entry.get("after")
    # A caller may send anything here: an unknown step is skipped, and a wrong one only moves the thinking.
    steps = after if isinstance(after, list) else []
    return (step for step in steps if step == CALL or (type(step) is int and step > 0))


def _next_call(calls: Iterator[Json]) -> list[Json]:
    return [call for call in [next(calls, None)] if call is not None]


class _TextBlocks:
    """Blocks of text that are cut at given places; a block's cache mark stays on its last piece.

    What is left of the first block is a place in it, not a copy: a caller may ask for very many cuts.
    """

    def __init__(self, blocks: list[Json]) -> None:
        self._blocks = deque(blocks)
        self._at = 0  # where the rest of the first block begins

    def take(self, characters: int | None) -> list[Json]:
        """Blocks with the next ``characters``, or with all that are left; blank ones, an error there, are left out."""
        taken: list[Json] = []
        while self._blocks and (characters is None or characters > 0):
            block, start = self._blocks[0], self._at
            length = len(block["text"]) - start
            if characters is not None and length > characters:
                self._at += characters
                # Without the cache mark: the mark means everything up to the end of the whole text.
                taken.append({"type": "text", "text": block["text"][start : self._at]})
                break
            self._blocks.popleft()
            self._at = 0
            characters = None if characters is None else characters - length
            taken.append({**block, "text": block["text"][start:]} if start else block)
        return [block for block in taken if block["text"].strip()]
