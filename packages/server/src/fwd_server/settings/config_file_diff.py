"""What another ``fwd.toml`` would change: the names of tables and values, as the file writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from fwd_server.settings.config_file_lines import show_path
from fwd_server.settings.config_file_schema import Config


def changed_paths(old: Config, new: Config) -> list[str]:
    """Each change with its sign: ``+ models.fast``, ``- providers.box``, ``~ models.smart.balance``.

    Values are not shown: they may be long, and some are where secrets are. A model or a provider that is new or gone
    is one line.
    """
    return [f"{sign} {show_path(path)}" for sign, path in _changes(_as_tables(old), _as_tables(new), ())]


def _as_tables(config: Config) -> dict[str, Any]:
    return attrs.asdict(config)


def _changes(old: Any, new: Any, path: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if old == new:
        return
    if not (isinstance(old, dict) and isinstance(new, dict)) or len(path) > 2:
        yield "~", path
        return
    for name in dict.fromkeys((*old, *new)):
        if name not in old:
            yield "+", (*path, name)
        elif name not in new:
            yield "-", (*path, name)
        else:
            yield from _changes(old[name], new[name], (*path, name))
