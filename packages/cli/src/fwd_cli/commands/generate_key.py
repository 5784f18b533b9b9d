"""``fwd generate-key``: a new key for a caller of the gateway."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Mapping
from datetime import date, datetime, timezone
from pathlib import Path

import click

from fwd_cli import render
from fwd_cli.errors import ExitCode, Failure
from fwd_cli.options import examples, json_option, keys_file_option

PREFIX = "fwd_"
SHORTEST = 16
NO_OPTIONS: Mapping[str, str] = {}
_NAME = re.compile("[A-Za-z0-9._-]{1,64}")


def check_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The name, if it is valid in the keys file."""
    if value is not None and not _NAME.fullmatch(value):
        raise click.BadParameter(f"{value!r} is not 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'", ctx, param)
    return value


def check_expiry(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A date, or an RFC 3339 time, in the future."""
    try:
        past = value is not None and _is_past(value)
    except ValueError:
        wanted = "a date like 2027-01-31 nor a time like 2027-01-31T12:00:00Z"
        raise click.BadParameter(f"{value!r} is neither {wanted}", ctx, param) from None
    if past:
        raise click.BadParameter(f"{value} is in the past: the key would never work", ctx, param)
    return value


def _is_past(text: str) -> bool:
    now = datetime.now(timezone.utc)
    # A key works to the end of its last day, so today is not past.
    if len(text) == len("2027-01-31"):
        return date.fromisoformat(text) < now.date()
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment < now


@click.command(
    name="generate-key",
    epilog=examples(
        "fwd generate-key",
        "fwd generate-key --name web --expires 2027-01-31",
        "fwd generate-key --name web --models 'gpt-5*' --budget 5/day --rpm 60",
        "export FORWARDER_KEY=$(fwd generate-key)",
    ),
)
@click.option(
    "--length",
    type=click.IntRange(min=SHORTEST, max=256),
    default=32,
    show_default=True,
    metavar="BYTES",
    help="Number of random bytes.",
)
@click.option("--name", metavar="NAME", callback=check_name, help="Name of the caller, shown in the log.")
@click.option("--expires", metavar="DATE", callback=check_expiry, help="Last day (UTC) or exact time the key works.")
@click.option(
    "--models", metavar="PATTERNS", show_default="none", help="Only these models, with commas: gpt-5*,openai:*."
)
@click.option(
    "--budget",
    metavar="USD/WINDOW",
    show_default="none",
    help="Most it may cost: 5/day, 5/day,50/month, 100 (for ever).",
)
@click.option("--rpm", metavar="N", show_default="none", help="Most calls a minute.")
@click.option("--tpm", metavar="N", show_default="none", help="Most tokens a minute.")
@click.option("--concurrency", metavar="N", show_default="none", help="Most calls at a time.")
@click.option("--project", metavar="NAME", help="Project whose limits and budgets it shares.")
@keys_file_option
@json_option
def command(
    length: int, name: str | None, expires: str | None, keys_file: Path, as_json: bool, **rights: str | None
) -> None:
    """Make and store a key for a caller of the gateway.

    The key is printed once, alone on standard output. A running gateway accepts it within two seconds. fwd spend shows
    what is left of each budget.
    """
    options = {option: value for option, value in rights.items() if value is not None}
    key = new_key(keys_file, length=length, name=name or "", expires=expires or "", options=options)
    if as_json:
        click.echo(_described(key, name, expires, keys_file), nl=False)
    else:
        # Alone on standard output, for $(fwd generate-key).
        click.echo(key)
        click.echo(_next_steps(key, keys_file, shown=sys.stdout.isatty()), err=True)


def new_key(
    path: Path, *, length: int = 32, name: str = "", expires: str = "", options: Mapping[str, str] = NO_OPTIONS
) -> str:
    """A new key, added to the file. Raises :class:`Failure` when the name is taken or the file cannot be written.

    A name belongs to one key: it is what the log shows and what ``fwd keys revoke`` takes. ``options`` are rights,
    limits and budgets as the file has them; raises ``click.UsageError`` for one that cannot be used.
    """
    from fwd_server.store.key_file import append_key
    from fwd_server.store.key_options import BadLine

    if name and name in used_names(path):
        raise Failure(
            f"there is already a key named {name}",
            f"{path} has it; two keys with one name cannot be told apart in the log",
            f"another --name, or fwd keys revoke {name} first",
        )
    key = PREFIX + secrets.token_urlsafe(length)
    try:
        append_key(path, key, name=name, expires=expires, options=options)
    except BadLine as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise Failure(
            "the key could not be stored, and is not valid",
            f"{error.strerror or error}: {path}",
            "fwd generate-key --keys-file PATH, with a file you can write (not a symbolic link)",
            ExitCode.ERROR,
        ) from error
    return key


def used_names(path: Path) -> set[str]:
    """The names of the keys in the file; empty when it cannot be read, because writing it explains that better."""
    from fwd_server.store.key_file import read_keys

    try:
        return {key.name for key in read_keys(path) if key.name}
    except OSError:
        return set()


def _described(key: str, name: str | None, expires: str | None, path: Path) -> str:
    facts = {"key": key, "name": name, "expires": expires, "keys_file": str(path)}
    return render.as_json({field: value for field, value in facts.items() if value is not None}, indent=2)


def _next_steps(key: str, path: Path, *, shown: bool) -> str:
    """What to do with the key; it is repeated only on a terminal, where it is visible anyway."""
    return f"""
Added to {path}. It will not be shown again.

Next:
  fwd run-server
  export FORWARDER_KEY={key if shown else "<the key>"}
  fwd call "hello" --model echo:"""
