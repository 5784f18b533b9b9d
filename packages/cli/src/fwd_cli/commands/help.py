"""``fwd help``: help on a command, or on a topic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import click

from fwd_cli.app import fwd
from fwd_cli.errors import DEFAULT_URL, EXIT_CODES
from fwd_cli.options import examples
from fwd_cli.prompts import usage_error

OURS = (
    ("FORWARDER_KEY", "Your key for the gateway, for fwd call and the SDK; the server never reads it."),
    ("FORWARDER_URL", f"Address of the gateway. Default: the profile's, else {DEFAULT_URL}."),
    ("FWD_PROFILE", "Which of the gateways that fwd login stored is used."),
    ("FWD_LOG", "What fwd and the SDK log about themselves; debug shows tracebacks."),
    ("NO_COLOR, CLICOLOR=0", "No colour."),
    ("FORCE_COLOR, CLICOLOR_FORCE", "Colour even into a pipe."),
)


def environment() -> str:
    """Every variable there is."""
    return own_environment() + _laid_out(_of_the_server())


def own_environment() -> str:
    """The variables that this command and the SDK read."""
    return (
        "For every value: a flag, else the environment, else .env in the working directory, else the profile that\n"
        "fwd login stored. The SDK does the same, but for .env, which it does not read.\n\n"
    ) + _laid_out({"This command and the SDK": [*OURS]})


def _of_the_server() -> dict[str, list[tuple[str, str]]]:
    """The server's settings by group, as it documents them itself."""
    from fwd_server.settings import ABOUT, documented_variables

    sections: dict[str, list[tuple[str, str]]] = {}
    for variable in documented_variables():
        default = variable.display_text(variable.default) or variable.note
        text = f"{variable.help} Default: {default}." if default else variable.help
        # One variable for each provider and time would be a page of its own.
        rows = sections.setdefault(f"Server: {variable.group}", [])
        if not rows and variable.group in ABOUT:
            rows.append(("FWD_<PROVIDER>_..._TIMEOUT", ABOUT[variable.group]))
        rows.append((variable.name, text))
    return sections


def _laid_out(sections: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    formatter = click.HelpFormatter(width=100)
    for title, rows in sections.items():
        with formatter.section(title):
            formatter.write_dl(rows, col_max=32)
    return formatter.getvalue()


def exit_codes() -> str:
    """How ``fwd`` ends."""
    formatter = click.HelpFormatter(width=100)
    formatter.write_dl([(f"{code:>3}", meaning) for code, meaning in EXIT_CODES.items()])
    return formatter.getvalue()


TOPICS: dict[str, Callable[[], str]] = {"env": environment, "exit-codes": exit_codes}


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
    # After the topics: a command of the same name has --help as well.
    named = fwd.get_command(root, topic)
    if named is None:
        raise usage_error(f"there is no command and no topic {topic!r}; the topics are {', '.join(TOPICS)}")
    return named.get_help(click.Context(named, info_name=topic, parent=root))
