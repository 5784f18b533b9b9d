"""Markdown of a model, made safe for a terminal and cut where it is finished.

Two things Rich alone does not give. An answer in progress is split into blocks that can no longer change and the one
that still grows, so that drawing it costs what is new and not what is there already. And what comes out is filtered
again: Markdown can spell a control character (``&#x202e;``, ``%1b`` in an address) that the text itself did not hold.
"""

from __future__ import annotations

from typing import ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import HorizontalRule, Markdown, MarkdownElement
from rich.rule import Rule
from rich.segment import Segment
from rich.style import Style

from fwd_cli.terminal import clean

# HTML and images are left as they were typed: Rich would drop the one and hide the address of the other.
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable("image")


class _PlainRule(HorizontalRule):
    """A rule that leaves the empty line after it to whatever comes next, as every other block does."""

    new_line = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Rule(style=console.get_style("markdown.hr", default="none"), characters="-")


class ModelMarkdown(Markdown):
    """Markdown somebody else wrote: no hyperlinks, and no character a terminal could act on."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "hr": _PlainRule}

    def __init__(self, text: str) -> None:
        super().__init__("", code_theme="ansi_dark", hyperlinks=False)
        self.markup = text
        self.parsed = _PARSER.parse(text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(_Inner(self), options):
            style = segment.style and segment.style + Style(link=None)
            yield Segment(clean(segment.text), style)


class _Inner:
    """Rich's own rendering of a Markdown, to be looked at before it goes on."""

    def __init__(self, markdown: Markdown) -> None:
        self._markdown = markdown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        return Markdown.__rich_console__(self._markdown, console, options)


def split_finished(text: str) -> tuple[str, str]:
    """``text`` cut in two: the blocks that can no longer change, and the last one, which may.

    A block of Markdown is finished when a later one has begun on a whole line; an unfinished last line decides
    nothing, because ``#`` may become ``#hashtag``.
    """
    whole_lines = text[: text.rfind("\n") + 1]
    starts = [token.map[0] for token in _PARSER.parse(whole_lines) if token.level == 0 and token.map]
    if len(set(starts)) < 2:
        return "", text
    cut = _offset_of_line(whole_lines, starts[-1])
    return text[:cut], text[cut:]


def _offset_of_line(text: str, number: int) -> int:
    return sum(len(line) for line in text.split("\n")[:number]) + number
