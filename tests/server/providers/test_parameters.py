"""Every parameter at every provider: what the documents say is what the codecs do."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"


def test_what_becomes_of_every_parameter_is_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passed, mapped, dropped or refused: a change of a codec shows in docs/providers.md (``nox -s docs``)."""
    monkeypatch.syspath_prepend(DOCS)
    parameters = importlib.import_module("parameters")
    assert parameters.tables() in (DOCS / "providers.md").read_text(encoding="utf-8")
