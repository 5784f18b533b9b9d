"""fwd-server: a small, exact, self-hosted gateway for large language models.

For embedders: ``build_app(load_settings({}, os.environ).settings).application`` is a Tornado application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fwd_server._version import __version__

if TYPE_CHECKING:
    from fwd_server.app import build_app
    from fwd_server.settings import Settings, load_settings
    from fwd_server.values.errors import GatewayError

__all__ = ["GatewayError", "Settings", "__version__", "build_app", "load_settings"]

_HOMES = {
    "GatewayError": ("fwd_server.values.errors", "GatewayError"),
    "Settings": ("fwd_server.settings", "Settings"),
    "build_app": ("fwd_server.app", "build_app"),
    "load_settings": ("fwd_server.settings", "load_settings"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line asks for the version alone."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
