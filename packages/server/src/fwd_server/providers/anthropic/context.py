"""The facts about a request that reading its answer needs."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from fwd_server.providers import lenient
from fwd_server.providers.anthropic import failure
from fwd_server.providers.anthropic.turns import CallNames
from fwd_server.providers.base import NewId
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import UpstreamError

_TIERS: Final = {"standard": "default", "priority": "priority"}


@frozen
class AnswerContext:
    """The facts about a request and its deployment that reading the answer needs.

    ``names`` lead back to the caller's own names of tools and of their properties. ``json_only`` says that the answer
    is one JSON object, which models like to put in a Markdown fence. ``asked_tier`` says that the caller asked for a
    service tier.
    """

    deployment: Deployment
    now: int
    new_id: NewId
    names: CallNames
    json_only: bool = False
    asked_tier: bool = False

    def head(self, message: Json) -> Json:
        """Id, time and model of an answer, the same in all its chunks."""
        provider_id = lenient.text(message.get("id"))
        return {
            "id": f"chatcmpl-{provider_id}" if provider_id else self.new_id("chatcmpl-"),
            "created": self.now,
            "model": lenient.text(message.get("model")) or self.deployment.model,
        }

    def tier_field(self, usage: Json) -> Json:
        """The field with the tier that served the call, for a caller who asked for one: as OpenAI does."""
        tier = _TIERS.get(lenient.text(usage.get("service_tier")))
        return {"service_tier": tier} if self.asked_tier and tier else {}

    def failure(self, answer: Json, *, committed: bool = False) -> UpstreamError:
        """The failure that an error inside a 200 stands for."""
        return failure.failure_inside(answer, self.deployment.endpoint, self.now, committed=committed)
