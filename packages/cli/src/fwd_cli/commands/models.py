"""``fwd models``: what a key can reach, and what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fwd_cli import names, render
from fwd_cli.errors import no_key, sdk_errors_explained
from fwd_cli.options import connection_options, examples, json_option
from fwd_cli.tables import Rows

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
@connection_options
@json_option
def command(words: tuple[str, ...], key: str | None, server: str, as_json: bool) -> None:
    """List the models your key can reach.

    With WORDS only those that have every one of them in their name or abilities. Prices are US dollars for a million
    tokens in and out; what is not known is left empty. In a pipe the columns are separated by tabs; --json prints one
    object a line.
    """
    if not key:
        raise no_key(server)
    with sdk_errors_explained(server):
        from fwd_client import Client

        with Client(base_url=server, api_key=key) as client:
            every = list(client.models.list())
    names.remember(server, (model.id for model in every))
    found = [model for model in every if matches(model, words)]
    show(found, as_json=as_json)
    if not found:
        click.echo(nothing(words), err=True)


def nothing(words: tuple[str, ...]) -> str:
    """What to say about an empty list."""
    return f"No model has {' and '.join(words)}: fwd models lists them all." if words else "The gateway has no models."


def matches(model: Model, words: tuple[str, ...]) -> bool:
    """Whether every word stands in the model's name or is one of its abilities."""
    line = " ".join(render.model_row(model)).lower()
    return all(word.lower() in line for word in words)


def show(models: list[Model], *, as_json: bool) -> None:
    """One line a model: JSON, a table on a terminal, or columns separated by tabs."""
    if as_json:
        click.echo("".join(_json_line(model) for model in models), nl=False)
    else:
        Rows(render.MODEL_COLUMNS, [*map(render.model_row, models)], render.MODEL_NUMBERS).show()


def _json_line(model: Model) -> str:
    return render.as_json(model.to_dict())
