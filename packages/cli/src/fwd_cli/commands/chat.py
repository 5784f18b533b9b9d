"""``fwd chat``: a conversation with a model."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fwd_cli import folders, names
from fwd_cli.errors import ExitCode, Failure, no_key, sdk_errors_explained
from fwd_cli.keystrokes import hold_keys
from fwd_cli.notices import aside
from fwd_cli.options import approve_option, call_options, call_parameters, examples
from fwd_cli.prompts import usage_error
from fwd_cli.toolfiles import is_python, tools_to_run

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from fwd_cli.conversation import Conversation
    from fwd_cli.session import Session
    from fwd_cli.typed import Source


def _complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from fwd_cli.conversation import known_names

    return [CompletionItem(name) for name in known_names() if name.startswith(incomplete)]


@click.command(
    name="chat",
    epilog=examples(
        "fwd chat",
        'fwd chat --model ollama:llama3:8b --system "Answer in one sentence."',
        "fwd chat -c                # continue the last conversation",
        "fwd chat --name trip       # begin or continue the conversation of this name",
        "fwd chat --tools tools.py --approve",
    ),
)
@call_options
@click.option("--continue", "-c", "go_on", is_flag=True, help="Continue the last conversation.")
@click.option(
    "--name",
    "-n",
    metavar="NAME",
    shell_complete=_complete_name,
    help="Begin or continue the conversation of this name.",
)
@click.option(
    "--tools",
    type=click.Path(),
    metavar="FILE",
    help="Python file with functions that the model may call.",
)
@approve_option
@click.option("--private", is_flag=True, help="Keep neither the conversation nor what is typed.")
def command(
    model: str | None,
    key: str | None,
    server: str,
    temp: float | None,
    max_tok: int | None,
    system: str | None,
    parameters: dict[str, Any],
    timeout: float | None,
    retries: int | None,
    no_fallback: bool,
    strict: bool,
    thinking: bool,
    quiet: bool,
    go_on: bool,
    name: str | None,
    tools: str | None,
    approve: bool,
    private: bool,
) -> int:
    """Have a conversation with a model.

    Enter sends, Alt-Enter begins a new line, Ctrl-C stops the answer, Ctrl-D leaves. /help lists the commands: /model
    /system /file /edit /retry /copy /cost /open /list /save /load /clear. In a pipe every line is a message.

    Conversations and what was typed are kept in ~/.local/state/fwd (or XDG_STATE_HOME), readable by you alone;
    --private keeps neither.
    """
    if not key:
        raise no_key(server)
    if name and (go_on or private):
        raise usage_error("--name is used alone, without --continue and --private")
    if tools and not is_python(tools):
        raise usage_error("fwd chat runs functions: --tools takes a .py file; fwd call shows the calls of a JSON file")
    to_run = tools_to_run(tools, approve=approve)
    with sdk_errors_explained(server), hold_keys(sys.stdin, for_prompt=True):
        from fwd_cli.asking import OutputStyle
        from fwd_cli.session import Session
        from fwd_client import Client

        conversation, path = _begin_conversation(model, system, name, go_on=go_on)
        params = call_parameters(temp, max_tok, parameters, no_fallback=no_fallback, strict=strict)
        style = OutputStyle(thinking=thinking, quiet=quiet)
        kept = None if private else path
        with Client(base_url=server, api_key=key, timeout=timeout, max_retries=retries) as client:
            if sys.stdin.isatty():
                names.remember(server, (model.id for model in client.models.list()))
            session = Session(client, conversation, sys.stdout, params, style, kept, to_run)
            session.run(_open_source(session, private=private))
    return ExitCode.OK if sys.stdin.isatty() else session.code


def _begin_conversation(
    model: str | None, system: str | None, name: str | None, *, go_on: bool
) -> tuple[Conversation, Path]:
    """The conversation to continue, or a new one, and where it is kept. Raises :class:`Failure` when it cannot be."""
    from fwd_cli.conversation import BadConversation, Conversation, last_path, named_path, read_conversation

    conversation = Conversation()
    try:
        path = named_path(name) if name else last_path()
        if go_on:
            conversation = read_conversation(path)
        elif name:
            with suppress(FileNotFoundError):
                conversation = read_conversation(path)
    except (OSError, BadConversation) as error:
        raise Failure("there is no such conversation to continue", f"{error}", "fwd chat") from error
    conversation.model = model or conversation.model
    conversation.system = system or conversation.system
    return conversation, path


def _open_source(session: Session, *, private: bool) -> Source:
    """A person at a terminal, or lines from a pipe."""
    from fwd_cli.typed import Keyboard, Lines

    if not sys.stdin.isatty():
        return Lines(sys.stdin)
    from fwd_cli.session import summary

    model = session.conversation.model or "No model named: the gateway chooses"
    aside(f"{model} at {session.client.base_url} · /help · Ctrl-D")
    if session.conversation.messages:
        aside(summary(session.conversation))
    history = None if private else folders.state() / "history"
    return Keyboard(sys.stderr, history, session.complete)
