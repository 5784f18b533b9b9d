"""Messages for people, on standard error; on a terminal lines break between words."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import TextIO

import click

from fwd_cli import colour
from fwd_cli.errors import Failure
from fwd_cli.terminal import clean_line

_DOT, _KEPT = " · ", "\u00a0"
_LABELS = (("error:", "red"), ("  why:", "yellow"), ("  try:", "green"))


def three_lines(failure: Failure) -> None:
    """What happened, why, and what to try."""
    for (label, tint), text in zip(_LABELS, (failure.what, failure.why, failure.try_), strict=True):
        first, *more = lines_of(f"{label} {clean_line(text)}", " " * len(f"{label} "))
        shown = [click.style(label, fg=tint, bold=True) + first.removeprefix(label), *more]
        click.echo("\n".join(shown), err=True, color=colour.wanted())


def aside(text: str) -> None:
    """A dimmed line that is not part of the answer."""
    for line in lines_of(clean_line(text)):
        click.secho(line, dim=True, err=True, color=colour.wanted())


def lines_of(text: str, indent: str = "", stream: TextIO | None = None) -> list[str]:
    """The text in lines that fit the terminal behind ``stream`` (default: standard error); one line in a pipe.

    Facts that are separated by dots are not broken.
    """
    width = _terminal_width(stream or sys.stderr)
    if not width or len(text) <= width:
        return [text]
    # Spaces inside a fact are kept from the wrapping by turning them into ones that do not break.
    whole = _DOT.join(fact.replace(" ", _KEPT) if len(fact) < width - 2 else fact for fact in text.split(_DOT))
    lines = textwrap.wrap(
        whole if _DOT in text else text,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_KEPT, " ") for line in lines]


def _terminal_width(stream: TextIO) -> int:
    """The width of the terminal in columns; 0 in a pipe."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    # A pipe has no width, and a closed stream no descriptor.
    except (OSError, ValueError):
        return 0
