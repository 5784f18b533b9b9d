"""``fwd connect NAME``: set up another program to use the gateway."""

from __future__ import annotations

import os
import re
import sys
from difflib import unified_diff
from pathlib import Path
from urllib.parse import urlsplit

import click

from fwd_cli import colour
from fwd_cli.errors import ExitCode, Failure, file_errors_explained, no_key
from fwd_cli.notices import aside
from fwd_cli.options import Documented, connection_options, examples
from fwd_cli.prompts import usage_error
from fwd_cli.terminal import clean
from fwd_cli.wiring import TARGETS, CannotWire, Place, Target

VARIABLE = "$FORWARDER_KEY"
BACKUP = ".before-fwd"
_KEY = re.compile(r"fwd_[A-Za-z0-9_-]{16,}")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@click.command(
    name="connect",
    epilog=examples(
        "fwd connect curl",
        'eval "$(fwd connect openai-sdk --show-key)"',
        "fwd connect continue --model openai:gpt-5-mini",
        "fwd connect continue --undo",
    ),
)
@click.argument("name", type=click.Choice([*TARGETS]))
@click.option(
    "--model",
    "-m",
    cls=Documented,
    metavar="NAME",
    show_default="the program's own",
    help="Model for the program.",
)
@connection_options
@click.option("--show-key", is_flag=True, help=f"Print the key itself instead of {VARIABLE}.")
@click.option("--yes", "-y", is_flag=True, help="Write without asking.")
@click.option("--undo", is_flag=True, help="Restore the program's file from its copy.")
def command(name: str, model: str | None, key: str | None, server: str, show_key: bool, yes: bool, undo: bool) -> None:
    """Set up another program to use the gateway.

    For openai-sdk, anthropic-sdk, curl and open-webui it prints shell commands. For claude-code, codex and continue it
    shows the changes to the program's file, asks, keeps a copy of the old file beside it, and writes. In a pipe nothing
    is written without --yes.
    """
    target = TARGETS[name]
    if undo:
        return undone(name, target, yes=yes)
    if not key:
        raise no_key(server)
    if target.needs_model and not model:
        raise usage_error(f"{name} needs a model: --model NAME (fwd models lists them)")
    check_served(name, target, server)
    place = Place(server.rstrip("/"), key, model or "")
    if target.lines:
        # The variable by default: what is printed stays in scrollbacks and recordings.
        click.echo(target.lines(place if show_key else Place(place.url, VARIABLE, place.model)), nl=False)
        return aside(target.note) if target.note else None
    return written(target, place, yes=yes)


def check_served(name: str, target: Target, server: str) -> None:
    """Raises :class:`Failure` when the gateway does not serve what the program calls."""
    # Better said now than found out as a 404 in another program.
    if target.needs not in served(server):
        raise Failure(
            f"{name} cannot be connected to this gateway",
            f"it calls {target.needs}, which the gateway at {server} does not serve",
            "a newer gateway, or a program that speaks chat completions: fwd connect --help",
        )


def served(server: str) -> frozenset[str]:
    """The paths in the gateway's own description. Raises :class:`Failure` when it has none."""
    import httpx

    ours = urlsplit(server).hostname in LOOPBACK  # no proxy between this machine and itself
    try:
        with httpx.Client(trust_env=not ours, timeout=5) as client:
            answer = client.get(f"{server.rstrip('/')}/openapi.json").raise_for_status().json()
        return frozenset(answer["paths"])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        why = f"{server}/openapi.json: {str(error) or type(error).__name__}"
        raise Failure(
            "no gateway answers there", why, "fwd run-server, or --server URL", ExitCode.UNREACHABLE
        ) from error


def written(target: Target, place: Place, *, yes: bool) -> None:
    """Change the program's file, once somebody has seen the change and wants it."""
    path = file_of(target)
    with file_errors_explained(f"{path} cannot be changed", "the same, once you may write it"):
        before = _file_text(path)
        try:
            after = target.change(before, place) if target.change else before
        except CannotWire as error:
            raise Failure(f"{path} was left alone", str(error), f"correct {path}, or set it up by hand") from error
        if agreed(path, before, after, yes=yes):
            _text_before(path, before)
            _write_file(path, after)
            aside(f"Written. Next: {target.then}. Undo: the same with --undo.")


def undone(name: str, target: Target, *, yes: bool) -> None:
    """Give the file back as it was. Raises ``click.UsageError`` when nothing was ever written."""
    path = file_of(target) if target.file else Path()
    backup = path.with_name(path.name + BACKUP) if target.file else path
    if not target.file or not backup.exists():
        raise usage_error(f"fwd connect {name} has written nothing that could be undone")
    with file_errors_explained(f"{path} cannot be changed", "the same, once you may write it"):
        before, after = _file_text(path), _file_text(backup)
        if agreed(path, before, after, yes=yes):
            if after:
                _write_file(path, after)
            else:
                path.unlink(missing_ok=True)
            # Left there, it would be taken for the original at the next connect.
            backup.unlink()
            aside("Restored." if after else f"Removed {path}: it did not exist before.")


def file_of(target: Target) -> Path:
    """Where the program keeps its settings."""
    variable, usual = target.home
    named = os.environ.get(variable)
    return (Path(named) if named else Path.home() / usual) / target.file


def agreed(path: Path, before: str, after: str, *, yes: bool) -> bool:
    """Show the change, keys masked; whether it is wanted."""
    if before == after:
        aside(f"{path} is already set up.")
        return False
    # The file may hold keys of other gateways, too.
    now, then = (_KEY.sub("fwd_***", text) for text in (before, after))
    lines = unified_diff(now.splitlines(), then.splitlines(), f"{path}", f"{path}", "now", "then", 1, "")
    for line in lines:
        tint = {"+": "green", "-": "red"}.get(line[:1])
        click.echo(click.style(clean(line), fg=tint), color=colour.wanted())
    # Shown even when it is agreed to: a log of the change is worth having.
    if yes:
        return True
    if is_terminal():
        return click.confirm("Write this?", default=False, err=True)
    aside("Nothing was written; --yes writes it.")
    return False


def is_terminal() -> bool:
    """Whether somebody is there who can be asked."""
    return sys.stdin.isatty()


def _file_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _text_before(path: Path, before: str) -> None:
    """The file as it was before the first change; empty when there was none."""
    backup = path.with_name(path.name + BACKUP)
    if not backup.exists():
        _write_file(backup, before)


def _write_file(path: Path, text: str) -> None:
    from fwd_server.store.atomic import replace

    replace(path, text.encode())
