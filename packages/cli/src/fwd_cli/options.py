"""What several commands share: where a value comes from, and how its option shows that in help.

A value is looked for in the flag, the environment, ``.env`` in the working directory, the profile that ``fwd login``
stored, and the default, in this order. A profile named with ``--profile`` counts as a flag.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from fwd_cli.errors import DEFAULT_URL
from fwd_cli.parameters import read_parameters

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem
    from click.types import OptionHelpExtra

    from fwd_client.profiles import Profile

DEFAULT_KEYS_FILE = "keys/forwarder_api_keys.txt"
_PROFILE = "fwd_cli.profile"
_IS_NAMED = "fwd_cli.profile_is_named"
F = TypeVar("F", bound=Callable[..., Any])


def dotenv(path: Path) -> Mapping[str, str]:
    """The names and values of a ``.env`` file; empty when there is none."""
    if not path.is_file():
        return {}
    # Imported here: most commands run without a .env, and help must be quick.
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path).items() if value}


def lookup(name: str, default: str | None = None) -> str | None:
    """A value by its name: from the environment, from ``.env`` in the working directory, or the default."""
    # An empty variable counts as none: that is how compose files leave one out.
    return os.environ.get(name) or dotenv(Path(".env")).get(name) or default


def from_dotenv(name: str, default: str | None = None) -> Callable[[], str | None]:
    """The default of an option without flag and variable: looked up only when the command runs."""
    return functools.partial(lookup, name, default)


def stored_profile(name: str | None, source: str = "--profile") -> Profile | None:
    """The stored profile of this name, or the default one. Raises :class:`Failure` when it cannot be used."""
    from fwd_cli.errors import failure_of
    from fwd_client import ConfigurationError
    from fwd_client.profiles import config_path, load_profiles

    try:
        return load_profiles(config_path(os.environ)).select(name, source)
    except ConfigurationError as error:
        raise failure_of(error) from error


def _choose_profile(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Load the profile for the options that take their values from it."""
    if ctx.resilient_parsing:
        return value
    # Only a name on the command line was meant for this very call.
    is_flag = ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
    ctx.meta[_PROFILE] = stored_profile(value, "--profile" if is_flag else "FWD_PROFILE")
    ctx.meta[_IS_NAMED] = is_flag
    return value


def current_profile() -> Profile | None:
    """The profile of the running command: the one that was named, or the default one."""
    profile: Profile | None = click.get_current_context().meta.get(_PROFILE)
    return profile


def _from_profile(field: str) -> str:
    """A value of the profile in use; empty without one, and for a key that was stored for another address.

    The second matters: ``--server``, a variable, or a ``.env`` that came with somebody's repository could otherwise
    send a stored key to a host of its own choosing (contract S11).
    """
    profile, server = current_profile(), click.get_current_context().params.get("server") or ""
    if profile is None or (field == "key" and not is_same_server(profile.url, server)):
        return ""
    return str(getattr(profile, field))


def is_same_server(one: str, other: str) -> bool:
    """Whether two addresses are the same gateway: with or without ``/v1`` and slashes at the end."""

    def normal(url: str) -> str:
        return url.strip().rstrip("/").removesuffix("/v1").rstrip("/").lower()

    # People write the address with /v1, as OpenAI's SDK wants it, and without.
    return bool(one) and normal(one) == normal(other)


def _value_of(field: str, variable: str, default: str | None) -> Callable[[], str | None]:
    """The default of an option over a variable and a field of the profile."""

    def find() -> str | None:
        # A named profile comes before .env, the default one after it.
        named = click.get_current_context().meta.get(_IS_NAMED) and _from_profile(field)
        unset = dotenv(Path(".env")).get(variable) if variable else None
        return named or unset or _from_profile(field) or default

    return find


class Documented(click.Option):
    """An option whose help shows the default as it is written, not as something computed."""

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        """As click does it, without the brackets around a default given as text."""
        extra = super().get_help_extra(ctx)
        extra["default"] = str(self.show_default)
        return extra


