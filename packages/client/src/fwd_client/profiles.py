"""Addresses and keys that `fwd login` stored, in `~/.config/fwd/config.toml`.

    profile = "work"                       # the one to use when nobody names another

    [profiles.work]
    url = "https://gateway.example"
    key = "fwd_..."
    model = "openai:gpt-5-mini"            # optional: the model of `fwd call` and `fwd chat`

This is a small part of TOML, read here because Python 3.10 has no TOML parser and this package imports nothing to be
configured: tables `[profiles.NAME]`, and one-line strings in single or double quotes. Anything else is an error that
names the line, so that a file is never half understood.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import field, frozen

from fwd_client._errors import ConfigurationError

DEFAULT_PROFILE: Final = "default"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TABLE: Final = re.compile(r"\[profiles\.([A-Za-z0-9_-]{1,64})\]")
# A basic string has the escapes of JSON, apart from \e and \UXXXXXXXX, which nobody needs here.
_ENTRY: Final = re.compile(r"""([A-Za-z0-9_-]+)\s*=\s*(?:("(?:[^"\\]|\\.)*")|'([^']*)')""")
_COMMENT: Final = re.compile(r"\s*(#.*)?")


@frozen
class Profile:
    """One stored gateway: its address, the key for it, and the model to ask when none is named."""

    name: str
    url: str = ""
    key: str = field(default="", repr=False)
    model: str = ""


@frozen
class Profiles:
    """Everything the file holds; `default` is the name of the profile to use when nobody names another."""

    by_name: Mapping[str, Profile] = field(factory=dict)
    default: str = DEFAULT_PROFILE

    def select(self, name: str | None, source: str = "profile=") -> Profile | None:
        """The profile of this name, or the default one; None without a name when there is no default one.

        Raises `ConfigurationError` for a name that is not in the file.
        """
        if name and name not in self.by_name:
            known = ", ".join(self.by_name) or "none"
            raise ConfigurationError(f"{source} is {name!r}; the stored profiles are: {known}.", hint=_LOGIN_HINT)
        # No default is no mistake: most programs have their address from elsewhere.
        return self.by_name.get(name or self.default)


_LOGIN_HINT: Final = "`fwd login URL --profile NAME` stores one."


def config_path(env: Mapping[str, str]) -> Path:
    """Where the profiles are stored: below XDG_CONFIG_HOME, else ~/.config (on Windows below APPDATA)."""
    folder = env.get("XDG_CONFIG_HOME") or (env.get("APPDATA") if sys.platform == "win32" else None)
    return (Path(folder) if folder else Path(os.path.expanduser("~")) / ".config") / "fwd" / "config.toml"


def load_profiles(path: Path) -> Profiles:
    """The stored profiles; none when there is no file. Raises `ConfigurationError` for one that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    # Nobody has logged in yet.
    except (FileNotFoundError, NotADirectoryError):
        return Profiles()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigurationError(f"{path} cannot be read: {reason}.", hint=_LOGIN_HINT) from error
    return parse_profiles(text, str(path))


def parse_profiles(text: str, source: str = "config.toml") -> Profiles:
    """Profiles from the text of the file. Raises `ConfigurationError` with the number of a line it cannot read."""
    tables: dict[str, dict[str, str]] = {"": {}}
    current = tables[""]
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        # Blank lines count as empty comments.
        if _COMMENT.fullmatch(stripped):
            continue
        if (table := _TABLE.match(stripped)) and _COMMENT.fullmatch(stripped[table.end() :]):
            current = tables.setdefault(table[1], {})
            continue
        entry = _ENTRY.match(stripped)
        if entry is None or not _COMMENT.fullmatch(stripped[entry.end() :]):
            raise ConfigurationError(
                f'{source}, line {number}: expected [profiles.NAME] or NAME = "text".', hint=_LOGIN_HINT
            )
        current[entry[1]] = _read_string(entry, source, number)
    default = tables.pop("").get("profile") or DEFAULT_PROFILE
    return Profiles({name: _make_profile(name, values) for name, values in tables.items()}, default)


def _read_string(entry: re.Match[str], source: str, number: int) -> str:
    if entry[2] is None:
        return entry[3]
    try:
        return str(json.loads(entry[2]))
    except ValueError:
        raise ConfigurationError(f"{source}, line {number}: an unknown escape in the text.") from None


def _make_profile(name: str, values: Mapping[str, str]) -> Profile:
    # Unknown names are left alone: a later version of fwd may store more than this one knows.
    return Profile(name, values.get("url", ""), values.get("key", ""), values.get("model", ""))


def format_profiles(profiles: Profiles) -> str:
    """The text of the file, which `parse_profiles` reads back."""
    lines = ["# Written by `fwd login`. It holds keys: keep it to yourself (mode 0600).", ""]
    lines += [f"profile = {json.dumps(profiles.default)}"]
    for profile in profiles.by_name.values():
        # json.dumps writes what TOML calls a basic string.
        values = {"url": profile.url, "key": profile.key, "model": profile.model}
        entries = [f"{name} = {json.dumps(value)}" for name, value in values.items() if value]
        lines += ["", f"[profiles.{profile.name}]", *entries]
    return "\n".join(lines) + "\n"


def check_profile_name(name: str) -> str:
    """The name, if it can be the name of a profile; else `ConfigurationError`."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"A profile cannot be named {name!r}: use letters, digits, _ and -, at most 64.")
    return name
