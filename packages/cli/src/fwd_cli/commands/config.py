"""``fwd config``: the settings in force."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fwd_cli import render
from fwd_cli.commands import config_schema
from fwd_cli.errors import DEFAULT_URL, ExitCode, Failure
from fwd_cli.options import dotenv, examples, json_option
from fwd_cli.prompts import usage_error
from fwd_cli.tables import Rows

if TYPE_CHECKING:
    from fwd_server.settings import LoadedSettings, SettingRow

OURS = {"FORWARDER_URL": DEFAULT_URL, "FORWARDER_KEY": "", "FWD_LOG": ""}
"""What the command and the SDK read, with its defaults; the server does not."""


@click.group(name="config", epilog=examples("fwd config show", "fwd config show --sources", "fwd config show --json"))
def command() -> None:
    """Show the effective settings and where they come from."""


@command.command(
    name="show",
    epilog=examples(
        "fwd config show --sources",
        "fwd config show FWD_PORT FORWARDER_URL --sources",
        "fwd config show --json | jq -r 'select(.source != \"default\") | .name'",
    ),
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--sources", is_flag=True, help="Show where each value comes from: environment, .env or default.")
@json_option
def show(names: tuple[str, ...], sources: bool, as_json: bool) -> None:
    """Show every setting in force.

    Those that a gateway started here would have, and those of this command. Secrets are masked. With NAMEs only those.
    In a pipe the columns are separated by tabs; --json prints one object per line, always with the source.
    """
    loaded = loaded_here(Path(".env"))
    every = _setting_rows(loaded, every=bool(names))
    _check_names(names, [row.name for row in every])
    rows = [row for row in every if not names or row.name in names]
    if as_json:
        click.echo("".join(render.as_json(_setting_facts(row)) for row in rows), nl=False)
    else:
        columns = ("name", "value", "source") if sources else ("name", "value")
        Rows(columns, [(row.name, row.value, row.source)[: len(columns)] for row in rows]).show()
    # Whoever asks for single values is a script.
    for warning in () if names else loaded.warnings:
        click.echo(f"note: {warning}", err=True)


command.add_command(config_schema.command)


def _setting_facts(row: SettingRow) -> Mapping[str, str]:
    return {"name": row.name, "value": row.value, "source": row.source}


def loaded_here(path: Path) -> LoadedSettings:
    """What the server would load. Raises :class:`Failure` for what it would refuse."""
    from fwd_server.process.reload import load_settings
    from fwd_server.settings import SettingsError
    from fwd_server.store.key_file import KeyFileError

    try:
        return load_settings({}, os.environ, path)
    except (SettingsError, KeyFileError) as error:
        # One problem is enough to end the command; doctor is there for all of them.
        first, *more = str(error).splitlines()
        why = f"{first} (and {len(more)} more: fwd doctor lists all)" if more else first
        raise Failure("a setting cannot be used", why, "correct it, then fwd doctor", ExitCode.CONFIG) from error


def _setting_rows(loaded: LoadedSettings, *, every: bool) -> list[SettingRow]:
    """The settings: those of this command first, for they say which gateway is asked."""
    from fwd_server.settings import describe_settings

    # An address of a gateway elsewhere makes the settings below it beside the point.
    return [*map(_own, OURS), *describe_settings(loaded, every=every)]


def _own(name: str) -> SettingRow:
    from fwd_server.settings import SettingRow

    value, source = OURS[name], "default"
    if name in os.environ:
        value, source = os.environ[name], "environment"
    elif found := dotenv(Path(".env")).get(name):
        value, source = found, ".env"
    return SettingRow(name, "***" if value and name == "FORWARDER_KEY" else value, source)


def _check_names(names: tuple[str, ...], known: list[str]) -> None:
    """Raises ``click.UsageError`` for a name that is no setting, with the nearest that is one."""
    for name in names:
        if name not in known:
            near = get_close_matches(name.upper(), known, n=1)
            raise usage_error(f"there is no setting {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
