"""``fwd import``: configurations of other gateways."""

from __future__ import annotations

from pathlib import Path

import click

from fwd_cli.errors import ExitCode, Failure, file_errors_explained
from fwd_cli.options import examples
from fwd_cli.terminal import clean_line


@click.group(
    name="import",
    epilog=examples(
        "fwd import litellm config.yaml > fwd.toml",
        "fwd import litellm config.yaml --strict > fwd.toml",
        "fwd import litellm config.yaml > fwd.toml && fwd check",
    ),
)
def command() -> None:
    """Translate the configuration of another gateway into fwd.toml."""


@command.command(
    name="litellm",
    epilog=examples(
        "fwd import litellm config.yaml > fwd.toml",
        "fwd import litellm config.yaml --strict > fwd.toml",
        "fwd import litellm config.yaml 2> report.txt > fwd.toml",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--strict", is_flag=True, help="End with exit code 1 if something is not carried over.")
def litellm(file: Path, strict: bool) -> int:
    """Translate a config.yaml of LiteLLM's proxy.

    fwd.toml goes to standard output, a report to standard error: what is not carried over, each with its place, and
    what is left to do. No key is copied: a literal one becomes a reference to a variable.
    """
    from fwd_cli.litellm_import import translate

    translated = translate(_read_yaml(file))
    # Alone on standard output, to be redirected into the file.
    click.echo(translated.toml, nl=False)
    for title, notes in (("not carried over", translated.lost), ("to do", translated.todo)):
        for note in notes:
            click.echo(clean_line(f"{title}: {note.path}: {note.text}"), err=True)
    return ExitCode.ERROR if strict and translated.lost else ExitCode.OK


def _read_yaml(file: Path) -> dict[str, object]:
    """The document. Raises :class:`Failure` for one that is no YAML, or where YAML cannot be read."""
    try:
        # An extra: nobody else needs YAML, and the server never does.
        import yaml
    except ImportError as error:
        extra = "pip install 'fwd-cli[import]'"
        raise Failure("YAML cannot be read", "the package PyYAML is not installed", extra) from error
    with file_errors_explained(f"{file} cannot be read", "the path of a config.yaml"):
        text = file.read_text(encoding="utf-8")
    try:
        # Safe: a tag in the file must not make an object.
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = str(error).splitlines()[0]
        raise Failure(f"{file} is not YAML", where, "the config.yaml of LiteLLM's proxy") from error
    if not isinstance(document, dict):
        raise Failure(f"{file} is not a configuration", "it contains no table", "the config.yaml of LiteLLM's proxy")
    return document
