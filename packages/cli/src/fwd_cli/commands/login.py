"""``fwd login``: a gateway to use from now on, with its key."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from fwd_cli import names
from fwd_cli.errors import sdk_errors_explained
from fwd_cli.options import Documented, dotenv, examples, is_same_server
from fwd_cli.profile_file import add_profile
from fwd_cli.prompts import is_piped, usage_error


@click.command(
    name="login",
    epilog=examples(
        "fwd login https://gateway.example",
        "fwd login https://gateway.example --profile work --model openai:gpt-5-mini",
        "printenv KEY | fwd login https://gateway.example --key -",
    ),
)
@click.argument("url")
@click.option(
    "--key",
    "-k",
    cls=Documented,
    metavar="KEY",
    show_default="asked for",
    help="Your key; - reads it from standard input. A key on the command line is visible to other users.",
)
@click.option("--profile", metavar="NAME", default="default", show_default=True, help="Name to store it under.")
@click.option("--model", "-m", metavar="NAME", help="Model of calls that name none.")
@click.option("--no-check", is_flag=True, help="Store it without asking the gateway whether the key works.")
def command(url: str, key: str | None, profile: str, model: str | None, no_check: bool) -> None:
    """Store the address of a gateway and your key for it.

    fwd call, fwd chat, fwd models, fwd doctor and the SDK use it from then on, wherever no flag, variable or .env says
    otherwise. The key is sent to this address only. It is kept in ~/.config/fwd/config.toml (or XDG_CONFIG_HOME), which
    only you can read. The first gateway becomes the default; --profile chooses another one, here and in other commands.
    fwd logout removes it again.
    """
    from fwd_client import Client
    from fwd_client.profiles import Profile, check_profile_name

    with sdk_errors_explained(url):
        check_profile_name(profile)
        secret = _read_key(key)
        with Client(base_url=url, api_key=secret, max_retries=0, timeout=20) as client:
            address = client.base_url
            # Listing the models proves the key, costs nothing, and fills Tab's cache.
            reached = [] if no_check else [model.id for model in client.models.list()]
    if reached:
        names.remember(address, reached)
    path, is_default = add_profile(Profile(profile, address, secret, model or ""))
    checked = "not checked" if no_check else f"it can use {len(reached)} model{'' if len(reached) == 1 else 's'}"
    click.echo(f"Stored in {path}: {address}, profile {profile}; {checked}.", err=True)
    _print_next(address, profile, is_default=is_default)


def _read_key(option: str | None) -> str:
    """The key: from the option, from standard input, or asked for on the terminal."""
    # In a pipe nobody can be asked.
    if option == "-" or (option is None and is_piped(sys.stdin)):
        key = sys.stdin.readline().strip()
    elif option is None:
        if not sys.stdin.isatty():
            raise usage_error("there is no terminal to ask for the key on: pipe it in with --key -")
        key = str(click.prompt("Your key for the gateway (not shown)", hide_input=True, err=True)).strip()
    else:
        key = option.strip()
    if not key:
        raise usage_error("the key is empty")
    return key


def _print_next(address: str, profile: str, *, is_default: bool) -> None:
    """What to do next, and what would keep this profile from being used."""
    option = "" if is_default else f" --profile {profile}"
    click.echo(f"\nNext:\n  fwd chat{option}", err=True)
    for source, values in (("the environment", os.environ), (".env", dotenv(Path(".env")))):
        other = values.get("FORWARDER_URL")
        if other and not is_same_server(other, address):
            click.echo(f"\nFORWARDER_URL in {source} is {other} and wins over the profile.", err=True)
