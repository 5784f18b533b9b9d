"""What each model takes."""

from __future__ import annotations

import pytest

from fwd_server.providers import model_catalog as models
from fwd_server.providers.anthropic import traits


@pytest.mark.parametrize(
    ("model", "thinking", "off"),
    [
        ("claude-haiku-4-5", "enabled", ""),
        ("claude-opus-4-6", "adaptive", ""),
        ("claude-opus-4-8", "adaptive", ""),
        ("claude-sonnet-5", "adaptive", "disabled"),
        ("claude-sonnet-5-5", "adaptive", "between_tools"),
        ("claude-opus-5-5", "adaptive", None),
    ],
)
def test_thinking_and_how_it_is_turned_off(model: str, thinking: str, off: str | None) -> None:
    """The columns "thinking values" and "off" of the table of models."""
    found = traits.traits_of(model)
    assert (found.thinking, found.off) == (thinking, off)


@pytest.mark.parametrize(
    ("model", "thinking", "most"),
    [
        ("claude-2.1", "none", 4096),
        ("claude-3-opus-20240229", "none", 4096),
        ("claude-3-5-sonnet-latest", "none", 8192),
        ("claude-3-7-sonnet-20250219", "enabled", 8192),
        ("claude-opus-4-1-20250805", "enabled", None),
        ("claude-sonnet-4-20250514", "enabled", None),
    ],
)
def test_a_family_that_is_not_in_the_table(model: str, thinking: str, most: int | None) -> None:
    """Older models are matched by the beginning of their name."""
    found = traits.traits_of(model)
    assert (found.thinking, found.max_output, found.sampling) == (thinking, most, True)


def test_a_snapshot_is_as_its_model() -> None:
    """A date at the end changes nothing."""
    assert traits.traits_of("claude-sonnet-5-20260601") == traits.traits_of("claude-sonnet-5")


def test_a_later_one_of_a_line_is_as_the_latest_known() -> None:
    """Fable 5.2 is as Fable 5.1, but for its longest answer, which nobody has said."""
    found = traits.traits_of("claude-fable-5-2")
    assert (found.off, found.forced_choice, found.max_output) == (None, False, None)


def test_an_unknown_name_is_sent_as_asked() -> None:
    """Nothing is taken away from a call to a model nobody here knows."""
    found = traits.traits_of("claude-next")
    assert (found.thinking, found.off) == ("adaptive", "disabled")
    assert found.efforts == ("low", "medium", "high", "xhigh", "max")
    assert (found.sampling, found.forced_choice, found.mid_system, found.max_output) == (True, True, False, None)


def test_the_whole_table_is_read() -> None:
    """Every Claude in the table of models has a longest answer and all of its traits."""
    found = [traits.traits_of(model.id) for model in models.load_catalog().models_of("anthropic")]
    assert len(found) > 15
    assert all(one.max_output for one in found)
