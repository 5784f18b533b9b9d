"""What runs, and whether there is room for more: the rest is turned away at once (contract R3, D13)."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from tornado.httputil import HTTPServerRequest

from fwd_server.errors import Overloaded

if TYPE_CHECKING:
    from fwd_server.web.base import BaseHandler

MANY: Final = 10_000  # calls at once, where the system sets no limit


class Memory(enum.Enum):
    """How much of the memory limit is left."""

    AMPLE = "ample"
    TIGHT = "tight"  # no new streams, and connections are not kept
    SCARCE = "scarce"  # no new calls

    @classmethod
    def of(cls, used: float | None) -> Memory:
        """From the used share of the limit; None where there is no limit."""
        if used is None or used < 0.8:
            return cls.AMPLE
        return cls.TIGHT if used < 0.9 else cls.SCARCE


class Running:
    """The handlers that have not answered yet (a stop waits until there are none), and the calls that were let in.

    A call counts from its head on, ``most`` of them at once; handlers that need no key are never turned away.
    """

    def __init__(self, most: int = MANY) -> None:
        self.most = most
        self.memory = Memory.AMPLE
        self._calls: set[HTTPServerRequest] = set()
        self._handlers: set[BaseHandler] = set()
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        return len(self._handlers)

    def __iter__(self) -> Iterator[BaseHandler]:
        return iter(tuple(self._handlers))

    # -- room

    @property
    def calls(self) -> int:
        """How many calls there are, those whose body still comes included."""
        return len(self._calls)

    def check_room(self) -> None:
        """Raises Overloaded when no further call can be taken."""
        if len(self._calls) >= self.most:
            raise Overloaded(f"The gateway serves {self.most} calls already, the most it takes at once.")
        if self.memory is Memory.SCARCE:
            raise Overloaded("The gateway is short of memory.")

    def check_stream(self) -> None:
        """Raises Overloaded when no further stream can be taken."""
        if self.memory is not Memory.AMPLE:
            raise Overloaded("The gateway is short of memory and takes no streams now.")

    def admit(self, request: HTTPServerRequest) -> None:
        """Count a call in, from its head."""
        self._calls.add(request)

    def leave(self, request: HTTPServerRequest) -> None:
        """Count a call out. Once more does no harm."""
        self._calls.discard(request)
        self._note_end()

    # -- handlers

    def add(self, handler: BaseHandler) -> None:
        """Count a handler in."""
        self._handlers.add(handler)

    def discard(self, handler: BaseHandler) -> None:
        """Count out a handler that has answered, or whose caller is gone."""
        self._handlers.discard(handler)
        self.leave(handler.request)

    async def over(self) -> None:
        """Return once nothing runs, and nothing comes that was let in."""
        while self._handlers or self._calls:
            self._emptied.clear()
            await self._emptied.wait()

    def _note_end(self) -> None:
        if not self._handlers and not self._calls:
            self._emptied.set()
