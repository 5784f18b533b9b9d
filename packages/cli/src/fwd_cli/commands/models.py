"""``fwd models``: what a key can use, and what is known about it."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

from fwd_cli import names, render
from fwd_cli.errors import no_key, sdk_errors_explained
from fwd_cli.notices import aside
from fwd_cli.options import connection_options, examples, json_option
from fwd_cli.tables import Rows

if TYPE_CHECKING:
    from fwd_client import Model


@click.command(
    name="models",
    epilog=examples(
        "fwd models",
        "fwd models openai vision          # those that have both words",
        "fwd models 'groq:*'",
        "fwd models --json | jq -r .id",
    ),
)
@click.argument("words", nargs=-1)
@connection_options
@json_option
def command(words: tuple[str, ...], key: str | None, server: str, as_json: bool) -> None:
    """List the models your key can use.

    With WORDS, only those that have all of them in their name or abilities; * in a word stands for any text. Prices are
    US dollars per million tokens in and out; unknown values are empty. On a terminal abilities are letters, and a mark
    says who knows the model: the provider, the built-in table, or the settings. A pipe gets words, separated by tabs;
    --json prints one object per line.
    """
    if not key:
        raise no_key(server)
    with sdk_errors_explained(server):
        from fwd_client import Client

        with Client(base_url=server, api_key=key) as client:
            every = list(client.models.list())
    names.remember(server, (model.id for model in every))
    selected = [model for model in every if matches(model, words)]
    if selected:
        show(selected, as_json=as_json)
    else:
        click.echo(empty_text(words), err=True)


def empty_text(words: tuple[str, ...]) -> str:
    """The sentence for an empty list."""
    return f"No model has {' and '.join(words)}: fwd models lists them all." if words else "Your key can use no model."


def matches(model: Model, words: tuple[str, ...]) -> bool:
    """Whether every word is part of the model's name or abilities; ``openai:*`` is a pattern for the whole name."""
    line = " ".join(render.model_row(model)).lower()
    # People know patterns from keys and fwd.toml, and "openai:*" is in no name as it stands.
    return all(fnmatchcase(model.id.lower(), word) if "*" in word else word in line for word in map(str.lower, words))


def show(models: list[Model], *, as_json: bool) -> None:
    """One line per model: JSON, a table on a terminal, or columns separated by tabs."""
    if as_json:
        click.echo("".join(_json_line(model) for model in models), nl=False)
    elif sys.stdout.isatty():
        Rows(render.COMPACT_COLUMNS, [*map(render.compact_model_row, models)], render.MODEL_NUMBERS).show()
        aside(render.LEGEND)
    else:
        Rows(render.MODEL_COLUMNS, [*map(render.model_row, models)], render.MODEL_NUMBERS).show()


def _json_line(model: Model) -> str:
    return render.as_json(model.to_dict())
