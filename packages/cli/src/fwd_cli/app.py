"""The command group: every command written out, imported only when it runs.

``fwd --help`` and completion need names and one line each, so those stand here; the module of a command, and whatever
heavy things it needs, is imported when that command is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple

import click

from fwd_cli import __version__, colour


class Entry(NamedTuple):
    """One line of ``fwd --help``: its section, the command's name, its module, what it does."""

    section: str
    name: str
    module: str
    summary: str


COMMANDS = (
    Entry("Start", "demo", "demo", "Start a gateway without a provider key and show real calls."),
    Entry("Start", "init", "init", "Set up a gateway here: three questions, .env and a key."),
    Entry("Start", "doctor", "doctor", "Find problems and how to fix them."),
    Entry("Use", "call", "call", "Send a prompt and print the answer."),
    Entry("Use", "chat", "chat", "Have a conversation with a model."),
    Entry("Use", "login", "login", "Store the address of a gateway and your key for it."),
    Entry("Use", "logout", "logout", "Remove a gateway that fwd login stored, and your key for it."),
    Entry("Use", "models", "models", "List the models your key can use."),
    Entry("Run", "generate-key", "generate_key", "Make and store a key for a caller of the gateway."),
    Entry("Run", "run-server", "run_server", "Run the gateway."),
    Entry("Run", "keys", "keys", "List, revoke and harden the keys of the gateway's callers."),
    Entry("Run", "usage", "usage", "Show calls, tokens and costs, summed up."),
    Entry("Run", "spend", "spend", "Show each budget and what is left of it."),
    Entry("Run", "logs", "logs", "List single calls, or follow them."),
    Entry("Run", "explain", "explain", "Show one call and how its cost came about."),
    Entry("Run", "store", "store", "Copy, check and recover the ledger."),
    Entry("Run", "prices", "prices", "Show, compare, update and set the prices of models."),
    Entry("Run", "config", "config", "Show the effective settings and where they come from."),
    Entry("Run", "check", "check", "Check fwd.toml and show where its names go."),
    Entry("Run", "drill", "drill", "Rehearse the failure of each provider."),
    Entry("Wire up", "connect", "connect", "Set up another program to use the gateway."),
    Entry("Wire up", "import", "import_config", "Translate the configuration of another gateway into fwd.toml."),
    Entry("Wire up", "completion", "completion", "Print the completion script for a shell."),
    Entry("Wire up", "help", "help", "Explain a command or a topic: env, exit-codes."),
)

_FIRST_STEPS = """\b
From nothing to an answer:
  fwd demo          see it work, no provider key needed
  fwd init          three questions: settings and a key, then
  fwd run-server    here, and in a second terminal
  fwd chat          in the same directory"""


class Commands(click.Group):
    """A group that knows its commands by name and imports each when it is used."""

    entries: Sequence[Entry] = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name, in the order of the help."""
        return [entry.name for entry in self.entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None for an unknown name."""
        for entry in self.entries:
            if entry.name == cmd_name:
                # Only the command that runs is imported: all of them would make every Tab slow.
                command: click.Command = import_module(f"fwd_cli.commands.{entry.module}").command
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, but an unknown name is answered with the command that was probably meant."""
        name = args[0]
        if name in self.list_commands(ctx) or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        raise click.UsageError(self._suggest_command(ctx, name), ctx)

    def _suggest_command(self, ctx: click.Context, name: str) -> str:
        # Whoever types a prompt without `call` is told how it is sent.
        near = get_close_matches(name, self.list_commands(ctx), n=1)
        if near:
            return f"there is no command {name!r}; did you mean {near[0]!r}?"
        return f'there is no command {name!r}; a prompt is sent with: fwd call "{name}"'

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under their sections, from the table alone: nothing is imported."""
        for section, entries in self._list_sections():
            with formatter.section(section):
                formatter.write_dl([(entry.name, entry.summary) for entry in entries], col_max=16)

    def _list_sections(self) -> Iterator[tuple[str, list[Entry]]]:
        for section in dict.fromkeys(entry.section for entry in self.entries):
            yield section, [entry for entry in self.entries if entry.section == section]


def _choose_colour(ctx: click.Context, param: click.Parameter, value: str) -> None:
    colour.choose(value)


@click.group(
    cls=Commands,
    name="fwd",
    help=f"One address for every language model: run the gateway, make keys, call models.\n\n{_FIRST_STEPS}",
    epilog="More: fwd COMMAND --help, fwd help env, fwd help exit-codes.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--color",
    type=click.Choice(colour.CHOICES),
    default="auto",
    show_default=True,
    is_eager=True,
    expose_value=False,
    callback=_choose_colour,
    help="When to use colour; NO_COLOR and FORCE_COLOR are read too.",
)
@click.version_option(__version__, prog_name="fwd", message="%(prog)s %(version)s")
def fwd() -> None:
    """The group itself does nothing."""
