"""``fwd chat``: a talk with a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fwd_cli import folders, names
from fwd_cli.errors import ExitCode, Failure, no_key, sdk_errors_explained
from fwd_cli.notices import aside
from fwd_cli.options import (
    examples,
    key_option,
    max_tok_option,
    model_option,
    server_option,
    system_option,
    temp_option,
)

if TYPE_CHECKING:
    from fwd_cli.chatting import Session
    from fwd_cli.talk import Talk
    from fwd_cli.typed import Source


@click.command(
    name="chat",
    epilog=examples(
        "fwd chat",
        'fwd chat --model ollama:llama3:8b --system "Answer in one sentence."',
        "fwd chat -c                                  # go on where the last one ended",
    ),
)
@model_option
@key_option
@server_option
@temp_option
@max_tok_option
@system_option
@click.option("--continue", "-c", "go_on", is_flag=True, help="Go on with the last talk.")
@click.option("--private", is_flag=True, help="Keep neither the talk nor what is typed.")
@click.option("-q", "--quiet", is_flag=True, help="Leave out the line about model, times and tokens.")
def command(
    model: str | None,
    key: str | None,
    server: str,
    temp: float | None,
    max_tok: int | None,
    system: str | None,
    go_on: bool,
    private: bool,
    quiet: bool,
) -> int:
    """Talk with a model.

    Enter sends, Alt-Enter begins a new line, Ctrl-C stops the answer, Ctrl-D leaves. /help shows the commands: /model
    /system /file /edit /retry /copy /save /load /clear. In a pipe every line is a message.

    The last talk and what was typed are kept for you alone, in ~/.local/state/fwd (or XDG_STATE_HOME); --private
    keeps neither.
    """
    if not key:
        raise no_key()
    with sdk_errors_explained():
        from fwd_cli.chatting import Session
        from fwd_client import Client

        talk = started(model, system, go_on=go_on)
        params = {"temperature": temp, "max_tokens": max_tok}
        kept = None if private else last()
        with Client(base_url=server, api_key=key) as client:
            if sys.stdin.isatty():
                names.remember(server, (model.id for model in client.models.list()))
            session = Session(client, talk, sys.stdout, params, quiet=quiet, kept=kept)
            session.run(_source(session, private=private))
    return ExitCode.OK if sys.stdin.isatty() else session.code


def last() -> Path:
    """Where the last talk is kept."""
    return folders.state() / "last.json"


def started(model: str | None, system: str | None, *, go_on: bool) -> Talk:
    """A new talk, or the last one. Raises :class:`Failure` when there is none."""
    from fwd_cli.talk import BadTalk, Talk, read

    talk = Talk()
    try:
        talk = read(last()) if go_on else talk
    except (OSError, BadTalk) as error:
        raise Failure("there is no last talk to go on with", f"{error}", "fwd chat") from error
    talk.model = model or talk.model
    talk.system = system or talk.system
    return talk


def _source(session: Session, *, private: bool) -> Source:
    """A person at a terminal, or lines from a pipe."""
    from fwd_cli.typed import Keyboard, Lines

    if not sys.stdin.isatty():
        return Lines(sys.stdin)
    from fwd_cli.chatting import summary

    aside(
        f"{session.talk.model or 'No model named: the gateway chooses'} at {session.client.base_url} · /help · Ctrl-D"
    )
    if session.talk.messages:
        aside(summary(session.talk))
    history = None if private else folders.state() / "history"
    return Keyboard(sys.stderr, history, session.complete)
