"""The event loop's monitor."""

from __future__ import annotations

import asyncio
import threading
import time

from fwd_server.observe.loop_lag import LoopLag, current_calls, most_seen


def stand_still(lag: LoopLag) -> None:
    """Until that was seen more often than anything else, and for longer than the limit."""
    until = time.monotonic() + 0.05
    while time.monotonic() < until or "stand_still (" not in most_seen(lag.seen):
        pass


async def watched(busy: bool) -> list[str]:
    said: list[str] = []
    with LoopLag(0.02, said.append) as lag:
        await asyncio.sleep(0.02)
        if busy:
            stand_still(lag)
        while len(lag.lags) < 8:
            await asyncio.sleep(0.005)
    return said


def test_a_stall_is_said_with_its_place() -> None:
    """R5."""
    *stalls, summary = asyncio.run(watched(busy=True))
    said = "\n".join(stall for stall in stalls if "stand_still (" in stall)
    assert "was blocked for" in said
    assert "test_loop_lag.py:" in said
    assert summary.startswith("Event loop: late by ")


def test_without_a_stall_there_is_a_summary_only() -> None:
    """... as far as this machine lets the loop be on time."""
    *stalls, summary = asyncio.run(watched(busy=False))
    assert summary.startswith("Event loop: late by ")
    assert all("stand_still" not in stall for stall in stalls)


def test_a_thread_that_is_gone_is_nowhere() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert current_calls(thread.ident or 0) == ""
