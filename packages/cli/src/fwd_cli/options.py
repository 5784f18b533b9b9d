"""What several commands share: where a value comes from, and how its option shows that in help.

A value is looked for in the flag, then the environment, then ``.env`` in the working directory, then the default.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem
    from click.types import OptionHelpExtra

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_KEYS_FILE = "keys/forwarder_api_keys.txt"


def dotenv(path: Path) -> Mapping[str, str]:
    """The names and values of a ``.env`` file; empty when there is none."""
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path).items() if value}


def lookup(name: str, default: str | None = None) -> str | None:
    """A value by its name: from the environment, from ``.env`` in the working directory, or the default."""
    return os.environ.get(name) or dotenv(Path(".env")).get(name) or default


def from_dotenv(name: str, default: str | None = None) -> Callable[[], str | None]:
    """The default of an option whose flag and variable are not set: asked for only when the command runs."""
    return functools.partial(lookup, name, default)


class Documented(click.Option):
    """An option whose help shows the default as it is written, not as something computed."""

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        """As click does it, without the brackets around a default given as text."""
        extra = super().get_help_extra(ctx)
        extra["default"] = str(self.show_default)
        return extra


server_option = click.option(
    "--server",
    cls=Documented,
    metavar="URL",
    envvar="FORWARDER_URL",
    show_envvar=True,
    default=from_dotenv("FORWARDER_URL", DEFAULT_URL),
    show_default=DEFAULT_URL,
    help="Address of the gateway.",
)
key_option = click.option(
    "--key",
    "-k",
    cls=Documented,
    metavar="KEY",
    envvar="FORWARDER_KEY",
    show_envvar=True,
    default=from_dotenv("FORWARDER_KEY"),
    show_default="from .env",
    help="Your key for the gateway. A key on the command line shows up in ps: prefer the variable.",
)
keys_file_option = click.option(
    "--keys-file",
    cls=Documented,
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="FORWARDER_KEYS_FILE",
    show_envvar=True,
    default=from_dotenv("FORWARDER_KEYS_FILE", DEFAULT_KEYS_FILE),
    show_default=DEFAULT_KEYS_FILE,
    help="File with the keys of the gateway's callers.",
)


def _models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from fwd_cli.names import complete_model  # only Tab needs it, and it needs this module

    return complete_model(ctx, param, incomplete)


model_option = click.option(
    "--model",
    "-m",
    cls=Documented,
    metavar="NAME",
    show_default="the gateway's list, PROVIDERS_PRIORITY",
    shell_complete=_models,
    help="Model to ask.",
)
temp_option = click.option(
    "--temp",
    "-t",
    cls=Documented,
    type=click.FloatRange(0, 2),
    metavar="NUMBER",
    show_default="the model's",
    help="Temperature.",
)
max_tok_option = click.option(
    "--max-tok",
    cls=Documented,
    type=click.IntRange(min=1),
    metavar="NUMBER",
    show_default="the model's",
    help="Most tokens to answer with.",
)
system_option = click.option(
    "--system", "-s", cls=Documented, metavar="TEXT", show_default="none", help="System message."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def examples(*lines: str) -> str:
    """An epilog of examples, one a line, kept as written."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
