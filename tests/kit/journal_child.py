"""A process that writes calls into a ledger until it is killed, and says on stdout what it did, line by line.

S id         the call is open: from here on the upstream may see it
A id cost    its end is durable: from here on the caller may have seen the last byte
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

import orjson

from fwd_server.clock import SystemClock
from fwd_server.store.ledger import Ledger, to_micro


async def run_call(ledger: Ledger, clock: SystemClock) -> None:
    while True:
        call_id = ledger.new_id()
        row = {"at": to_micro(clock.now()), "key_id": "key_a", "provider": "echo", "model": "echo:", "likely": 7}
        row["budgets"] = [["b", "key:key_a", "2026-12-01"]]
        await ledger.record_open(call_id, orjson.dumps(row))
        os.write(1, f"S {call_id}\n".encode())
        await asyncio.sleep(random.random() * 0.05)
        cost = random.randrange(1000)
        row |= {"state": "done", "cost": cost, "cost_kind": "exact", "prompt": 3, "completion": 4}
        row.pop("likely")
        written = ledger.record_end(call_id, orjson.dumps(row), [{"provider": "echo"}])
        assert written is not None
        assert await written
        os.write(1, f"A {call_id} {cost}\n".encode())


async def main() -> None:
    clock = SystemClock()
    ledger = Ledger(Path(sys.argv[1]), clock)
    ledger.start()
    os.write(1, b"READY\n")
    await asyncio.gather(*(run_call(ledger, clock) for _ in range(20)))


if __name__ == "__main__":
    asyncio.run(main())
