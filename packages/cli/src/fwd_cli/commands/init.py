"""``fwd init``: settings and a key from three questions."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from fwd_cli.envfile import with_values
from fwd_cli.errors import Failure, file_errors_explained
from fwd_cli.notices import lines_of
from fwd_cli.options import DEFAULT_KEYS_FILE, Documented, dotenv, examples, keys_file_option, lookup
from fwd_cli.prompts import usage_error
from fwd_server.values.provider_info import PROVIDER_TABLE, provider_info

DOTENV = Path(".env")
NONE = "none"
MODELS = {info.name: info.starter_model for info in PROVIDER_TABLE.values() if info.starter_model}
"""Providers that can be chosen, each with its default model: a small one, so that trying costs little."""

NEXT = """
Next:
  fwd run-server    in this directory
  fwd chat          in the same directory, in a second terminal
  fwd doctor        if something does not work"""


@click.command(
    name="init",
    epilog=examples(
        "fwd init",
        "fwd init --provider none                              # echo answers: no provider key needed",
        "printenv MY_KEY | fwd init --provider openai --api-key - --model gpt-5-mini",
    ),
)
@click.option(
    "--provider",
    cls=Documented,
    type=click.Choice([*MODELS, NONE]),
    show_default="asked, else none",
    help="First provider; with none the built-in echo answers.",
)
@click.option(
    "--api-key",
    cls=Documented,
    metavar="KEY",
    show_default="asked, else the provider's variable",
    help="Your key for the provider; - reads it from standard input. A key on the command line is visible to others.",
)
@click.option(
    "--model",
    "-m",
    cls=Documented,
    metavar="NAME",
    show_default="asked, else a small one",
    help="Model of calls that name none.",
)
@click.option("--force", is_flag=True, help="Replace values that are already in .env.")
@keys_file_option
def command(provider: str | None, api_key: str | None, model: str | None, force: bool, keys_file: Path) -> None:
    """Set up a gateway here: three questions, .env and a key.

    On a terminal it asks for what no option sets; elsewhere it uses the environment or the default. Only you can read
    .env. Values in it are kept, unless --force is given.
    """
    asking = sys.stdin.isatty()
    if asking and provider is None:
        click.echo("Three questions; press Enter for the default in brackets.\n", err=True)
    # Without a terminal nothing is asked: scripts get echo, which always works.
    provider = provider or (_ask_provider() if asking else NONE)
    given = _ask_key(provider, asking) if api_key is None else _read_key(api_key)
    model = model or (_ask_model(provider) if asking else MODELS.get(provider))
    values = {**settings(provider, given, model, _now("PROVIDERS_PRIORITY")), **_place(keys_file)}
    new = _checked(values, dotenv(DOTENV), force=force)
    own = _own_key(keys_file)
    _write_settings({**new, **own})
    _say(_written(new, own, keys_file), values["PROVIDERS_PRIORITY"].partition(",")[0])


def settings(provider: str, key: str | None, model: str | None, priority: str) -> dict[str, str]:
    """What ``.env`` must say so that ``provider`` answers calls that name no model; ``priority`` is the list so far."""
    listed = [entry.strip() for entry in priority.split(",") if entry.strip()]
    if provider == NONE:
        return {"PROVIDERS_PRIORITY": ",".join(listed) or "echo"}
    real = [
        entry for entry in listed if not provider_info(entry).built_in
    ]  # what echo says is no stand-in for a model's answer
    values = {
        f"{provider.upper()}_API_KEY": key or "",
        f"{provider.upper()}_MODEL": model or "",
        "PROVIDERS_PRIORITY": ",".join(dict.fromkeys([*real, provider])),
    }
    return {name: value for name, value in values.items() if value}


def _now(name: str) -> str:
    return lookup(name) or ""


def _ask_provider() -> str:
    question = "1. Which provider do you have a key for?\n  "
    return str(click.prompt(question, type=click.Choice([*MODELS, NONE]), default=NONE, err=True))


def _ask_key(provider: str, asking: bool) -> str | None:
    """The provider's key; None where none is needed, or where one is set already."""
    variable = f"{provider.upper()}_API_KEY"
    if provider == NONE or not PROVIDER_TABLE[provider].key_required or _now(variable):
        return None
    if not asking:
        raise usage_error(f"{provider} needs a key: set {variable}, or pipe it in with --api-key -")
    return str(click.prompt(f"2. Your {variable} (not shown)", hide_input=True, err=True)).strip()


def _read_key(option: str) -> str:
    key = sys.stdin.readline().strip() if option == "-" else option.strip()
    if not key:
        raise usage_error("there is no key in --api-key")
    return key


def _ask_model(provider: str) -> str | None:
    if provider == NONE:
        return None
    return str(click.prompt("3. Model of calls that name none", default=MODELS[provider], err=True))


def _place(keys_file: Path) -> dict[str, str]:
    """The keys file, if the server would not look there by itself."""
    return {} if str(keys_file) == DEFAULT_KEYS_FILE else {"FORWARDER_KEYS_FILE": str(keys_file)}


def _checked(values: Mapping[str, str], there: Mapping[str, str], *, force: bool) -> dict[str, str]:
    """The values that are new. Raises :class:`Failure` when one would replace another and nobody asked for that."""
    # The list of providers grows by design, so a longer one replaces nothing.
    other = [name for name, value in values.items() if there.get(name, value) != value and name != "PROVIDERS_PRIORITY"]
    if other and not force:
        raise Failure("nothing was written", f".env has another {' and '.join(other)}", "again with --force")
    return {name: value for name, value in values.items() if there.get(name) != value}


def _own_key(keys_file: Path) -> dict[str, str]:
    """A new key for calls from here, stored for the gateway; nothing when there is one."""
    if _now("FORWARDER_KEY"):
        return {}
    from fwd_cli.commands.generate_key import new_key, used_names

    # A second .env next to the same keys file is no mistake: its key gets a name of its own.
    used = used_names(keys_file)
    names = ("init", *(f"init-{number}" for number in range(2, len(used) + 3)))
    return {"FORWARDER_KEY": new_key(keys_file, name=next(name for name in names if name not in used))}


def _write_settings(values: Mapping[str, str]) -> None:
    """Add the values to ``.env``, in one step; afterwards it is its owner's alone."""
    from fwd_server.store.atomic import replace

    with file_errors_explained(".env cannot be written", "fwd init in a directory of yours"):
        before = DOTENV.read_text(encoding="utf-8") if DOTENV.exists() else ""
        # Before the key is in it, not after.
        if before and os.name != "nt":
            DOTENV.chmod(0o600)
        replace(DOTENV, with_values(before, values).encode())


def _written(new: Iterable[str], own: Mapping[str, str], keys_file: Path) -> list[str]:
    """What was written where: the settings' names, and the key for calls from here if there was none."""
    parts = (", ".join(new), *(f"{name} for your own calls" for name in own))
    names = ", and ".join(filter(None, parts)) or "nothing new"
    return [f".env: {names}. Only you can read it.", *(f"{keys_file}: the key, for the gateway." for _ in own)]


def _say(written: Sequence[str], first: str) -> None:
    """What was written, and what to do now."""
    # Whoever tries it without a key should not take the echo for a model.
    answers = "echo, which repeats the message" if provider_info(first).built_in else first
    click.echo(err=True)
    for text in (*written, f"Calls that name no model are answered by {answers}."):
        click.echo("\n".join(lines_of(text)), err=True)
    click.echo(NEXT, err=True)
