"""Rich consoles that guess nothing: no markup, no emoji names, no highlights in a text."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console

from fwd_cli import colour


def console_on(stream: TextIO) -> Console:
    """A console on ``stream``; colour as the user and the terminal have it."""
    wanted = colour.wanted()
    return Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        no_color=wanted is False,
        force_terminal=None if wanted is None or stream.isatty() else wanted,
    )