class _Stored(Documented):
    """An option over a field of the profile, which wins over the variable when it was named with ``--profile``."""

    field = ""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The variable, unless a named profile has the value."""
        # Said on the command line, the profile is more exact than a variable of the whole shell.
        if ctx.meta.get(_IS_NAMED) and _from_profile(self.field):
            return None
        return super().resolve_envvar_value(ctx)


class _StoredUrl(_Stored):
    field = "url"


class _StoredKey(_Stored):
    field = "key"


profile_option = click.option(
    "--profile",
    cls=Documented,
    metavar="NAME",
    envvar="FWD_PROFILE",
    show_envvar=True,
    default=from_dotenv("FWD_PROFILE"),
    show_default="the one fwd login made the default",
    is_eager=True,
    expose_value=False,
    callback=_choose_profile,
    help="Stored gateway to use: its address, key and model.",
)
server_option = click.option(
    "--server",
    cls=_StoredUrl,
    metavar="URL",
    envvar="FORWARDER_URL",
    show_envvar=True,
    default=_value_of("url", "FORWARDER_URL", DEFAULT_URL),
    show_default=f"the profile's, else {DEFAULT_URL}",
    is_eager=True,  # before the key, which depends on it
    help="Address of the gateway.",
)
key_option = click.option(
    "--key",
    "-k",
    cls=_StoredKey,
    metavar="KEY",
    envvar="FORWARDER_KEY",
    show_envvar=True,
    default=_value_of("key", "FORWARDER_KEY", None),
    show_default="from .env, else the profile's",
    help="Your key for the gateway. A key on the command line is visible to other users: prefer the variable.",
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


def _complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from fwd_cli.names import complete_model  # only Tab needs it, and it needs this module

    return complete_model(ctx, param, incomplete)


model_option = click.option(
    "--model",
    "-m",
    cls=Documented,
    metavar="NAME",
    default=_value_of("model", "", None),
    show_default="the profile's, else the gateway's PROVIDERS_PRIORITY",
    shell_complete=_complete_models,
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
    help="Maximum length of the answer, in tokens.",
)
system_option = click.option(
    "--system", "-s", cls=Documented, metavar="TEXT", show_default="none", help="System message."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Hide the line about model, times and tokens.")
thinking_option = click.option(
    "--thinking/--no-thinking", default=True, help="Show what a model thinks, dimmed, on a terminal. On by default."
)
timeout_option = click.option(
    "--timeout",
    cls=Documented,
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    show_default="600",
    help="Give up after this time, retries included.",
)
retries_option = click.option(
    "--retries",
    cls=Documented,
    type=click.IntRange(min=0),
    metavar="NUMBER",
    show_default="2",
    help="Maximum number of retries of a failed call.",
)
approve_option = click.option("--approve", is_flag=True, help="Ask before each function of --tools runs.")
no_fallback_option = click.option(
    "--no-fallback", is_flag=True, help="Use the named model only, even if its provider fails."
)
strict_option = click.option(
    "--strict", is_flag=True, help="Refuse parameters that the provider does not support, instead of dropping them."
)


def _read_parameters(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    return {} if ctx.resilient_parsing else read_parameters(values)


parameter_option = click.option(
    "-o",
    "--option",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_read_parameters,
    help="Any parameter of the API, such as -o reasoning_effort=low; unknown ones are passed to the provider "
    "unchanged. Repeatable.",
)


def combined(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in this order."""

    def decorate(function: F) -> F:
        # Decorators apply from the bottom, and help lists options from the top.
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


connection_options = combined(profile_option, key_option, server_option)
"""Which gateway, and with which key."""

call_options = combined(
    model_option,
    connection_options,
    temp_option,
    max_tok_option,
    system_option,
    parameter_option,
    timeout_option,
    retries_option,
    no_fallback_option,
    strict_option,
    thinking_option,
    quiet_option,
)
"""Everything that ``fwd call`` and ``fwd chat`` have in common."""


def call_parameters(
    temp: float | None, max_tok: int | None, parameters: Mapping[str, Any], *, no_fallback: bool, strict: bool
) -> dict[str, Any]:
    """The arguments of the SDK for these options; a parameter of -o wins over an option of its own."""
    # Left out otherwise: the gateway's own setting decides.
    limits = {"fallback": False} if no_fallback else {}
    return {"temperature": temp, "max_tokens": max_tok, "strict": strict, **limits, **parameters}


def examples(*lines: str) -> str:
    """An epilog of examples, one per line, kept as written."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
