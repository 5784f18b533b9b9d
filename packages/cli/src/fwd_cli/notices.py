"""Words for people, on standard error."""

from __future__ import annotations

import click

from fwd_cli import colour
from fwd_cli.errors import Failure
from fwd_cli.terminal import clean_line


def three_lines(failure: Failure) -> None:
    """What happened, why, and what to try."""
    for label, text, tint in (
        ("error:", failure.what, "red"),
        ("  why:", failure.why, "yellow"),
        ("  try:", failure.try_, "green"),
    ):
        click.echo(f"{click.style(label, fg=tint, bold=True)} {clean_line(text)}", err=True, color=colour.wanted())


def aside(text: str) -> None:
    """One line that is not the answer."""
    click.secho(clean_line(text), dim=True, err=True, color=colour.wanted())
