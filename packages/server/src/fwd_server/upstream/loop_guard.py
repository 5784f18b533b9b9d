"""A gateway that would call itself is stopped: every call carries the gateways it came by.

A header of ours travels along, ``x-fwd-via: ID,ID``: an id is random, made at start, and says nothing of the
machine.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from fwd_server.values.errors import GatewayError

HEADER: Final = "x-fwd-via"
MAX_GATEWAYS: Final = 8
_ID: Final = re.compile(r"[A-Za-z0-9]{29}")  # as ids.py makes them; a caller's own text goes no further


@frozen
class LoopGuard:
    """The id of this gateway, and what is asked of the ids before it."""

    own: str

    def check_incoming(self, value: str | None) -> tuple[str, ...]:
        """The gateways a call came by. Raises GatewayError: 508, it has been here, or came by too many."""
        if value is None:
            return ()
        via = tuple(name for name in value.replace(" ", "").split(",") if _ID.fullmatch(name))
        # The length counts too: workers of one gateway have an id each, so a loop need not meet the same one soon.
        if self.own in via or len(via) >= MAX_GATEWAYS:
            raise GatewayError(
                "Loop detected: a configured base URL points back to this gateway.",
                508,
                code="loop_detected",
                should_retry=False,
            )
        return via

    def outgoing_header(self, via: tuple[str, ...]) -> str:
        """The header's value for the next one."""
        return ",".join((*via, self.own))
