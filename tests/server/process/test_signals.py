"""Which signals ask for what."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import sys
from collections.abc import Callable

import pytest

from fwd_server.process import signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")


def told(*numbers: signal.Signals) -> list[str]:
    """What is called when these signals come."""
    said: list[str] = []

    async def act() -> list[str]:
        with signals.handle_signals(said.append, lambda: said.append("renew")):
            for number in numbers:
                os.kill(os.getpid(), number)
                count = len(said)
                while len(said) == count:
                    await asyncio.sleep(0)
        return said

    return asyncio.run(act())


def test_signals_that_ask_to_stop() -> None:
    assert told(signal.SIGTERM, signal.SIGINT) == ["SIGTERM", "SIGINT"]


def test_a_hang_up_asks_to_read_the_settings_again() -> None:
    """D9."""
    assert told(signal.SIGHUP) == ["renew"]


def test_afterwards_all_is_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    told(signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_what_is_ignored_stays_ignored() -> None:
    """``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        assert told(signal.SIGTERM) == ["SIGTERM"]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


_CHILD = """
import asyncio, os, sys
from fwd_server.process import signals
async def act():
    asked = asyncio.Queue()
    with signals.handle_signals(asked.put_nowait, lambda: asked.put_nowait("renew")):
        os.write(int(sys.argv[1]), b".")
        os.write(int(sys.argv[1]), (await asked.get()).encode())
asyncio.run(act())
"""


@pytest.fixture
def in_terminal() -> Callable[[Callable[[int, int], None]], str]:
    """Runs the child in a terminal of its own, does something to (terminal, process), and gives what it was told."""

    def start(act: Callable[[int, int], None]) -> str:
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        pid, terminal = pty.fork()
        if pid == 0:  # pragma: no cover - the child
            os.execv(sys.executable, [sys.executable, "-c", _CHILD, str(writing)])
        os.close(writing)
        with os.fdopen(reading, "rb", buffering=0) as file:
            assert file.read(1) == b"."
            act(terminal, pid)
            said = file.readall()
        os.waitpid(pid, 0)
        with contextlib.suppress(OSError):  # closed already
            os.close(terminal)
        return said.decode()

    return start


def test_a_terminal_that_is_closed_stops_what_was_started_there(in_terminal: Callable[..., str]) -> None:
    assert in_terminal(lambda terminal, _: os.close(terminal)) == "SIGHUP"


def test_the_signal_alone_does_not(in_terminal: Callable[..., str]) -> None:
    def act(terminal: int, pid: int) -> None:
        os.kill(pid, signal.SIGHUP)

    assert in_terminal(act) == "renew"
