"""Samples of a process from outside, every few seconds: memory, files, tasks, threads. Linux only: it reads /proc."""

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
class ProcessSample:
    """The process at a time, in minutes from the beginning; memory in MiB."""

    minute: float
    rss: float
    fds: int
    tasks: int
    threads: int


@define
class ProcessWatch:
    """Samples the gateway's process and keeps the samples."""

    system: System
    tasks: Path
    samples: list[ProcessSample] = Factory(list)
    _started: float = Factory(time.monotonic)

    async def take_sample(self) -> ProcessSample:
        """Take one sample."""
        known = self.tasks.stat().st_size if self.tasks.exists() else 0
        os.kill(self.system.process.pid, signal.SIGUSR1)
        while not self.tasks.exists() or self.tasks.stat().st_size == known:
            await asyncio.sleep(0.005)
        tasks = int(self.tasks.read_text().splitlines()[-1])
        proc = Path(f"/proc/{self.system.process.pid}")
        counts = (len(list((proc / part).iterdir())) for part in ("fd", "task"))
        fds, threads = counts
        return ProcessSample((time.monotonic() - self._started) / 60, self.system.rss() / 2**20, fds, tasks, threads)

    async def sample_forever(self) -> None:
        """Take a sample every few seconds until cancelled."""
        while True:
            self.samples.append(await self.take_sample())
            await asyncio.sleep(_EVERY_S)

    async def wait_settled(self, like: ProcessSample) -> ProcessSample:
        """Sample until files and tasks are back to what they were, or a time limit is reached."""
        until = time.monotonic() + _SETTLED_S
        found = await self.take_sample()
        while (found.fds > like.fds or found.tasks > like.tasks) and time.monotonic() < until:
            await asyncio.sleep(0.5)
            found = await self.take_sample()
        return found

    def series_of(self, name: str) -> list[trend.Point]:
        """One field of the samples over time."""
        return [(look.minute, getattr(look, name)) for look in self.samples]
