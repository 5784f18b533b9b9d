"""``fwd completion SHELL``: the script that enables Tab."""

from __future__ import annotations

import click

from fwd_cli.options import examples
from fwd_cli.prompts import usage_error
from fwd_cli.shells import get_completion_class

SHELLS = ("bash", "zsh", "fish", "powershell")


@click.command(
    name="completion",
    epilog=examples(
        'eval "$(fwd completion bash)"                                 # now, in bash',
        "fwd completion zsh > ~/.zfunc/_fwd                            # for good, in zsh",
        "fwd completion fish > ~/.config/fish/completions/fwd.fish     # for good, in fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    It completes commands, options, files, models and keys. Models come from a cache that fwd models, fwd doctor, fwd
    chat and fwd login update: completion never uses the network.
    """
    click.echo(script(shell, ctx.find_root().command))


def script(shell: str, command: click.Command) -> str:
    """The script. Raises ``click.UsageError`` for a shell that this version of click does not support."""
    completion = get_completion_class(shell)
    if completion is None:
        raise usage_error(f"this version of click has no completion for {shell}")
    # The name as it is typed, whatever the script was started as.
    return completion(command, {}, "fwd", "_FWD_COMPLETE").source()
