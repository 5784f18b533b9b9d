"""``python -m bench.routing``: what a plan costs, without anything around it (B11).

Each figure is the best of several batches, in microseconds on this machine and this Python: from a model's name to the
first seat, as for every call. Nothing cools down, and no estimate of the prompt is needed.
"""

from __future__ import annotations

import random
import sys
import timeit
from collections.abc import Callable, Iterator
from typing import Final

from fwd_server.routing.needs import Ask
from fwd_server.routing.planner import Routes, make_plan
from fwd_server.routing.state import RoutingState
from fwd_server.routing.table import Instance, Lane, ProviderKey, PublicModel
from fwd_server.values.deployment import Endpoint

CALLS: Final = 20_000
BATCHES: Final = 7
# Budgets of microseconds for each case.
CASES: Final = {
    "one": ("one deployment, one key", 1, {}, "", 1.5),
    "weighted": ("weighted, 3", 3, {}, "", 5.0),
    "latency": ("latency, 3", 3, {"balance": "latency"}, "", 6.0),
    "least-busy": ("least-busy, 3", 3, {"balance": "least-busy"}, "", 6.0),
    "sticky": ("sticky, 3", 3, {"sticky": "session"}, "conversation-1", 8.0),
}


def main() -> int:
    """Measure and print."""
    for what, found, budget in measure_all():
        print(f"{what:<28}{found:6.2f} us   budget {budget:.1f}")
    return 0


def measure_all() -> Iterator[tuple[str, float, float]]:
    """Each case with its cost and its budget, in microseconds."""
    for name, (what, lanes, options, conversation, budget) in CASES.items():
        make = _planner(name, lanes, options, conversation)
        yield what, min(timeit.repeat(make, number=CALLS, repeat=BATCHES)) / CALLS * 1e6, budget


def _planner(name: str, count: int, options: dict[str, str], conversation: str) -> Callable[[], object]:
    lanes = tuple(_lane(f"{name}-{number}", number + 1) for number in range(count))
    routes = Routes({}, models={name: PublicModel(name, lanes, **options)})  # type: ignore[arg-type]
    state, ask, bits = RoutingState(), Ask(conversation=conversation), random.getrandbits
    return lambda: make_plan(routes, name, ask, state, 1000.0, bits(64)).first()


def _lane(name: str, weight: int) -> Lane:
    endpoint = Endpoint(name, f"https://{name}.example/v1", enabled=True)
    return Lane(name, Instance(name, (ProviderKey(name, endpoint, name),)), "m", float(weight))


if __name__ == "__main__":
    sys.exit(main())
