"""``fwd logout``: forget a gateway and the key for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from fwd_cli.errors import sdk_errors_explained
from fwd_cli.options import examples
from fwd_cli.profile_file import remove_profiles
from fwd_cli.prompts import usage_error

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def complete_profile(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The stored names that begin so."""
    from click.shell_completion import CompletionItem

    from fwd_client import ConfigurationError
    from fwd_client.profiles import config_path, load_profiles

    try:
        known = load_profiles(config_path(os.environ)).by_name
    except ConfigurationError:  # Tab is no place for an error
        return []
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]


@click.command(
    name="logout",
    epilog=examples(
        "fwd logout                  # the default profile",
        "fwd logout --profile work",
        "fwd logout --all",
    ),
)
@click.option("--profile", metavar="NAME", shell_complete=complete_profile, help="Profile to remove.")
@click.option("--all", "everything", is_flag=True, help="Remove every stored profile.")
def command(profile: str | None, everything: bool) -> None:
    """Remove a gateway that fwd login stored, and your key for it.

    The key is only forgotten here: it stays valid until the gateway's operator revokes it.
    """
    from fwd_client.profiles import config_path, load_profiles

    if profile and everything:
        raise usage_error("--profile and --all are used one at a time")
    path = config_path(os.environ)
    with sdk_errors_explained(""):
        profiles = load_profiles(path)
        # A name that is not there is an error, with the names that are.
        chosen = profiles.by_name.values() if everything else [profiles.select(profile, "--profile")]
        gone = [one for one in chosen if one is not None]
        if not gone:
            known = ", ".join(profiles.by_name)
            advice = f"there is no default profile; choose with --profile: {known}"
            raise usage_error(advice if known else f"nothing is stored in {path}")
        remove_profiles({one.name for one in gone})
    for one in gone:
        click.echo(f"Removed profile {one.name} ({one.url}) from {path}. The key itself is still valid.", err=True)
