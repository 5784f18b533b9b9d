"""Secrets of ``fwd.toml``: the file contains references only, because it is meant to be committed and shown.

env:NAME       a variable of the environment or of .env
file:PATH      the contents of a file, without the line end; relative to the folder of fwd.toml
cmd:COMMAND    what a command prints, without the line end; run without a shell, within ten seconds
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

COMMAND_WAIT_S: Final = 10.0
LONGEST_FILE: Final = 64 << 10
_SECRET: Final = re.compile(r"[!#-&(-~]+")  # ASCII without spaces and quotes: it goes into a header
_PREFIXES: Final = ("env:", "file:", "cmd:")

Resolve = Callable[[str], str]


class BadReference(Exception):
    """A reference that gives nothing; the text says why, and holds nothing of what was found."""


def is_reference(text: str) -> bool:
    """Whether a text points at a secret."""
    return text.startswith(_PREFIXES)


def make_resolver(variables: Mapping[str, str], folder: Path) -> Resolve:
    """What reads references: from these variables, from files relative to ``folder``, from commands.

    The resolver raises BadReference. Each reference is read once: a command may ask a person for something.
    """
    kept: dict[str, str] = {}

    def resolve(reference: str) -> str:
        if reference not in kept:
            kept[reference] = _check_secret(reference, _read_reference(reference, variables, folder))
        return kept[reference]

    return resolve


def name_of(reference: str, place: str) -> str:
    """The name of a secret in messages and dry runs: its variable, or its place in the file."""
    return reference.removeprefix("env:") if reference.startswith("env:") else place


def _read_reference(reference: str, variables: Mapping[str, str], folder: Path) -> str:
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        return variables.get(rest, "").strip()
    return _read_file(folder / Path(rest).expanduser()) if scheme == "file" else _run_command(rest)


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_FILE).decode("utf-8", "replace").strip()
    except OSError as error:
        raise BadReference(f"the file cannot be read: {error.strerror or error}") from None


def _run_command(command: str) -> str:
    try:
        words = shlex.split(command)
        # Without a shell nothing in the command is expanded; its errors go where ours go, its output nowhere else.
        done = subprocess.run(  # noqa: S603 - whoever may write the file may run commands as the gateway anyway
            words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=COMMAND_WAIT_S, check=True
        )
    except subprocess.CalledProcessError as error:
        raise BadReference(f"the command ended with status {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise BadReference(f"the command took longer than {COMMAND_WAIT_S:.0f} s") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its quotes do not match"
        raise BadReference(f"the command cannot be run: {reason}") from None
    return done.stdout.decode("utf-8", "replace").strip()


def _check_secret(reference: str, secret: str) -> str:
    if not secret:
        empty = "it is not set" if reference.startswith("env:") else "it is empty"
        raise BadReference(empty)
    if not _SECRET.fullmatch(secret):
        raise BadReference(
            "it does not contain a valid key; allowed are printable ASCII characters without spaces and quotes"
        )
    if secret.startswith("fwd_"):
        raise BadReference("it contains a key of a gateway (fwd_...), not one of the provider")
    return secret
