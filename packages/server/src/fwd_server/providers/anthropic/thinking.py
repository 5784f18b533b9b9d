"""How much a model thinks before it answers. https://platform.claude.com/docs/en/build-with-claude/thinking"""

from __future__ import annotations

from typing import Final

from fwd_server.providers import lenient, request_fields
from fwd_server.providers.anthropic import tools
from fwd_server.providers.anthropic.amend import lacks_thinking
from fwd_server.providers.anthropic.traits import Traits
from fwd_server.providers.anthropic.translation import Translation
from fwd_server.values.chat import Json

_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32000}
_LEAST_BUDGET: Final = 1024  # https://platform.claude.com/docs/en/api/messages/create


def set_thinking(new: Translation) -> None:
    """``thinking`` and the effort, by the caller's ``reasoning_effort``; the caller's own ``thinking`` wins.

    A budget is dropped where the API would refuse it: beside a forced choice, and where old thinking is missing.
    """
    effort = request_fields.effort_of(new.given)
    if effort == "none":
        _turn_off(new)
    elif effort is not None:
        _ways = {"adaptive": _set_adaptive, "enabled": _set_budget, "none": _drop_effort}
        _ways[new.traits.thinking](new, effort)
    own = new.given.get("thinking")
    if own is not None:
        if "thinking" in new.body and "effort" not in new.body.get("output_config", {}):
            new.dropped.add("reasoning_effort")  # nothing else carries the effort
        new.body["thinking"] = own
    if _type_of(new.body) == "enabled" and (
        tools.forces_call(new.body.get("tool_choice")) or lacks_thinking(new.body["messages"])
    ):
        del new.body["thinking"]
        new.dropped.add("reasoning_effort" if own is None else "thinking")


def thinks(body: Json, traits: Traits) -> bool:
    """Whether the model may think before its first word, so that this word can take long."""
    if traits.thinking == "none":
        return False
    return _type_of(body) != "disabled" if "thinking" in body else traits.off != ""


def _type_of(body: Json) -> str:
    return lenient.text(lenient.obj(body.get("thinking")).get("type"))


def _turn_off(new: Translation) -> None:
    if new.traits.off is None:
        _set_effort(new, "low")  # the least there is for a model that always thinks
    elif new.traits.off:
        new.body["thinking"] = {"type": new.traits.off}


def _set_effort(new: Translation, effort: str) -> None:
    new.body["output_config"] = {**new.body.get("output_config", {}), "effort": effort}


def _set_adaptive(new: Translation, effort: str) -> None:
    wanted = _EFFORTS[effort]
    # The newest models leave the text of their thinking empty unless they are asked for a summary.
    new.body["thinking"] = {"type": "adaptive", "display": "summarized"}
    _set_effort(new, wanted if wanted in new.traits.efforts else "high")


def _set_budget(new: Translation, effort: str) -> None:
    # The budget is a part of max_tokens, so a fifth is kept for the answer itself.
    budget = min(_BUDGETS[effort], new.body["max_tokens"] * 4 // 5)
    if budget < _LEAST_BUDGET:
        _drop_effort(new, effort)
    else:
        new.body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _drop_effort(new: Translation, effort: str) -> None:
    new.dropped.add("reasoning_effort")
