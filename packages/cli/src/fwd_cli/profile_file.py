"""The file with the stored profiles, changed in one step: ``fwd login`` adds to it, ``fwd logout`` takes away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fwd_cli.errors import file_errors_explained

if TYPE_CHECKING:
    from fwd_client.profiles import Profile, Profiles


def add_profile(profile: Profile) -> tuple[Path, bool]:
    """Add a profile to the file, or replace it; where the file is, and whether this is the default profile.

    Raises :class:`Failure` for a file that cannot be written, and ``ConfigurationError`` for one that cannot be read.
    """
    from fwd_client.profiles import Profiles, config_path, load_profiles

    path = config_path(os.environ)
    before = load_profiles(path)
    # The first profile becomes the default one; later ones do not take its place.
    default = before.default if before.default in before.by_name else profile.name
    with _explained(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, Profiles({**before.by_name, profile.name: profile}, default))
    return path, default == profile.name


def remove_profiles(names: set[str]) -> Path:
    """Take profiles out of the file, which is removed with its last one; where it is. Raises as ``add_profile``."""
    from fwd_client.profiles import Profiles, config_path, load_profiles

    path = config_path(os.environ)
    before = load_profiles(path)
    left = {name: profile for name, profile in before.by_name.items() if name not in names}
    with _explained(path):
        if left:
            # The name of the default stays, even when it is gone: to pick another would send calls somewhere else.
            _write(path, Profiles(left, before.default))
        else:
            path.unlink(missing_ok=True)
    return path


def _write(path: Path, profiles: Profiles) -> None:
    from fwd_client.profiles import format_profiles
    from fwd_server.store.atomic import replace

    # In one step and 0600 from the first byte on: the file holds keys.
    replace(path, format_profiles(profiles).encode())


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    with file_errors_explained(f"{path} cannot be written", "the same with XDG_CONFIG_HOME set to a folder of yours"):
        yield
