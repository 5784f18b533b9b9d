"""What is known of Gemini's models, and guessed from their names."""

from __future__ import annotations

import pytest

from fwd_server.providers.google.traits import traits_of


@pytest.mark.parametrize(
    ("model", "newer", "thinking"),
    [
        ("gemini-3.8-flash", True, "level"),
        ("gemini-7-unheard-of", True, "level"),
        ("gemini-next-latest", True, "level"),
        ("gemini-2.5-flash-preview-09-2025", False, "budget"),
        ("gemini-2.0-flash", False, None),
        ("gemma-3-27b-it", False, None),
        ("tuned", False, None),
    ],
)
def test_a_model_is_judged_by_the_table_or_by_its_name(model: str, newer: bool, thinking: str | None) -> None:
    traits = traits_of(model)
    assert (traits.newer, traits.thinking) == (newer, thinking)
