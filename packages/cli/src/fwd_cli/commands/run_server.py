"""``fwd run-server``: the gateway itself, with its settings as flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click

from fwd_cli.options import Documented, examples
from fwd_server.settings import SettingVariable, documented_variables


class _Setting(Documented):
    """A flag over one of the server's settings: help shows the variable, but only the server reads it.

    The server looks into the environment and ``.env`` itself and names the source of a bad value in its error; were
    the variable read here too, every value would seem to come from a flag.
    """

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        return None


def _setting(variable: SettingVariable) -> click.Option:
    """A setting as an option; what is given is handed to the server under the variable's name."""
    return _Setting(
        [variable.option, variable.name],
        metavar=variable.option.removeprefix("--").rpartition("-")[2].upper(),
        envvar=variable.name,
        show_envvar=True,
        show_default=variable.display_text(variable.default),
        help=variable.help,
    )


@click.command(
    name="run-server",
    params=[_setting(variable) for variable in documented_variables() if variable.option],
    epilog=examples(
        "fwd run-server                            # http://127.0.0.1:8000",
        "fwd run-server --port 9000 --log-level debug",
        "fwd run-server --check                    # show every setting and where it comes from, then exit",
    ),
)
@click.option("--reload", is_flag=True, help="Restart when the code changes, for development.")
@click.option("--check", is_flag=True, help="Show the effective settings, secrets masked, and exit 0 or 78.")
def command(reload: bool, check: bool, **settings: str | None) -> int:
    """Run the gateway.

    Settings come from flags, the environment, .env in the working directory and defaults, in this order; fwd help env
    lists them all.
    """
    from fwd_server.process.main import run_gateway

    return start(run_gateway, settings, check=check, reload=reload)


def start(run: Callable[..., int], settings: Mapping[str, str | None], *, check: bool, reload: bool) -> int:
    """Hand the flags that were given to the server, under their variables' names; its exit code."""
    # What was not given is left to the server, which names the source of every value.
    flags = {name: value for name, value in settings.items() if value is not None}
    return run(flags, check=check, reload=reload)
