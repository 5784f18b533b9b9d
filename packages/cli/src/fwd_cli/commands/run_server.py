"""``fwd run-server``: the gateway itself, with its settings as flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from fwd_cli.options import Documented, examples


class _Setting(Documented):
    """A flag over one of the server's settings: help shows the variable, but only the server reads it.

    The server looks into the environment and ``.env`` itself and names the source of a bad value in its error; were the
    variable read here too, every value would seem to come from a flag.
    """

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        return None


def _setting(flag: str, variable: str, default: str, text: str, **attrs: Any) -> Callable[..., Any]:
    """An option named after its variable: what is given is handed to the server under that name."""
    return click.option(
        flag, variable, cls=_Setting, envvar=variable, show_envvar=True, show_default=default, help=text, **attrs
    )


@click.command(
    name="run-server",
    epilog=examples(
        "fwd run-server                            # http://127.0.0.1:8000",
        "fwd run-server --port 9000 --log-level debug",
        "fwd run-server --check                    # show every setting and where it comes from, then exit",
    ),
)
@_setting("--host", "FWD_HOST", "127.0.0.1", "Address to listen on.")
@_setting("--port", "FWD_PORT", "8000", "Port to listen on; 0 takes a free one.")
@_setting("--workers", "FWD_WORKERS", "1", "Number of processes.")
@_setting("--log-level", "FWD_LOG_LEVEL", "info", "What to log: debug, info, warning, error.")
@_setting("--log-format", "FWD_LOG_FORMAT", "auto", "How to log: json, text, or auto (text on a terminal).")
@click.option("--reload", is_flag=True, help="Start again when the code changes, for development.")
@click.option("--check", is_flag=True, help="Show the effective settings, secrets masked, and exit 0 or 78.")
def command(reload: bool, check: bool, **settings: str | None) -> int:
    """Run the gateway.

    Settings come from flags, the environment, .env in the working directory and defaults, in this order.
    """
    from fwd_server.__main__ import run

    return start(run, settings, check=check, reload=reload)


def start(run: Callable[..., int], settings: Mapping[str, str | None], *, check: bool, reload: bool) -> int:
    """Hand the flags that were given to the server, under their variables' names; its exit code."""
    flags = {name: value for name, value in settings.items() if value is not None}
    return run(flags, check=check, reload=reload)
