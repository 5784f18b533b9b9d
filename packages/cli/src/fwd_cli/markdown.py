"""Markdown from a model, made safe for a terminal and split where it is finished.

Rich alone does not do two things. An answer in progress is split into blocks that can no longer change and the one
that still grows, so that the cost of drawing depends on what is new. And the output is filtered
again: Markdown can spell a control character (``&#x202e;``, ``%1b`` in an address) that the text itself did not hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Heading, Markdown, MarkdownElement
from rich.segment import Segment

from fwd_cli.terminal import clean

# HTML and images are left as they were typed: Rich would drop the one and hide the address of the other.
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable("image")


class _LeftHeading(Heading):
    """A heading on the left, not centred."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Block(Markdown):
    """One block, rendered by Rich."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "heading_open": _LeftHeading}

    def __init__(self, tokens: list[Token], code_theme: str) -> None:
        # A link can say one thing and lead to another; without hyperlinks its address is shown.
        super().__init__("", code_theme=code_theme, hyperlinks=False)
        self.parsed = tokens


class ModelMarkdown:
    """Untrusted Markdown: no hyperlinks, and no character that a terminal could act on.

    There is exactly one empty line between two blocks, and no line ends in spaces, whatever Rich does: an answer
    looks the same when its blocks are printed one by one, and is pleasant to copy. ``after_blank`` puts an empty line
    before the first block, too: something else has been printed already.
    """

    def __init__(self, text: str, *, after_blank: bool = False) -> None:
        self._blocks = list(_blocks(_PARSER.parse(text)))
        self._after_blank = after_blank

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        theme = getattr(console, "code_theme", "ansi_dark")
        for number, tokens in enumerate(self._blocks):
            if number or self._after_blank:
                yield Segment.line()
            for line in _without_blank_ends(console.render_lines(_Block(tokens, theme), options, pad=False)):
                yield from line
                yield Segment.line()


def _blocks(tokens: list[Token]) -> Iterator[list[Token]]:
    """The tokens of each top-level block."""
    block: list[Token] = []
    depth = 0
    for token in tokens:
        block.append(token)
        depth += token.nesting
        # Nesting is 1 for an opening token, -1 for a closing one.
        if depth == 0:
            yield block
            block = []


def _without_blank_ends(lines: list[list[Segment]]) -> list[list[Segment]]:
    """Safe lines without spaces at their ends, and without empty ones before the first and after the last."""
    safe = [_without_spaces_at_end([_safe(segment) for segment in line]) for line in lines]
    # Rich puts empty lines around some blocks and not around others.
    full = [number for number, line in enumerate(safe) if line]
    return safe[full[0] : full[-1] + 1] if full else []


def _without_spaces_at_end(line: list[Segment]) -> list[Segment]:
    while line and not line[-1].text.strip():
        line = line[:-1]
    return [*line[:-1], Segment(line[-1].text.rstrip(), line[-1].style)] if line else []


def _safe(segment: Segment) -> Segment:
    """The segment without what a terminal could act on: Markdown may have decoded it from innocent letters."""
    return Segment(clean(segment.text), segment.style)


def split_finished(text: str) -> tuple[str, str]:
    """``text`` cut in two: the blocks that can no longer change, and the last one, which may.

    A block of Markdown is finished when a later one has begun on a whole line; an unfinished last line decides
    nothing, because ``#`` may become ``#hashtag``.
    """
    whole_lines = text[: text.rfind("\n") + 1]
    starts = [token.map[0] for token in _PARSER.parse(whole_lines) if token.level == 0 and token.map]
    # The only block may still grow, and a later line may change what it is.
    if len(set(starts)) < 2:
        return "", text
    cut = _offset_of_line(whole_lines, starts[-1])
    return text[:cut], text[cut:]


def _offset_of_line(text: str, number: int) -> int:
    return sum(len(line) for line in text.split("\n")[:number]) + number


def code_block(text: str) -> str | None:
    """The content of the first code block of an answer; None when it has none.

    A fenced block wins over an indented one, which models hardly mean as code.
    """
    tokens = _PARSER.parse(text)
    for kind in ("fence", "code_block"):
        for token in tokens:
            if token.type == kind:
                return token.content
    return None
