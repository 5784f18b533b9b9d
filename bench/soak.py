"""``nox -s soak``: the gateway for half an hour among faults, and ten minutes of callers who must not meet.

By hand it is ``PYTHONPATH=tests python -m bench.soak``, with the same options.

nox -s soak                             # both, 40 minutes
nox -s soak -- --minutes 1              # both, a minute each: to see that they run
nox -s soak -- --only steady            # 100 calls a second, one in twenty broken, beside 50 streams
nox -s soak -- --only crosstalk         # 200 callers, each with a word of its own (contract T27)

The gateway is ``fwd run-server``, a process of its own; callers and providers share another. Nothing is asserted about
time. A call that ends in any way but the one its fault leads to (contract 3c) is unexpected; so is a traceback in the
log, a socket or task that remains when the load is gone, and a foreign word. Then the exit code is 1. Whether memory
grows is for people to judge: its slope is printed, and drawn.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import asdict
from kit.crosstalk import repeater, talk
from kit.loopup import Upstream

from bench import processes, trend
from bench.faulty import Callers, FaultTally, play_fault
from bench.load import KEY
from bench.processes import LOAD_CORE, ROOT, GatewayPlace, System
from bench.watch import ProcessSample, ProcessWatch

MINUTES: Final = {"crosstalk": 10.0, "steady": 30.0}
CALLERS: Final = 200
ANSWERS: Final = 50_000  # of crosstalk, in its ten minutes
STREAMS: Final = 50  # open at any time, beside the calls
_WARM: Final = 0.2  # of the run, which the slopes leave out
_BOTH: Final = {
    "OPENAI_API_KEY": "sk-soak",
    "GROQ_API_KEY": "sk-soak",
    "OPENAI_MODEL": "m",
    "GROQ_MODEL": "m",
    "PROVIDERS_PRIORITY": "openai,groq",
}


@contextlib.contextmanager
def soaked_gateway(folder: Path, port: int, **env: str) -> Iterator[tuple[System, Path]]:
    """A gateway whose providers listen on ``port``, and the file in which it counts its tasks."""
    url, tasks = f"http://127.0.0.1:{port}", folder / f"tasks-{time.monotonic_ns()}"
    urls = {"OPENAI_BASE_URL": f"{url}/openai", "GROQ_BASE_URL": f"{url}/groq"}
    program = ("bench.counted", str(tasks), "run-server")
    path = {"PYTHONPATH": str(ROOT)}
    with processes.run_gateway(
        GatewayPlace(sys.executable, folder, port), program=program, **_BOTH, **urls, **path, **env
    ) as it:
        yield it, tasks


async def run_steady(folder: Path, seconds: float) -> dict[str, Any]:
    """Calls at a rate beside streams, with faults."""
    async with contextlib.AsyncExitStack() as providers:
        up = await providers.enter_async_context(Upstream(play_fault, keeps=False))
        with soaked_gateway(folder, up.port, FWD_SLOW_LOOP="100ms") as (system, tasks):
            watch = ProcessWatch(system, tasks)
            callers = Callers(f"http://127.0.0.1:{system.port}", random.Random(5))
            before = await watch.take_sample()
            looking = asyncio.ensure_future(watch.sample_forever())
            end = time.monotonic() + seconds
            streams = (callers.stream_until(end) for _ in range(STREAMS))
            await asyncio.gather(callers.call_at_a_rate(seconds), *streams)
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            callers.close()
            await providers.aclose()
            after = await watch.wait_settled(before)
        lines = system.log.read_text().splitlines()
    return summarise_run(callers.tally, watch, before, after, lines)


def summarise_run(
    tally: FaultTally, watch: ProcessWatch, before: ProcessSample, after: ProcessSample, lines: Sequence[str]
) -> dict[str, Any]:
    """Everything that was found."""
    warm = watch.samples[-1].minute * _WARM
    slopes = {name: _rounded_slope(watch.series_of(name), warm) for name in ("rss", "fds", "tasks", "threads")}
    return {
        "minutes": round(watch.samples[-1].minute, 2),
        "calls": sum(tally.outcomes.values()),
        "left": tally.left,
        "outcomes": dict(tally.outcomes.most_common()),
        "unexpected": tally.unexpected,
        "shown": tally.shown,
        "tracebacks": sum("Traceback" in line for line in lines),
        "before": asdict(before),
        "after": asdict(after),
        "left_open": max(0, after.fds - before.fds) + max(0, after.tasks - before.tasks),
        "per_hour_after_minute": {"minute": round(warm, 2), **slopes},
        "stalls": [line for line in lines if "Event loop: late" in line][-1:],
        "looks": [asdict(look) for look in watch.samples],
    }


def _rounded_slope(points: Sequence[trend.Point], warm: float) -> dict[str, float]:
    """How much it grows in an hour, with the interval, and how much there is."""
    taken = [(x / 60, y) for x, y in points if x >= warm]
    values = {"median": statistics.median(y for _, y in taken), **asdict(trend.fit_slope(taken))}
    return {name: round(value, 3) for name, value in values.items()}


def print_steady(found: Mapping[str, Any], folder: Path) -> bool:
    """Print what matters, and draw; whether all was as expected."""
    print(f"steady: {found['minutes']} minutes, {found['calls']} calls, {found['left']} disconnected early")
    print(f"outcomes: {', '.join(f'{count} {what}' for what, count in found['outcomes'].items())}")
    print(f"unexpected: {found['unexpected']}, tracebacks: {found['tracebacks']}", *found["shown"], sep="\n  ")
    trends = found["per_hour_after_minute"]
    for name, unit in (("rss", " MiB"), ("fds", ""), ("tasks", ""), ("threads", "")):
        one = trends[name]
        print(
            f"{name}: {one['median']:g}{unit}, grows by {one['value']:g}{unit} an hour "
            f"(95 %: {one['low']:g} to {one['high']:g}) after minute {trends['minute']:g}"
        )
    print(f"before the load {found['before']}\nafter it        {found['after']}", *found["stalls"], sep="\n")
    looks = found["looks"]
    rows = [(name, [(look["minute"], look[of]) for look in looks]) for of, name in _ROWS.items()]
    (folder / "steady.svg").write_text(trend.render_series("fwd under load and faults", trends["minute"], rows))
    return not (found["unexpected"] or found["tracebacks"] or found["left_open"])


_ROWS: Final = {"rss": "memory, MiB", "fds": "open files", "tasks": "tasks", "threads": "threads"}


async def run_crosstalk(folder: Path, seconds: float) -> dict[str, Any]:
    """Callers with words of their own, over a provider that breaks (contract T27)."""
    chance = random.Random(27)
    ends = time.monotonic() + seconds
    each = int(ANSWERS * min(1.0, seconds / 60 / MINUTES["crosstalk"]) / CALLERS * 1.5)
    async with repeater(chance) as up:
        with soaked_gateway(folder, up.port, FWD_SSE_KEEPALIVE="0", FWD_MAX_UNAUTHENTICATED="10000") as (system, _):
            url = f"http://127.0.0.1:{system.port}"
            enough: Callable[[int], bool] = lambda calls: calls >= each and time.monotonic() > ends  # noqa: E731
            tally = await talk(url, KEY, callers=CALLERS, enough=enough, chance=chance)
        tracebacks = system.log.read_text().count("Traceback")
    foreign = [[one.decode() for one in pair] for pair in tally.foreign]
    return {**asdict(tally), "foreign": foreign, "tracebacks": tracebacks, "least": each * CALLERS * 2 // 3}


def print_crosstalk(found: Mapping[str, Any], folder: Path) -> bool:
    """Print what matters; whether all was as expected."""
    print(
        f"crosstalk: {found['answers']} answers, {found['broken']} of them broken, {found['left']} disconnected early, "
        f"{len(found['foreign'])} foreign words, {found['tracebacks']} tracebacks"
    )
    return not found["foreign"] and not found["tracebacks"] and found["answers"] >= found["least"]


RUNS: Final = {"crosstalk": (run_crosstalk, print_crosstalk), "steady": (run_steady, print_steady)}


def main() -> int:
    """Run the chosen parts. Exit code 1 if anything was unexpected."""
    parser = argparse.ArgumentParser(prog="soak", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = __doc__
    parser.add_argument("--only", choices=sorted(RUNS))
    parser.add_argument("--minutes", type=float, help="how long each takes, instead of 10 and 30")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "soak", help="for JSON and picture")
    options = parser.parse_args()
    processes.raise_fd_limit()
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > LOAD_CORE:
        os.sched_setaffinity(0, {LOAD_CORE})
    options.folder.mkdir(parents=True, exist_ok=True)
    held = [run_part(name, options) for name in RUNS if options.only in (None, name)]
    return int(not all(held))


def run_part(name: str, options: argparse.Namespace) -> bool:
    """One of them; whether all was as expected."""
    work, say = RUNS[name]
    minutes = MINUTES[name] if options.minutes is None else options.minutes
    with tempfile.TemporaryDirectory(prefix="fwd-soak-") as folder:
        found = asyncio.run(work(Path(folder), minutes * 60))
    (options.folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    held = say(found, options.folder)
    print(f"{'All as expected' if held else 'NOT AS EXPECTED'}. Kept in {options.folder}\n", flush=True)
    return held


if __name__ == "__main__":
    sys.exit(main())
