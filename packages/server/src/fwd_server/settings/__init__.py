"""Settings from flags, the environment, ``.env`` and defaults, in this order.

``load`` is pure: it is handed mappings and text. Every problem is found in one go, and each says where the value
came from, what was found and what is allowed.
"""

from __future__ import annotations

from fwd_server.settings.loading import LoadedSettings, SettingRow, config_path, describe_settings, load_settings
from fwd_server.settings.problems import SettingProblem, SettingsError
from fwd_server.settings.schema import (
    ABOUT,
    KNOWN,
    ProviderSettings,
    Settings,
    SettingVariable,
    documented_variables,
    example_dotenv,
    timeout_variables,
)
from fwd_server.values.provider_info import stem_of

__all__ = [
    "ABOUT",
    "KNOWN",
    "LoadedSettings",
    "ProviderSettings",
    "SettingProblem",
    "SettingRow",
    "SettingVariable",
    "Settings",
    "SettingsError",
    "config_path",
    "describe_settings",
    "documented_variables",
    "example_dotenv",
    "load_settings",
    "stem_of",
    "timeout_variables",
]
