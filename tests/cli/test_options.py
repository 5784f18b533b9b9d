"""Where a value comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from fwd_cli.options import lookup


def test_the_environment_wins_over_dotenv_and_dotenv_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment, then .env in the working directory, then default."""
    assert lookup("FORWARDER_X", "default") == "default"
    Path(".env").write_text("FORWARDER_X=file\nFORWARDER_EMPTY=\n")
    assert lookup("FORWARDER_X", "default") == "file"
    assert lookup("FORWARDER_EMPTY") is None
    monkeypatch.setenv("FORWARDER_X", "environment")
    assert lookup("FORWARDER_X", "default") == "environment"
