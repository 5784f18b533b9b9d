"""B11: what limits, budgets and the ledger add to a JSON call (money M1).

Two gateways run in turns: one keeps no ledger and its key has no rules; the other records each call, and its key has
three limits and two budgets. ``loop`` is CPU of the thread with the event loop alone, ``CPU`` that of the process.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from attrs import evolve

from bench import processes
from bench.figures import Figure, with_limit

if TYPE_CHECKING:
    from bench.measures import BenchContext

RUNS: Final = 5
RULES: Final = "rpm=100000000 tpm=1000000000000 concurrency=100000 budget=100000/day,1000000/month"

PRICES: Final = """{"schema": 2, "as_of": "2026-12-01", "currency": "USD", "models": [
 {"provider": "openai", "id": "*", "max_output": 1000, "rates": [{"input": 1, "output": 2}]}]}"""


def ledger_cost(bench: BenchContext) -> Iterator[Figure]:
    """B11: microseconds that a call costs more with everything on."""
    prices = bench.folder / "prices.json"
    prices.write_text(PRICES)
    with (
        processes.run_gateway(bench.place, FWD_LEDGER="off", FWD_PRICES=str(prices)) as off,
        processes.run_gateway(bench.place, key_options=RULES, FWD_PRICES=str(prices)) as on,
    ):
        systems = [evolve(off, name="off"), evolve(on, name="on")]
        found: dict[str, list[tuple[float, float]]] = {"off": [], "on": []}
        for system in systems:
            processes.run_calls(system, bench.folder, seconds=1)
        for _ in range(RUNS):
            for system in systems:
                loop_s, cpu_s = system.loop_s(), system.cpu_s()
                done = processes.run_calls(system, bench.folder, seconds=bench.seconds)
                if done["failed"] or not done["requests"]:
                    raise RuntimeError(f"{system.name}: {done['failed']} of {done['requests']} calls failed")
                costs = (system.loop_s() - loop_s, system.cpu_s() - cpu_s)
                found[system.name].append((costs[0] / done["requests"] * 1e6, costs[1] / done["requests"] * 1e6))
    for place, what, most in ((0, "loop", 15), (1, "CPU", 30)):
        base = statistics.median(run[place] for run in found["off"])
        more = [run[place] - base for run in found["on"]]
        reference = [run[place] for run in found["off"]]
        figure = Figure(
            "B11", f"{what} that limits, budgets and ledger add to a request", "µs", more, reference, "a call without",
            compares=False,
        )  # fmt: skip
        yield with_limit(figure, most)
