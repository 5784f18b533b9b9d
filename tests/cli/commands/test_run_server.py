"""``fwd run-server``: flags on their way to the server."""

from __future__ import annotations

import pytest
from tests.cli.conftest import Run

from fwd_cli.app import fwd as fwd_group
from fwd_cli.commands.run_server import command, start


def test_only_what_was_given_is_handed_on_under_its_variables_name() -> None:
    """The server reads the environment itself, so that its errors name the right source."""
    seen = []

    def run(flags: dict[str, str], *, check: bool, reload: bool) -> int:
        seen.append((flags, check, reload))
        return 78

    settings = {"FWD_PORT": "9000", "FWD_HOST": None}
    assert start(run, settings, check=True, reload=False) == 78
    assert seen == [({"FWD_PORT": "9000"}, True, False)]


def test_the_environment_is_not_read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable shows in help but is not taken for a flag."""
    monkeypatch.setenv("FWD_PORT", "7777")
    context = command.make_context("run-server", ["--host", "::1"], parent=fwd_group.make_context("fwd", ["help"]))
    assert (context.params["FWD_PORT"], context.params["FWD_HOST"]) == (None, "::1")


def test_help_shows_variables_and_defaults(fwd: Run) -> None:
    """Every setting with both."""
    out = " ".join(fwd("run-server", "--help").out.split())
    assert "[env var: FWD_PORT; default: 8000]" in out


def test_check_shows_the_settings_and_ends(fwd: Run) -> None:
    """The server itself says what is in force; a value it cannot use is exit code 78."""
    assert "FWD_PORT" in fwd("run-server", "--check", "--port", "9001").out
    ended = fwd("run-server", "--check", "--port", "x")
    assert ended.code == 78
    assert "--port" in ended.err
