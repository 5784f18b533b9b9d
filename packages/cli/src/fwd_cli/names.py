"""Names that Tab completes: models from a cache file, keys from the keys file. The network is never asked.

Whatever command sees the models of a gateway leaves their names in the cache for the next Tab.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from fwd_cli import folders
from fwd_cli.errors import DEFAULT_URL, Failure
from fwd_cli.options import DEFAULT_KEYS_FILE, lookup, stored_profile

PREFIXES = ("openai:", "anthropic:", "google:", "groq:", "openrouter:", "ollama:", "echo:")
MOST_GATEWAYS = 20


def remember(server: str, models: Iterable[str]) -> None:
    """Keep the names of a gateway's models; a disk that does not want them is no reason to fail."""
    path = _cache_path()
    known = folders.read_json(path)
    others = known if isinstance(known, dict) else {}
    # Taken out first, so that the gateway used last is the last in the file.
    others.pop(server.rstrip("/"), None)
    # A file that grows for ever would slow every Tab down.
    kept = dict(list(others.items())[-MOST_GATEWAYS + 1 :])
    with contextlib.suppress(OSError):
        folders.write_json(path, {**kept, server.rstrip("/"): sorted(models)})


def models_of(server: str) -> list[str]:
    """The names kept for a gateway; without any, the prefixes every gateway knows."""
    known = folders.read_json(_cache_path())
    names = known.get(server.rstrip("/")) if isinstance(known, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else [*PREFIXES]


def _cache_path() -> Path:
    return folders.cache() / "models.json"


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The models of the gateway in use that begin so, with or without the provider's prefix."""
    models = models_of(_server_in_use(ctx))
    items = _matching_items(models, incomplete)
    if items or not incomplete:
        return items
    # gpt-5<Tab> is what people type, and the gateway knows most models without their prefix, too.
    return _matching_items((name.partition(":")[2] for name in models), incomplete)


def _server_in_use(ctx: click.Context) -> str:
    """The address that the command would use; a profile that cannot be read is no reason to complete nothing."""
    server = ctx.params.get("server") or lookup("FORWARDER_URL")
    if not server:
        with contextlib.suppress(Failure):
            profile = stored_profile(ctx.params.get("profile") or lookup("FWD_PROFILE"))
            server = profile.url if profile else ""
    return server or DEFAULT_URL


def complete_key(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names and ids of the keys in the keys file that begin so."""
    from fwd_server.store.key_file import read_keys

    path = ctx.params.get("keys_file") or lookup("FORWARDER_KEYS_FILE", DEFAULT_KEYS_FILE) or DEFAULT_KEYS_FILE
    try:
        keys = read_keys(Path(path))
    # Without a file there is nothing to complete, and Tab is no place for an error.
    except OSError:
        return []
    return _matching_items([name for key in keys for name in (key.name, key.id) if name], incomplete)


def _matching_items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete)]
