"""``fwd keys``: the keys of the gateway's callers, as their owner sees them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fwd_cli import names, render
from fwd_cli.errors import file_errors_explained
from fwd_cli.options import examples, json_option, keys_file_option
from fwd_cli.prompts import usage_error
from fwd_cli.tables import Rows

if TYPE_CHECKING:
    from fwd_server.store.key_set import Listed

COLUMNS = ("id", "name", "expires", "stored as", "remark")
_DAY_S = 86_400


@click.group(
    name="keys",
    epilog=examples("fwd keys list", "fwd keys revoke web", "fwd keys harden"),
)
def command() -> None:
    """List, revoke and harden keys.

    They are those of the gateway's callers. A running gateway sees every change within two seconds. New keys come from
    fwd generate-key.
    """


@command.command(
    name="list",
    epilog=examples(
        "fwd keys list",
        "fwd keys list --json | jq -r .id",
        "fwd keys list --keys-file /etc/fwd/keys.txt",
    ),
)
@keys_file_option
@json_option
def list_(keys_file: Path, as_json: bool) -> None:
    """List the keys, never the secrets.

    The id is the beginning of the key's SHA-256 digest. In a pipe the columns are separated by tabs; --json prints one
    object a line.
    """
    from fwd_server.store.key_file import read_keys

    with _keys_at(keys_file):
        keys = read_keys(keys_file)
    now = time.time()
    if as_json:
        click.echo("".join(render.as_json(_facts(key, now)) for key in keys), nl=False)
    else:
        Rows(COLUMNS, [row(key, now) for key in keys]).show()
    if not keys:
        click.echo(f"There is no key in {keys_file}: fwd generate-key makes one.", err=True)


@command.command(
    name="revoke",
    epilog=examples(
        "fwd keys revoke web                   # by its name",
        "fwd keys revoke 9f86d081 2c26b46b     # by their ids",
        "fwd keys revoke web --json",
    ),
)
@click.argument("which", nargs=-1, required=True, shell_complete=names.complete_key)
@keys_file_option
@json_option
def revoke(which: tuple[str, ...], keys_file: Path, as_json: bool) -> None:
    """Take keys out of the file, by name or id.

    The gateway refuses a revoked key within two seconds; there is no way back but a new key. A name that several keys
    have is refused: their ids tell them apart.
    """
    from fwd_server.store import key_file as files

    with _keys_at(keys_file):
        keys = files.read_keys(keys_file)
        gone = [key for word in which for key in chosen(keys, word)]
        files.revoke(keys_file, {key.digest for key in gone})
    if as_json:
        click.echo("".join(render.as_json(_facts(key, time.time())) for key in gone), nl=False)
    else:
        click.echo(f"Revoked {', '.join(dict.fromkeys(_label(key) for key in gone))}: refused within two seconds.")


@command.command(
    name="harden",
    epilog=examples(
        "fwd keys harden",
        "fwd keys harden --keys-file /etc/fwd/keys.txt",
        "fwd generate-key --name web && fwd keys harden     # the file never holds the key for long",
    ),
)
@keys_file_option
@json_option
def harden(keys_file: Path, as_json: bool) -> None:
    """Write keys that stand in clear as their SHA-256 digests.

    Every key stays good, but whoever reads the file cannot use it. The file is replaced in one step, with its mode and
    owner as they were.
    """
    from fwd_server.store import key_file as files

    with _keys_at(keys_file):
        count = files.harden(keys_file)
    said = f"Keys in clear that are digests now: {count}." if count else "No key was in clear."
    click.echo(render.as_json({"hardened": count}) if as_json else f"{said}\n", nl=False)


def chosen(keys: Sequence[Listed], word: str) -> list[Listed]:
    """The lines of the one key with this id or name. Raises ``click.UsageError`` when there is none, or not one."""
    found = [key for key in keys if word in (key.id, key.name)]
    ids = list(dict.fromkeys(key.id for key in found))
    if not ids:
        raise usage_error(f"there is no key {word!r}: fwd keys list shows names and ids")
    if len(ids) > 1:
        raise usage_error(f"{len(ids)} keys are called {word!r}; choose by id: {', '.join(ids)}")
    return found


def row(key: Listed, now: float) -> tuple[str, ...]:
    """A key in the words of ``COLUMNS``."""
    over = "no longer valid" if key.expires <= now else ""
    remark = f"line {key.line} is skipped: {key.problem}" if key.problem else over
    return (key.id, key.name, expiry(key.expires), "digest" if key.hashed else "clear", remark)


def expiry(moment: float) -> str:
    """When a key ends, as it is written in the file: a day, or a time."""
    if math.isinf(moment):
        return ""
    if moment % _DAY_S == 0:
        return datetime.fromtimestamp(moment - _DAY_S, timezone.utc).date().isoformat()
    return datetime.fromtimestamp(moment, timezone.utc).isoformat().replace("+00:00", "Z")


def _facts(key: Listed, now: float) -> dict[str, object]:
    """For programs; what there is nothing to say of is left out."""
    facts = {
        "id": key.id,
        "name": key.name,
        "expires": expiry(key.expires),
        "expired": key.expires <= now,
        "hashed": key.hashed,
        "line": key.line,
        "problem": key.problem,
    }
    return {name: value for name, value in facts.items() if value != ""}


def _label(key: Listed) -> str:
    return f"{key.name} ({key.id})" if key.name else key.id


@contextmanager
def _keys_at(path: Path) -> Iterator[None]:
    """Inside this block a file that cannot be read or replaced ends the command with three lines."""
    with file_errors_explained(f"{path} cannot be used", "fwd generate-key makes it; --keys-file PATH names another"):
        yield
