"""``fwd config schema``: the JSON Schema of ``fwd.toml``."""

from __future__ import annotations

import json

import click

from fwd_cli.options import examples


@click.command(
    name="schema",
    epilog=examples(
        "fwd config schema > fwd.schema.json",
        "fwd config schema | jq '.properties.models'",
        "fwd config schema | jq -r '.properties.settings.properties | keys[]'",
    ),
)
def command() -> None:
    """Print the JSON Schema of fwd.toml.

    Editors complete names and mark mistakes with it: put #:schema ./fwd.schema.json into the first line of fwd.toml.
    """
    from fwd_server.settings.config_file_jsonschema import config_schema

    click.echo(json.dumps(config_schema(), indent=2))
