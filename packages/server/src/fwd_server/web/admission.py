"""What runs, and whether there is room for more: the rest is turned away at once (contract R3, D13)."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Hashable, Iterator
from typing import Final, Protocol

from fwd_server.machine import MemoryUse
from fwd_server.observe import log
from fwd_server.values.errors import Overloaded

DEFAULT_MAX_CALLS: Final = 10_000  # calls at once, where the system sets no limit
# The kernel kills the process at 1.0, and the calls that are running still grow.
SCARCE: Final = 0.9
TIGHT: Final = 0.8
_COPIES: Final = 3  # of the body of a call: as it comes, as it was read, as it goes on
# Reading the cgroup files for every call would cost more than the call's own checks.
_LOOK_BYTES: Final = 1 << 20  # of bodies let in, until the memory is looked at again


class MemoryPressure(enum.Enum):
    """How much of the memory limit is left."""

    AMPLE = "ample"
    TIGHT = "tight"  # no new streams, and connections are not kept
    SCARCE = "scarce"  # no new calls

    @classmethod
    def from_share(cls, share: float) -> MemoryPressure:
        """From the used share of the limit."""
        if share < TIGHT:
            return cls.AMPLE
        return cls.TIGHT if share < SCARCE else cls.SCARCE


class RunningRequest(Hashable, Protocol):
    """Something that has not answered yet, and can be told that the gateway stops."""

    def shut_down(self) -> None:
        """The gateway waits no longer: answer now."""
        ...


class AdmissionController:
    """What has not answered yet (a stop waits until there is nothing), and the requests with a key that were let in.

    These count from their heads on, ``most`` of them at once; requests that need no key are never turned away. What a
    body will take counts from then on, too: many may come between two looks at the memory (``probe``). A request is
    known by whatever object stands for it.
    """

    def __init__(self, most: int = DEFAULT_MAX_CALLS, probe: Callable[[], MemoryUse | None] = lambda: None) -> None:
        self.most = most
        self.memory = MemoryPressure.AMPLE
        self.draining = False  # whether the gateway stops, so that no connection is kept
        self._probe = probe
        self._use: MemoryUse | None = None
        self._promised = 0  # bytes of bodies that the last look could not see
        self._unseen = 0  # of these, let in since
        self._calls: dict[Hashable, int] = {}  # and the bytes of their bodies that are yet to come
        self._running: set[RunningRequest] = set()
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[RunningRequest]:
        # A copy, because a request that is told to stop leaves the set during the loop.
        return iter(tuple(self._running))

    @property
    def keeps_connections(self) -> bool:
        """Whether connections may stay open after an answer."""
        return self.memory is MemoryPressure.AMPLE and not self.draining

    # -- room

    @property
    def call_count(self) -> int:
        """How many requests with a key there are, those whose body still comes included."""
        return len(self._calls)

    def check_room(self, size: int = 0) -> None:
        """Raises Overloaded when no further call can be taken, or none with a body of ``size`` bytes."""
        # Refused at once instead of queued: a caller can try another gateway, and a queue would only hide the overload.
        if len(self._calls) >= self.most:
            raise Overloaded(f"The gateway is already serving {self.most} calls, the maximum.")
        if self.memory is MemoryPressure.SCARCE or (self._use is not None and self._used_share(size) >= SCARCE):
            raise Overloaded("The gateway is short of memory.")

    def check_stream(self) -> None:
        """Raises Overloaded when no further stream can be taken."""
        if self.memory is not MemoryPressure.AMPLE:
            raise Overloaded("The gateway is short of memory and accepts no streams at the moment.")

    def begin_call(self, call: RunningRequest, size: int) -> None:
        """Count in a call that will answer by itself, from its head."""
        self._running.add(call)
        self.admit_call(call, size)

    def end_call(self, call: RunningRequest) -> None:
        """Count such a call out. Once more does no harm."""
        self._running.discard(call)
        self.release_call(call)

    def admit_call(self, request: Hashable, size: int = 0) -> None:
        """Count a request in, from its head; ``size`` is that of its body, in bytes."""
        self._calls[request] = size
        self._promised += size
        # The probe sees a body only once it is in memory, so what was admitted since the last look is added.
        self._unseen += size
        if self._unseen >= _LOOK_BYTES:
            self.refresh_memory()

    def note_body_complete(self, request: Hashable) -> None:
        """The body of a request is there: the next look at the memory sees it."""
        if request in self._calls:
            self._calls[request] = 0

    def release_call(self, request: Hashable) -> None:
        """Count a request out. Once more does no harm."""
        self._calls.pop(request, None)
        self._note_end()

    # -- memory

    def refresh_memory(self) -> None:
        """Look at the memory, and say so when there is more or less room than before (contract D13)."""
        self._use = self._probe()
        # Bodies that have come are seen by the probe now; only those that are still to come are added to it.
        self._promised = sum(self._calls.values())
        self._unseen = 0
        memory = MemoryPressure.from_share(self._used_share(0))
        if memory is not self.memory:
            log.app.warning("Memory is now %s (before: %s).", memory.value, self.memory.value)
            self.memory = memory

    def _used_share(self, size: int) -> float:
        """The share of the limit that is used or promised, with ``size`` bytes more; 0 without a limit."""
        use = self._use
        return 0.0 if use is None else (use.used + (self._promised + size) * _COPIES) / use.limit

    # -- what runs

    def add_running(self, running: RunningRequest) -> None:
        """Count in what will answer."""
        self._running.add(running)

    def discard_running(self, running: RunningRequest) -> None:
        """Count out what has answered, or whose caller has disconnected. Once more does no harm."""
        self._running.discard(running)
        self._note_end()

    async def wait_until_idle(self) -> None:
        """Return once nothing runs, and nothing comes that was let in."""
        while self._running or self._calls:
            self._emptied.clear()
            await self._emptied.wait()

    def _note_end(self) -> None:
        if not self._running and not self._calls:
            self._emptied.set()
