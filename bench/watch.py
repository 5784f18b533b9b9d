"""A process looked at from outside, every few seconds: memory, files, tasks, threads. Linux only: it reads /proc."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Final

from attrs import Factory, define, frozen

from bench import trend
from bench.processes import System

_EVERY_S: Final = 2.0
_SETTLED_S: Final = 30.0


@frozen
class Look:
    """The process at a time, in minutes from the beginning; memory in MiB."""

    minute: float
    rss: float
    fds: int
    tasks: int
    threads: int


@define
class Watch:
    """Looks at the gateway's process, and keeps what it saw."""

    system: System
    tasks: Path
    looks: list[Look] = Factory(list)
    _started: float = Factory(time.monotonic)

    async def take(self) -> Look:
        """Look once."""
        known = self.tasks.stat().st_size if self.tasks.exists() else 0
        os.kill(self.system.process.pid, signal.SIGUSR1)
        while not self.tasks.exists() or self.tasks.stat().st_size == known:
            await asyncio.sleep(0.005)
        tasks = int(self.tasks.read_text().splitlines()[-1])
        proc = Path(f"/proc/{self.system.process.pid}")
        counts = (len(list((proc / part).iterdir())) for part in ("fd", "task"))
        fds, threads = counts
        return Look((time.monotonic() - self._started) / 60, self.system.rss() / 2**20, fds, tasks, threads)

    async def go_on(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            self.looks.append(await self.take())
            await asyncio.sleep(_EVERY_S)

    async def settled(self, like: Look) -> Look:
        """Look until nothing is left that was not there before, but not for ever."""
        until = time.monotonic() + _SETTLED_S
        found = await self.take()
        while (found.fds > like.fds or found.tasks > like.tasks) and time.monotonic() < until:
            await asyncio.sleep(0.5)
            found = await self.take()
        return found

    def series(self, name: str) -> list[trend.Point]:
        """One of the things looked at, over time."""
        return [(look.minute, getattr(look, name)) for look in self.looks]
