"""What each Claude model takes: from the table of models, and by family for a name that is not in it.

https://platform.claude.com/docs/en/about-claude/models/overview, read 2026-11-22.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import evolve, frozen

from fwd_server.providers import model_catalog as models

UNKNOWN_MAX_OUTPUT: Final = 8192


@frozen
class Traits:
    """Abilities of a model. The defaults are for an unknown name: the request is sent as it was written.

    ``thinking`` is "none", "enabled" (with a budget) or "adaptive"; ``off`` is the type that turns it off, "" where
    leaving the field out does, None where nothing does.
    """

    thinking: str = "adaptive"
    off: str | None = "disabled"
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    sampling: bool = True
    forced_choice: bool = True
    mid_system: bool = False
    max_output: int | None = None


_PLAIN: Final = Traits(thinking="none", off="", efforts=())
_BUDGET: Final = Traits(thinking="enabled", off="", efforts=())
# First match wins.
_FAMILIES: Final = (
    (re.compile(r"claude-(instant|2)"), evolve(_PLAIN, max_output=4096)),
    (re.compile(r"claude-3-7"), evolve(_BUDGET, max_output=8192)),
    (re.compile(r"claude-3-5"), evolve(_PLAIN, max_output=8192)),
    (re.compile(r"claude-3"), evolve(_PLAIN, max_output=4096)),
    (re.compile(r"claude-(opus|sonnet)-4(-[01])?(-\d{8})?$"), _BUDGET),
)
# A later one of a line is as the latest one that is known.
_LATER: Final = (("claude-fable-5-", "claude-fable-5-1"), ("claude-mythos-5-", "claude-mythos-5-1"))
# These think only when asked to; later ones do unless told not to.
_OFF_BY_DEFAULT: Final = re.compile(r"claude-[a-z]+-4-")


def traits_of(model: str) -> Traits:
    """The traits of a model by its name at the provider."""
    known = models.load_catalog().find_model("anthropic", model)
    if known is not None:
        return _from_table(known)
    for beginning, like in _LATER:
        if model.startswith(beginning):
            return evolve(traits_of(like), max_output=None)
    return next((traits for family, traits in _FAMILIES if family.match(model)), Traits())


def _from_table(model: models.CatalogModel) -> Traits:
    facts = model.traits
    return Traits(
        thinking="enabled" if facts.get("thinking") == "enabled_only" else "adaptive",
        off=_off_type(model),
        efforts=tuple(facts.get("effort", ())),
        sampling=facts.get("sampling_params", True),
        forced_choice=facts.get("forced_tool_choice", True),
        mid_system=facts.get("mid_conversation_system", False),
        max_output=model.max_output,
    )


def _off_type(model: models.CatalogModel) -> str | None:
    if not model.traits.get("thinking_can_be_disabled"):
        return model.traits.get("thinking_off_value")
    return "" if _OFF_BY_DEFAULT.match(model.id) else "disabled"
