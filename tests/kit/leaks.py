"""Canaries and counters: secrets that must show up nowhere, sockets and tasks that must be gone."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import stat
from collections.abc import Iterable

from attrs import define, field


def canary(of: str) -> str:
    """A secret nobody would write by chance, shaped like a provider's key."""
    return f"sk-canary-{of}-{secrets.token_hex(16)}"


@define
class Aviary:
    """Canaries, and where each was found."""

    canaries: tuple[str, ...]
    found: list[str] = field(factory=list)

    def look(self, where: str, text: str | bytes) -> None:
        """Note every canary in ``text``."""
        written = text.decode("latin-1") if isinstance(text, bytes) else text
        self.found += [f"{bird[:16]}... in {where}" for bird in self.canaries if bird in written]


class LogKeeper(logging.Handler):
    """Keeps what loggers of these names say, as the given formatters write it, tracebacks included.

    It goes nowhere else meanwhile: whoever captures what the tests log would write it all once more.
    """

    def __init__(self, formatters: Iterable[logging.Formatter], names: Iterable[str]) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._formatters = tuple(formatters)
        self._loggers = tuple(map(logging.getLogger, names))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [formatter.format(record) for formatter in self._formatters]

    def __enter__(self) -> LogKeeper:
        for logger in self._loggers:
            logger.addHandler(self)
            logger.setLevel(logging.DEBUG)
            logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        for logger in self._loggers:
            logger.removeHandler(self)
            logger.setLevel(logging.NOTSET)
            logger.propagate = True


def sockets() -> int:
    """How many sockets this process has open."""
    return sum(_is_socket(int(name)) for name in os.listdir("/proc/self/fd"))


def _is_socket(number: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False


def tasks() -> set[str]:
    """The tasks of this loop besides the one that asks, by what they run."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return {task.get_coro().__qualname__ for task in others}  # type: ignore[union-attr]
