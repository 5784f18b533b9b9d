"""Whether to colour."""

from __future__ import annotations

import os

import pytest

from fwd_cli import colour


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("NO_COLOR", "1", False),
        ("NO_COLOR", "", None),
        ("FORCE_COLOR", "1", True),
        ("FORCE_COLOR", "0", None),
        ("CLICOLOR_FORCE", "1", True),
        ("CLICOLOR", "0", False),
        ("CLICOLOR", "1", None),
    ],
)
def test_the_variables_people_set(monkeypatch: pytest.MonkeyPatch, name: str, value: str, wanted: bool | None) -> None:
    """Each does what its authors say."""
    monkeypatch.setenv(name, value)
    assert colour.wanted() is wanted


@pytest.mark.parametrize(("choice", "wanted"), [("auto", False), ("always", True), ("never", False)])
def test_the_flag_wins_over_the_variables(monkeypatch: pytest.MonkeyPatch, choice: str, wanted: bool) -> None:
    """--color is what was typed last."""
    monkeypatch.setattr(os, "environ", {"NO_COLOR": "1"})
    colour.choose(choice)
    assert colour.wanted() is wanted
