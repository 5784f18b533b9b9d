"""Signals: some ask to stop, SIGHUP asks to read the settings again (contract D9, D14)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

_TERMINAL = "/dev/tty"


@contextlib.contextmanager
def handle_signals(stop: Callable[[str], object], renew: Callable[[], object]) -> Iterator[None]:
    """Call ``stop`` with the name of every signal that asks for it, and ``renew`` for SIGHUP, during the block.

    SIGHUP also comes when a terminal is closed: what was started there then stops, unless the signal was being
    ignored (``nohup``), which stays as it is.
    """
    if sys.platform == "win32":  # pragma: no cover - no loop signal handlers there; Ctrl-C arrives as KeyboardInterrupt
        yield
        return
    loop = asyncio.get_running_loop()
    actions: dict[signal.Signals, Callable[[], object]] = {
        number: _stop_action(stop, number.name) for number in (signal.SIGTERM, signal.SIGINT)
    }
    # nohup ignores SIGHUP for its child; a handler would undo that.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        actions[signal.SIGHUP] = _hangup_action(renew, _stop_action(stop, "SIGHUP"))
    for number, action in actions.items():
        loop.add_signal_handler(number, action)
    try:
        yield
    finally:
        for number in actions:
            loop.remove_signal_handler(number)


def _stop_action(stop: Callable[[str], object], name: str) -> Callable[[], object]:
    return lambda: stop(name)


def _hangup_action(renew: Callable[[], object], stop: Callable[[], object]) -> Callable[[], object]:
    # The kernel sends the same signal for a closed terminal and for `kill -HUP`; only the terminal tells them apart.
    had_terminal = _has_terminal()
    return lambda: stop() if had_terminal and not _has_terminal() else renew()


def _has_terminal() -> bool:
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
