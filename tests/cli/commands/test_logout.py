"""``fwd logout``: what ``fwd login`` stored is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import KEY, Run

from fwd_cli.commands.logout import complete_profile

FILE = Path("config/fwd/config.toml")


@pytest.fixture
def stored(fwd: Run) -> Run:
    """Two gateways, the first of which is the default."""
    for name in ("default", "work"):
        fwd("login", f"https://{name}.example", "--key", f"{KEY}-{name}", "--profile", name, "--no-check")
    return fwd


def test_the_default_profile_goes_and_the_others_stay(stored: Run) -> None:
    """Its key is gone from the file, and no other profile takes its place unasked."""
    ended = stored("logout")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("Removed profile default (https://default.example) from ")
    assert "still valid" in ended.err
    assert f"{KEY}-default" not in FILE.read_text()
    assert f"{KEY}-work" in FILE.read_text()
    again = stored("logout")
    assert (again.code, FILE.exists()) == (2, True)
    assert "choose with --profile: work" in again.err


def test_a_profile_goes_by_its_name_and_the_file_with_the_last_one(stored: Run) -> None:
    """No empty file with a comment about keys is left behind."""
    assert stored("logout", "--profile", "work").code == 0
    assert [item.value for item in complete_profile(None, None, "d")] == ["default"]  # type: ignore[arg-type]
    assert stored("logout").code == 0
    assert not FILE.exists()
    assert "nothing is stored in" in stored("logout").err


def test_all_go_at_once(stored: Run) -> None:
    """Each is named."""
    ended = stored("logout", "--all")
    assert (ended.code, ended.err.count("Removed profile"), FILE.exists()) == (0, 2, False)


def test_a_name_that_is_not_stored_changes_nothing(stored: Run) -> None:
    """The names that are stored are said."""
    before = FILE.read_text()
    ended = stored("logout", "--profile", "home")
    assert (ended.code, FILE.read_text()) == (2, before)
    assert "default, work" in ended.err
    assert stored("logout", "--profile", "work", "--all").code == 2


def test_tab_says_nothing_about_a_broken_file(fwd: Run) -> None:
    """It completes nothing."""
    FILE.parent.mkdir(parents=True)
    FILE.write_text("profile = {")
    assert complete_profile(None, None, "") == []  # type: ignore[arg-type]
