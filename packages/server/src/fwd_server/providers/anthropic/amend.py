"""Changes to a call that the API refused, for one more try without the field that was in the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attrs import frozen

from fwd_server.providers import lenient
from fwd_server.providers.anthropic import thoughts
from fwd_server.providers.anthropic.tools import STRICT
from fwd_server.values.chat import Json


@frozen
class Amendment:
    """A changed body, and the names of what it no longer has."""

    body: Json
    dropped: tuple[str, ...]


def amend_call(body: Json, message: str) -> Amendment | None:
    """The changed call, chosen by the ``message`` of a 400; None where no change is known to help.

    Every refusal of thinking in the history leads to one more try without it.
    """
    changes = (change(body) for words, change in _CHANGES if words.search(message))
    return next((changed for changed in changes if changed.body != body), None)


def lacks_thinking(messages: list[Json]) -> bool:
    """Whether the last turn calls tools and no turn has thinking: with a budget the API wants some before a call."""
    kinds = [[block["type"] for block in lenient.objects(turn["content"])] for turn in messages]
    if any(kind in thoughts.KINDS for turn in kinds for kind in turn):
        return False
    return "tool_result" in kinds[-1]


def _without_strict(body: Json) -> Amendment:
    tools = [_without_field(tool, "strict") for tool in lenient.objects(body.get("tools"))]
    return Amendment({**body, "tools": tools} if tools else body, (STRICT,))


def _without_thoughts(body: Json) -> Amendment:
    """Without earlier thinking, which is bound to the model and to the conversation it came from.

    A budget for new thinking goes too where the API would then miss the old; alone it goes where there is no old.
    """
    messages = [_without_thinking(turn) for turn in body["messages"]]
    stripped = {**body, "messages": messages}
    old = ("reasoning_details",) if messages != body["messages"] else ()
    enabled = lenient.obj(body.get("thinking")).get("type") == "enabled"
    if not enabled or (old and not lacks_thinking(messages)):
        return Amendment(stripped, old)
    return Amendment(_without_field(stripped, "thinking"), (*old, "reasoning_effort"))


def _without_thinking(turn: Json) -> Json:
    if isinstance(turn["content"], str):
        return turn
    return {**turn, "content": [block for block in turn["content"] if block["type"] not in thoughts.KINDS]}


def _without_field(item: Json, name: str) -> Json:
    return {key: value for key, value in item.items() if key != name}


# The API names the blocks in many sentences ("Invalid `signature` in `thinking` block", "`redacted_thinking` blocks
# ... cannot be modified", "messages.1.content.0.thinking.signature: Field required", "Expected `thinking` ..., but
# found `tool_use`"), so the rule is: it speaks of thinking, and of blocks, of a signature or of a message. What it
# says about the field ``thinking`` of the request has none of these and begins with the field's own path.
_OLD_THINKING: Final = re.compile(
    r"^(?!thinking[.:\s])(?=.*thinking).*(?:block|signature|messages\.\d|expected|conversation)",
    re.IGNORECASE | re.DOTALL,
)
_CHANGES: Final[tuple[tuple[re.Pattern[str], Callable[[Json], Amendment]], ...]] = (
    (
        re.compile("too many strict tools|too many optional parameters|compiled grammar is too large", re.IGNORECASE),
        _without_strict,
    ),
    (_OLD_THINKING, _without_thoughts),
    (re.compile("bound to a different conversation", re.IGNORECASE), _without_thoughts),
)
