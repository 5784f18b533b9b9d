"""``fwd doctor``: what is well, what is not, and the command that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fwd_cli import colour, render
from fwd_cli.errors import ExitCode
from fwd_cli.options import examples, json_option, key_option, keys_file_option, server_option
from fwd_cli.terminal import clean_line

if TYPE_CHECKING:
    from fwd_cli.checks import Finding

MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "bad": ("✗", "red")}


@click.command(
    name="doctor",
    epilog=examples(
        "fwd doctor",
        "fwd doctor --server https://gateway.example",
        "fwd doctor --json | jq -r 'select(.state == \"bad\") | .mend'",
    ),
)
@key_option
@server_option
@keys_file_option
@json_option
def command(key: str | None, server: str, keys_file: Path, as_json: bool) -> int:
    """Find out what is wrong and how to mend it.

    Looks at Python, .env, the settings and keys of a server started here, and at the gateway in use: whether it
    answers, what it says of itself and its providers, its clock, and whether it takes your key. Exit code 1 when
    something must be mended. No provider is called.
    """
    from fwd_cli.checks import all_of

    worst = ExitCode.OK
    for finding in all_of(server, key, keys_file):
        click.echo(render.as_json(finding.as_dict()) if as_json else line(finding), nl=False, color=colour.wanted())
        worst = ExitCode.ERROR if finding.state == "bad" else worst
    return worst


def line(finding: Finding) -> str:
    """One finding for people."""
    mark, tint = MARKS[finding.state]
    mend = f"\n    try: {clean_line(finding.mend)}" if finding.mend else ""
    return f"{click.style(mark, fg=tint)} {finding.name}: {clean_line(finding.said)}{mend}\n"
