"""``fwd help``: the help of a command, or of something that belongs to no single command."""

from __future__ import annotations

from collections.abc import Callable

import click

from fwd_cli.app import fwd
from fwd_cli.errors import EXIT_CODES
from fwd_cli.options import DEFAULT_KEYS_FILE, DEFAULT_URL, examples
from fwd_cli.prompts import usage_error

ENVIRONMENT: tuple[tuple[str, str], ...] = (
    ("FORWARDER_KEY", "your key for the gateway, for fwd call and the SDK; the server never reads it"),
    ("FORWARDER_URL", f"address of the gateway, {DEFAULT_URL} by default"),
    ("FORWARDER_KEYS_FILE", f"where the gateway's keys stand, {DEFAULT_KEYS_FILE} by default"),
    ("FWD_LOG", "what fwd and the SDK tell about themselves: debug shows tracebacks"),
    ("NO_COLOR, CLICOLOR=0", "no colour"),
    ("FORCE_COLOR, CLICOLOR_FORCE", "colour even into a pipe"),
    ("OPENAI_API_KEY, ...", "provider keys, for the server; fwd run-server --check shows every setting"),
)


def _environment() -> str:
    formatter = click.HelpFormatter(width=100)
    formatter.write_text("A flag wins over the environment, the environment over .env in the working directory.")
    formatter.write_paragraph()
    formatter.write_dl(ENVIRONMENT)
    return formatter.getvalue()


def _exit_codes() -> str:
    formatter = click.HelpFormatter(width=100)
    formatter.write_dl([(f"{code:>3}", meaning) for code, meaning in EXIT_CODES.items()])
    return formatter.getvalue()


TOPICS: dict[str, Callable[[], str]] = {"env": _environment, "exit-codes": _exit_codes}


@click.command(name="help", epilog=examples("fwd help call", "fwd help env", "fwd help exit-codes"))
@click.argument("topic", required=False)
@click.pass_context
def command(ctx: click.Context, topic: str | None) -> None:
    """Explain a command or a topic: env, exit-codes."""
    click.echo(_explain(ctx.find_root(), topic).rstrip())


def _explain(root: click.Context, topic: str | None) -> str:
    if topic is None:
        return root.get_help()
    if topic in TOPICS:
        return TOPICS[topic]()
    named = fwd.get_command(root, topic)
    if named is None:
        raise usage_error(f"there is no command and no topic {topic!r}; the topics are {', '.join(TOPICS)}")
    return named.get_help(click.Context(named, info_name=topic, parent=root))
