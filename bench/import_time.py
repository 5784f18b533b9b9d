"""What a program pays before its first call: CPU time, modules and memory of `fwd_client` and of `openai`.

    python bench/import_time.py [RUNS]

Every figure is the median of RUNS (5) fresh interpreters, taken in turn so that the machine's other work falls on all
alike. The time is the CPU time of the whole process, its start included, which the first row shows alone. Needs Linux,
and an environment with `fwd-client` and `openai`; exit code 1 when a client takes more than a third of `import openai`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from attrs import frozen

CASES = (
    "pass",
    "import fwd_client",
    "from fwd_client import Client; Client()",
    "from fwd_client import Client; Client()._transport.http()",
    "import openai",
    "from openai import OpenAI; OpenAI(api_key='k', base_url='http://127.0.0.1:8000/v1')",
)
OURS, THEIRS = CASES[2], CASES[4]
REPORT = """
import sys, time
facts = time.process_time(), len(sys.modules)
print(*facts, *(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@frozen
class ImportCost:
    """Milliseconds of CPU, modules loaded, MiB at the peak."""

    cpu_ms: float
    modules: int
    memory_mib: float


def measure_import(code: str) -> ImportCost:
    """One interpreter that does this and ends."""
    done = subprocess.run([sys.executable, "-c", code + REPORT], capture_output=True, text=True, check=True)
    cpu_s, modules, peak_kib = done.stdout.split()
    return ImportCost(float(cpu_s) * 1000, int(modules), int(peak_kib) / 1024)


def median_cost(costs: list[ImportCost]) -> ImportCost:
    """The middle of each figure."""
    return ImportCost(
        statistics.median(cost.cpu_ms for cost in costs),
        statistics.median_low(cost.modules for cost in costs),
        statistics.median(cost.memory_mib for cost in costs),
    )


def main() -> int:
    """Measure all cases in turn, print a table, judge."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rounds = [{code: measure_import(code) for code in CASES} for _ in range(runs)]
    costs = {code: median_cost([one[code] for one in rounds]) for code in CASES}
    print(f"{'CPU ms':>8} {'modules':>8} {'MiB':>7}  median of {runs}")
    for code, cost in costs.items():
        print(f"{cost.cpu_ms:8.0f} {cost.modules:8} {cost.memory_mib:7.1f}  {code}")
    share = costs[OURS].cpu_ms / costs[THEIRS].cpu_ms
    print(f"A client takes {share:.0%} of the CPU time of `{THEIRS}`.")
    return 0 if share <= 1 / 3 else 1


if __name__ == "__main__":
    sys.exit(main())
