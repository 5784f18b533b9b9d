"""The tokens of a prompt: as the provider counts them where it does, else our own estimate, and never an error.

Nothing is answered and nothing is charged, so no policy is asked and no health is noted. Claude Code asks for
twenty-five counts at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from fwd_server.gateway.translation import Translator
from fwd_server.metering.rules import matches_model
from fwd_server.providers.base import ChatExchange, Provider
from fwd_server.routing.table import Seat
from fwd_server.upstream.deadline import Deadline
from fwd_server.upstream.send import Upstream, read_all
from fwd_server.values.call import Call
from fwd_server.values.errors import GatewayError
from fwd_server.values.foreign import ForeignRequest, TokenCount

LONGEST_WAIT_S: Final = 10.0
_LONGEST_ANSWER: Final = 1 << 16


class TokenCounter:
    """Counts prompts."""

    def __init__(self, translator: Translator, providers: Mapping[str, Provider], upstream: Upstream) -> None:
        self._translator = translator
        self._providers = providers
        self._upstream = upstream

    async def count(self, call: Call, seat: Seat) -> TokenCount:
        """The count of the deployment that a call would be sent to."""
        request = cast("ForeignRequest", call.request)
        allowed = call.caller.models
        # A key that may not call a model cannot make the gateway send anything to it either.
        counted = None if allowed and not matches_model(allowed, seat.target.name) else await self._ask(call, seat)
        return TokenCount(request.estimate, True) if counted is None else TokenCount(counted, False)

    async def _ask(self, call: Call, seat: Seat) -> int | None:
        deployment = seat.target
        codec = self._providers[deployment.provider].count
        if codec is None:
            return None
        try:
            exchange = cast("ChatExchange", self._translator.translate_call(call, seat).exchange)
            request = codec.request(exchange, deployment.model)
            if request is None:
                return None
            with Deadline(min(call.deadline_s, LONGEST_WAIT_S), "deadline"):
                response = await self._upstream.send_request(deployment.endpoint, request, call.via)
                try:
                    body = await read_all(response, _LONGEST_ANSWER)
                finally:
                    response.close()
        # Whatever went wrong, the estimate is an answer; a call that is really wrong is told so when it is made.
        except GatewayError:
            return None
        return codec.read(body) if response.status == 200 else None
