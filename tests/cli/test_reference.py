"""The document that is made from the code."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from fwd_cli.app import COMMANDS
from fwd_cli.reference import reference

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_document_is_what_the_code_says() -> None:
    """Made again with `python -m fwd_cli.reference > docs/cli.md`."""
    assert DOCUMENT.read_text(encoding="utf-8") == reference()


@pytest.mark.parametrize("name", [entry.name for entry in COMMANDS])
def test_every_command_is_in_it(name: str) -> None:
    """With its usage and its examples."""
    _, _, after = reference().partition(f"## `fwd {name}`\n")
    section, _, _ = after.partition("\n## ")
    assert f"Usage: fwd {name}" in section
    assert "Examples:" in section


def test_it_is_printed_by_the_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to make the document again."""
    monkeypatch.delitem(sys.modules, "fwd_cli.reference")
    runpy.run_module("fwd_cli.reference", run_name="__main__")
    assert capsys.readouterr().out == reference()
