"""``docs/cli.md``, made from the commands themselves: ``python -m fwd_cli.reference > docs/cli.md``."""

from __future__ import annotations

from collections.abc import Iterator

import click

from fwd_cli.app import COMMANDS, fwd
from fwd_cli.commands.help import exit_codes, own_environment

WIDTH = 100
_HEAD = """\
# The command `fwd`

Made from the code by `python -m fwd_cli.reference > docs/cli.md`; a test compares the two. The same is printed by
`fwd --help`, `fwd COMMAND --help` and `fwd help TOPIC`.
"""


def reference() -> str:
    """Help of the group, of every command and of every topic, as one Markdown document."""
    return "\n".join((_HEAD, *_list_sections())).rstrip() + "\n"


def _list_sections() -> Iterator[str]:
    root = _make_context(fwd, "fwd", None)
    yield _code_block(fwd.get_help(root))
    for entry in COMMANDS:
        yield from _command_pages(fwd.get_command(root, entry.name) or fwd, entry.name, root)
    yield "## Environment\n"
    yield _code_block(own_environment())
    yield "The settings of the server: [configuration.md](configuration.md), or `fwd help env`.\n"
    yield "## Exit codes\n"
    yield _code_block(exit_codes())


def _command_pages(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    """The help of a command, and of those below it."""
    context = _make_context(command, name, parent)
    yield f"## `{context.command_path}`\n"
    yield _code_block(command.get_help(context))
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from _command_pages(below, below.name or "", context)


def _make_context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    # A fixed width, or the document would depend on who writes it.
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    return click.Context(command, info_name=name, parent=parent, **settings)


def _code_block(text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
    return f"```text\n{lines}\n```\n"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
