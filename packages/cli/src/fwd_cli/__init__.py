"""The command ``fwd``: run the gateway, make keys, call models."""

from fwd_cli._version import __version__

__all__ = ["__version__"]
