"""The table of docs/sizing.md: from the measures in docs/benchmarks.md to what a machine can serve."""

from __future__ import annotations

import re

PIECES_A_SECOND = 50  # of one stream: fast models send about as many
SHARE_OF_CORE = 0.5


def sizing_table(benchmarks: str) -> str:
    """The table, from the text of benchmarks.md. Raises ValueError if a measure is not in it."""
    json_us = _measured(benchmarks, "B1", "CPU per JSON request")
    chunk_us = _measured(benchmarks, "B2", "CPU per streamed chunk, 100 streams")
    rows = [
        ("memory of an idle process", f"{_measured(benchmarks, 'B7', 'memory, idle'):.0f} MiB", "B7"),
        ("memory of each open stream", f"{_measured(benchmarks, 'B7', 'memory per open stream'):.0f} KiB", "B7"),
        ("CPU of a JSON call", f"{json_us:.0f} µs", "B1"),
        ("CPU of a JSON call of 1 MB", f"{_measured(benchmarks, 'B9', 'CPU per JSON request of 1 MB'):.0f} µs", "B9"),
        ("CPU of a piece of a stream", f"{chunk_us:.0f} µs", "B2"),
        ("JSON calls a second on one core, at most", _whole(1e6 / json_us, 100), "from B1"),
        ("JSON calls a second with half of a core", _whole(1e6 / json_us * SHARE_OF_CORE, 100), "from B1"),
        (
            f"streams of {PIECES_A_SECOND} pieces a second with half of a core",
            _whole(1e6 / chunk_us / PIECES_A_SECOND * SHARE_OF_CORE, 10),
            "from B2",
        ),
    ]
    return "\n".join(["| what | figure | measure |", "|---|--:|---|", *(f"| {' | '.join(row)} |" for row in rows)])


def _measured(benchmarks: str, number: str, measure: str) -> float:
    found = re.search(rf"(?m)^\| {number} \| {re.escape(measure)} \| ([\d.,]+) ", benchmarks)
    if not found:
        raise ValueError(f"docs/benchmarks.md has no figure for {number} {measure!r}")
    return float(found[1].replace(",", ""))


def _whole(value: float, step: int) -> str:
    """Rounded down to a multiple of ``step``: no more is claimed than was measured."""
    return f"{int(value // step) * step:,}"
