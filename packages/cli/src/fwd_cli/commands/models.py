"""``fwd models``: what a key can reach, and what is known of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from fwd_cli import render
from fwd_cli.errors import no_key, sdk_errors_explained
from fwd_cli.options import examples, json_option, key_option, server_option

if TYPE_CHECKING:
    from fwd_client import Model


@click.command(
    name="models",
    epilog=examples(
        "fwd models",
        "fwd models openai vision          # those whose line has both words",
        "fwd models --json | jq -r .id",
    ),
)
@click.argument("words", nargs=-1)
@key_option
@server_option
@json_option
def command(words: tuple[str, ...], key: str | None, server: str, as_json: bool) -> None:
    """List the models your key can reach.

    With WORDS only those that have every one of them in their name or abilities. Prices are US dollars for a million
    tokens in and out; what is not known is left empty. In a pipe the columns are separated by tabs; --json prints one
    object a line.
    """
    if not key:
        raise no_key()
    with sdk_errors_explained():
        from fwd_client import Client

        with Client(base_url=server, api_key=key) as client:
            found = [model for model in client.models.list() if matches(model, words)]
    show(found, as_json=as_json)


def matches(model: Model, words: tuple[str, ...]) -> bool:
    """Whether every word stands in the model's name or is one of its abilities."""
    line = " ".join(render.model_row(model)).lower()
    return all(word.lower() in line for word in words)


def show(models: list[Model], *, as_json: bool) -> None:
    """One line a model: JSON, a table on a terminal, or columns separated by tabs."""
    if as_json:
        click.echo("".join(_json_line(model) for model in models), nl=False)
    elif sys.stdout.isatty():
        from fwd_cli.console import console_on
        from fwd_cli.tables import model_table

        console = console_on(sys.stdout)
        console.print(model_table(models, console.width))
    else:
        for model in models:
            click.echo("\t".join(render.model_row(model)))


def _json_line(model: Model) -> str:
    return render.as_json(model.to_dict())
