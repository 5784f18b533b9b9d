"""What is asked: the argument and what is piped in, made into a conversation."""

from __future__ import annotations

import io
import os
import stat
from typing import Any, TextIO

import click


def read_prompt(argument: str | None, stdin: TextIO) -> str:
    """The prompt from what is piped in and from the argument, joined by an empty line.

    With ``-`` standard input is read even on a terminal, until Ctrl-D. Raises ``click.UsageError`` when there is
    nothing to send.
    """
    piped = stdin.read() if argument == "-" or is_piped(stdin) else ""
    words = "" if argument in (None, "-") else argument
    prompt = "\n\n".join(part for part in (piped.strip("\n"), words) if part)
    if not prompt:
        raise usage_error("there is no prompt: give it as an argument, or pipe it in")
    return prompt


def is_piped(stream: TextIO) -> bool:
    """Whether somebody gave us this to read: a pipe, a file or a socket, but no terminal and no ``/dev/null``."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except io.UnsupportedOperation:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def messages_of(content: Any, system: str | None) -> list[dict[str, Any]]:
    """The conversation: a system message if there is one, then what the user says."""
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": content}]


def usage_error(message: str) -> click.UsageError:
    """A mistake on the command line, with the usage of the command that runs."""
    return click.UsageError(message, click.get_current_context(silent=True))
