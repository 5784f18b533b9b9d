"""R1: a ledger that is killed at random moments loses nothing that was acknowledged, and has nothing twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import kit.journal_child

from fwd_server.clock import SystemClock
from fwd_server.store.ledger import Ledger
from fwd_server.store.store_file import STORE_NAME, read_store
from fwd_server.store.upkeep import check_store

KILLS = int(os.environ.get("FWD_TEST_KILLS", "6"))


def run_until_killed(directory: Path, seconds: float) -> tuple[set[str], dict[str, int]]:
    """Which calls the upstream may have seen, and what was acknowledged at which cost."""
    script = kit.journal_child.__file__
    with subprocess.Popen([sys.executable, script, str(directory)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"READY\n"
        time.sleep(seconds)  # the moment of death, not a wait for something
        child.send_signal(signal.SIGKILL)
        lines = child.stdout.read().decode().splitlines()
    words = [line.split() for line in lines if line.count(" ") == (2 if line.startswith("A") else 1)]
    sent = {word[1] for word in words if word[0] == "S"}
    return sent, {word[1]: int(word[2]) for word in words if word[0] == "A"}


def test_kill_9_at_random_moments_loses_no_acknowledged_call(tmp_path: Path) -> None:
    """W4 too: every call the upstream saw has exactly one row, and an acknowledged one is what was acknowledged."""
    sent: set[str] = set()
    acknowledged: dict[str, int] = {}
    for _ in range(KILLS):
        more_sent, more_acknowledged = run_until_killed(tmp_path, random.random() * 0.6)
        sent |= more_sent
        acknowledged |= more_acknowledged
    asyncio.run(Ledger(tmp_path, SystemClock()).close())
    store = read_store(tmp_path / STORE_NAME)
    rows = {name: (state, cost) for name, state, cost in store.execute("select id, state, cost from calls")}
    assert len(acknowledged) > 20 * KILLS
    assert [name for name in acknowledged if rows.get(name) != ("done", acknowledged[name])] == []
    assert sent - rows.keys() == set()
    # What was not acknowledged either ended a moment before the kill, or is booked with what it probably cost.
    assert {state for name, (state, _) in rows.items() if name not in acknowledged} <= {"done", "interrupted"}
    assert {cost for state, cost in rows.values() if state == "interrupted"} <= {7}
    (spent, calls) = store.execute("select spent, calls from counters").fetchone()
    assert (spent, calls) == (sum(cost for _, cost in rows.values()), len(rows))
    assert check_store(store) == []
    store.close()
