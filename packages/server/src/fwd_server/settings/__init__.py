"""Settings from flags, the environment, ``.env`` and defaults, in this order.

``load`` is pure: it is handed mappings and text. Every problem is found in one go, and each says where the value
came from, what was found and what is allowed.
"""

from __future__ import annotations

from fwd_server.settings.loading import Loaded, SettingRow, config_path, describe, load
from fwd_server.settings.problems import Problem, SettingsError
from fwd_server.settings.schema import (
    ABOUT,
    KNOWN,
    ProviderSettings,
    Settings,
    Variable,
    documented,
    example,
    timeout_variables,
)
from fwd_server.values.provider_info import stem_of

__all__ = [
    "ABOUT",
    "KNOWN",
    "Loaded",
    "Problem",
    "ProviderSettings",
    "SettingRow",
    "Settings",
    "SettingsError",
    "Variable",
    "config_path",
    "describe",
    "documented",
    "example",
    "load",
    "stem_of",
    "timeout_variables",
]
