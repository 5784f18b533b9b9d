"""``fwd doctor``: what works, what does not, and the command that fixes it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fwd_cli import colour, render
from fwd_cli.errors import ExitCode
from fwd_cli.notices import lines_of
from fwd_cli.options import connection_options, current_profile, examples, json_option, keys_file_option
from fwd_cli.terminal import clean_line

if TYPE_CHECKING:
    from fwd_cli.findings import Finding

MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "bad": ("✗", "red")}


@click.command(
    name="doctor",
    epilog=examples(
        "fwd doctor",
        "fwd doctor --server https://gateway.example",
        "fwd doctor --json | jq -r 'select(.state == \"bad\") | .fix'",
    ),
)
@connection_options
@keys_file_option
@click.option("--offline", is_flag=True, help="Do not contact the providers.")
@json_option
def command(key: str | None, server: str, keys_file: Path, offline: bool, as_json: bool) -> int:
    """Find problems and how to fix them.

    Checks Python, the installed packages, .env, the settings and keys of a server started here, whether each provider
    can be reached and accepts its key, the profile that fwd login stored, and the gateway in use: whether it answers,
    its own state and that of its providers, its clock, and whether it accepts your key. Exit code 1 when something
    needs fixing. Providers are asked for their list of models, which is free; --offline skips that.
    """
    from fwd_cli.checks import all_of

    worst = ExitCode.OK
    for finding in all_of(server, key, keys_file, current_profile(), ask=not offline):
        click.echo(render.as_json(finding.as_dict()) if as_json else line(finding), nl=False, color=colour.wanted())
        # Notes alone are no reason for a script to stop.
        worst = ExitCode.ERROR if finding.state == "bad" else worst
    return worst


def line(finding: Finding) -> str:
    """One finding for people, broken between words where the terminal ends."""
    mark, tint = MARKS[finding.state]
    first, *more = lines_of(f"{mark} {finding.name}: {clean_line(finding.detail)}", "  ", sys.stdout)
    fix = lines_of(f"    try: {clean_line(finding.fix)}", " " * 9, sys.stdout) if finding.fix else []
    return "\n".join([click.style(mark, fg=tint) + first[len(mark) :], *more, *fix]) + "\n"
