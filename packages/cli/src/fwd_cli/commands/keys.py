"""``fwd keys``: the keys of the gateway's callers."""

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
_SHORTEST_ID = 6
_DAY_S = 86_400


@click.group(
    name="keys",
    epilog=examples("fwd keys list", "fwd keys revoke web", "fwd keys harden"),
)
def command() -> None:
    """List, revoke and harden the keys of the gateway's callers.

    A running gateway sees every change within two seconds. fwd generate-key makes new keys.
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

    Log lines have the same name as "key" and the same id as "key_id"; the id is the start of the key's SHA-256 digest.
    In a pipe the columns are separated by tabs; --json prints one object per line.
    """
    from fwd_server.store.key_file import read_keys

    with _keys_at(keys_file):
        keys = read_keys(keys_file)
    now = time.time()
    if as_json:
        click.echo("".join(render.as_json(_key_facts(key, now)) for key in keys), nl=False)
    else:
        Rows(COLUMNS, [row(key, now) for key in keys]).show()
    if not keys:
        click.echo(f"{keys_file} contains no key: fwd generate-key makes one.", err=True)


@command.command(
    name="revoke",
    epilog=examples(
        "fwd keys revoke web                   # by its name",
        "fwd keys revoke 9f86d081               # by its id, as a log line shows it",
        "fwd keys revoke web --json",
    ),
)
@click.argument("which", nargs=-1, required=True, shell_complete=names.complete_key)
@keys_file_option
@json_option
def revoke(which: tuple[str, ...], keys_file: Path, as_json: bool) -> None:
    """Remove keys from the file, by name, by id, or by the key itself.

    The gateway refuses a revoked key within two seconds; this cannot be undone. A name that several keys share is
    refused: use their ids.
    """
    from fwd_server.store import key_file as files

    with _keys_at(keys_file):
        keys = files.read_keys(keys_file)
        # All are looked up before any is revoked: a wrong name leaves the file as it was.
        gone = [key for word in which for key in chosen(keys, word)]
        files.revoke(keys_file, {key.digest for key in gone})
    if as_json:
        click.echo("".join(render.as_json(_key_facts(key, time.time())) for key in gone), nl=False)
    else:
        click.echo(f"Revoked {', '.join(dict.fromkeys(_key_label(key) for key in gone))}: refused within two seconds.")


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
    """Replace keys in plain text by their SHA-256 digests.

    Every key stays valid, but a reader of the file cannot use it. The file is replaced in one step and keeps its mode
    and owner.
    """
    from fwd_server.store import key_file as files

    with _keys_at(keys_file):
        count = files.harden(keys_file)
    text = f"Replaced {count} by their digests." if count else "No key was in plain text."
    click.echo(render.as_json({"hardened": count}) if as_json else f"{text}\n", nl=False)


def chosen(keys: Sequence[Listed], word: str) -> list[Listed]:
    """The lines of the one key that ``word`` identifies. Raises ``click.UsageError`` when it is none, or several.

    A key is identified by its name, by its id or the digest that the id begins, and by itself, so that whatever a log,
    a list or a leak shows can be pasted here.
    """
    matching = [key for key in keys if identifies(word, key)]
    ids = list(dict.fromkeys(key.id for key in matching))
    if not ids:
        raise usage_error(f"there is no key {word!r}: fwd keys list shows names and ids")
    if len(ids) > 1:
        raise usage_error(f"{len(ids)} keys match {word!r}; choose by id: {', '.join(ids)}")
    return matching


def identifies(word: str, key: Listed) -> bool:
    """Whether ``word`` is the name of this key, six or more digits of its digest, or the key itself."""
    from fwd_server.store.key_set import fingerprint

    digits = word.lower().removeprefix("sha256:")
    by_digest = len(digits) >= _SHORTEST_ID and key.digest.hex().startswith(digits)
    return bool(word) and (word == key.name or by_digest or fingerprint(word) == key.digest)


def row(key: Listed, now: float) -> tuple[str, ...]:
    """A key in the order of ``COLUMNS``."""
    state = "expired" if key.expires <= now else ""
    remark = f"line {key.line} is skipped: {key.problem}" if key.problem else state
    return (key.id, key.name, expiry(key.expires), "digest" if key.hashed else "plain text", remark)


def expiry(moment: float) -> str:
    """When a key ends, as it is written in the file: a day, or a time."""
    if math.isinf(moment):
        return ""
    # A date ends with its day, so midnight belongs to the day before.
    if moment % _DAY_S == 0:
        return datetime.fromtimestamp(moment - _DAY_S, timezone.utc).date().isoformat()
    return datetime.fromtimestamp(moment, timezone.utc).isoformat().replace("+00:00", "Z")


def _key_facts(key: Listed, now: float) -> dict[str, object]:
    """For programs, without empty values."""
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


def _key_label(key: Listed) -> str:
    return f"{key.name} ({key.id})" if key.name else key.id


@contextmanager
def _keys_at(path: Path) -> Iterator[None]:
    """Inside this block an unusable file ends the command with three lines."""
    with file_errors_explained(
        f"{path} cannot be used", "fwd generate-key creates it; --keys-file PATH names another one"
    ):
        yield
