"""A call as it is translated, step by step."""

from __future__ import annotations

from attrs import define, field

from fwd_server.providers.anthropic.traits import Traits
from fwd_server.providers.anthropic.turns import CallNames
from fwd_server.values.chat import Json


@define
class Translation:
    """A call in Claude's words as it is built, and what the way back needs.

    ``given`` is the caller's body, ``dropped`` the names of what does not arrive, as ``seed`` or ``messages[2].name``.
    """

    given: Json
    traits: Traits
    body: Json
    names: CallNames
    dropped: set[str] = field(factory=set)
    json_only: bool = False
