"""Standard input, the messages of one prompt, and mistakes on the command line."""

from __future__ import annotations

import io
import os
import stat
from typing import Any, TextIO

import click


def piped_bytes(stdin: TextIO, *, asked: bool = False) -> bytes:
    """What is piped in; empty when nothing is. With ``asked`` a terminal is read too, until Ctrl-D."""
    if not (asked or is_piped(stdin)):
        return b""
    # Bytes and not text: an image or a PDF may be piped in, and decoding would destroy it.
    buffer = getattr(stdin, "buffer", None)
    return bytes(buffer.read()) if buffer else stdin.read().encode("utf-8", "surrogatepass")


def is_piped(stream: TextIO) -> bool:
    """Whether this is input meant for us: a pipe, a file or a socket, but not a terminal and not ``/dev/null``."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except io.UnsupportedOperation:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def messages_of(content: Any, system: str | None) -> list[dict[str, Any]]:
    """The conversation: a system message if there is one, then the user message."""
    system_messages = [{"role": "system", "content": system}] if system else []
    return [*system_messages, {"role": "user", "content": content}]


def usage_error(message: str) -> click.UsageError:
    """A mistake on the command line, with the usage of the running command."""
    return click.UsageError(message, click.get_current_context(silent=True))
