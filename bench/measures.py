"""The measures B1 to B11: each runs what it measures beside its reference, and gives figures.

CPU is user and system time of all the processes of a system, taken from /proc, over what they served in that time.
Systems that are compared run in turns, so a machine that gets slower does so for all of them.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

from bench import processes
from bench.figures import Figure, judge_figure, with_limit, with_note, with_verdict
from bench.instructions import count_all
from bench.ledger import ledger_cost
from bench.load import body_of, percentile, request_of
from bench.peers import Peer, running_peers
from bench.processes import GatewayPlace, System

RUNS: Final = 5
_WARM_S: Final = 1
_OTHERS: Final = {"anthropic": "anthropic:", "google": "google:", "ollama": "ollama:"}


@frozen
class BenchContext:
    """The context of every measure: the provider, nginx (or None), other gateways, and where ours comes from."""

    place: GatewayPlace
    upstream: System
    nginx: System | None
    peers: Sequence[Peer] = ()
    seconds: int = 2
    hold_s: float = 60.0

    @property
    def folder(self) -> Path:
        """For files of the moment."""
        return self.place.folder

    def beside(self, system: System) -> list[System]:
        """The system, and what it is compared with."""
        return [system, *([self.nginx] if self.nginx else [])]


Measure = Callable[[BenchContext], Iterator[Figure]]


def call_cost(bench: BenchContext, system: System, **options: Any) -> tuple[float, float]:
    """CPU microseconds of one call, and calls a second."""
    before = system.cpu_s()
    found = processes.run_calls(system, bench.folder, seconds=bench.seconds, **options)
    spent = system.cpu_s() - before
    if found["failed"] or not found["requests"]:
        raise RuntimeError(f"{system.name}: {found['failed']} of {found['requests']} calls failed")
    return spent / found["requests"] * 1e6, found["requests"] / found["seconds"]


def measure_in_turns(
    bench: BenchContext, systems: Sequence[System], **options: Any
) -> dict[str, list[tuple[float, float]]]:
    """``call_cost`` of each system, in turns."""
    found: dict[str, list[tuple[float, float]]] = {system.name: [] for system in systems}
    for system in systems:
        processes.run_calls(system, bench.folder, seconds=_WARM_S, **options)
    for _ in range(RUNS):
        for system in systems:
            found[system.name].append(call_cost(bench, system, **options))
    return found


def json_calls(bench: BenchContext) -> Iterator[Figure]:
    """B1 and B3: CPU of a JSON request, and how many a second; B7 and B8 beside peers, which run anyway."""
    with processes.run_gateway(bench.place) as fwd, running_peers(bench.peers) as peers:
        found = measure_in_turns(bench, [*bench.beside(fwd), *peers])
        memory = {system.name: [system.rss() / 2**20] for system in (fwd, *peers)}
        ready = {system.name: [system.ready_s * 1000] for system in (fwd, *peers)}
    costs, rates = ({name: [run[at] for run in runs] for name, runs in found.items()} for at in (0, 1))
    cost, reference = (costs.get(name, []) for name in ("fwd", "nginx"))
    figure = Figure("B1", "CPU per JSON request", "µs", cost, reference, aim="<= 90 µs, <= 6 x nginx")
    yield judge_figure(figure, 90, 6)
    rate, others = (rates.get(name, []) for name in ("fwd", "nginx"))
    figure = Figure("B3", "JSON requests a second, one core", "/s", rate, others, aim="> 10,000 /s")
    yield with_verdict(figure, statistics.median(rate) > 10_000)
    for name, what, unit, runs in (
        ("B1", "CPU per JSON request", "µs", costs),
        ("B3", "JSON requests a second, one core", "/s", rates),
        ("B7", "memory after load", "MiB", memory),
        ("B8", "start to first answer", "ms", ready),
    ):
        yield from beside_peers(Figure(name, what, unit, runs["fwd"]), runs, bench.peers)
    yield from two_workers(bench)


def beside_peers(figure: Figure, runs: Mapping[str, Sequence[float]], peers: Sequence[Peer]) -> Iterator[Figure]:
    """The figure again beside each peer, with what that peer took in the same run."""
    for peer in peers:
        what = f"{figure.what}, beside {peer.name}"
        yield evolve(figure, what=what, reference=runs.get(peer.name, ()), beside=peer.name, peer=True)


def two_workers(bench: BenchContext) -> Iterator[Figure]:
    """B3 with two workers, where there are cores for them and for the load."""
    figure = Figure("B3", "JSON requests a second, two workers", "/s", (), aim=">= 1.8 x one worker")
    if (os.cpu_count() or 1) < 4:
        yield with_note(figure, "not measurable here: fewer than 4 cores")
        return
    with (
        processes.run_gateway(bench.place, core=None) as one,
        processes.run_gateway(bench.place, core=None, workers=2) as two,
    ):
        two.name = "fwd x 2"
        found = measure_in_turns(bench, [one, two])
    rates = {name: [run[1] for run in runs] for name, runs in found.items()}
    figure = Figure("B3", figure.what, "/s", rates["fwd x 2"], rates["fwd"], "one worker", figure.aim)
    yield with_verdict(figure, (figure.ratio or 0) >= 1.8)


def streams_cost(bench: BenchContext, system: System, **options: Any) -> tuple[float, dict[str, Any]]:
    """CPU microseconds of one streamed chunk, and what the reader saw."""
    options = {"streams": 100, "rounds": 2, "spread": 1, "model": f"{system.prefix}bench-100x20"} | options
    before = system.cpu_s()
    seen = processes.run_load(system, "streams", **options)
    spent = system.cpu_s() - before
    if seen["failed"] or not seen["chunks"]:
        raise RuntimeError(f"{system.name}: {seen['failed']} of {seen['streams']} streams failed")
    return spent / seen["chunks"] * 1e6, seen


def streamed_chunks(bench: BenchContext) -> Iterator[Figure]:
    """B2, and of B5 what 100 streams show."""
    with processes.run_gateway(bench.place) as fwd, running_peers(bench.peers) as peers:
        systems = [*bench.beside(fwd), bench.upstream, *peers]
        found: dict[str, list[tuple[float, dict[str, Any]]]] = {system.name: [] for system in systems}
        failures: dict[str, str] = {}
        streams_cost(bench, fwd, rounds=1)
        for system in systems * RUNS:
            if system.name in failures:
                continue
            try:
                found[system.name].append(streams_cost(bench, system, rounds=1 if system in peers else 2))
            except RuntimeError as error:
                if system not in peers:
                    raise
                failures[system.name] = str(error)
    costs = {name: [run[0] for run in runs] for name, runs in found.items()}
    cost, reference = (costs.get(name, []) for name in ("fwd", "nginx"))
    figure = Figure("B2", "CPU per streamed chunk, 100 streams", "µs", cost, reference)
    yield judge_figure(evolve(figure, aim="<= 40 µs, <= 2.5 x nginx"), 40, 2.5)
    for beside in beside_peers(figure, costs, bench.peers):
        yield with_note(beside, failures.get(beside.beside, ""))
    yield from added_latency(found, "100 streams")


def added_latency(found: dict[str, list[tuple[float, dict[str, Any]]]], what: str) -> Iterator[Figure]:
    """B5 from runs of streams: p99 through the gateway less p99 without it."""
    for name, key in (("TTFT added, p99", "ttft"), ("gap added, p99", "gap")):
        direct = statistics.median(run[1][key]["p99"] for run in found["direct"])
        times = {of: [run[1][key]["p99"] - direct for run in found.get(of, [])] for of in ("fwd", "nginx")}
        figure = Figure("B5", f"{name}, {what}", "ms", times["fwd"], times["nginx"], aim="<= 1 ms", compares=False)
        yield with_verdict(figure, (figure.value or 0) <= 1)


def one_stream(bench: BenchContext) -> Iterator[Figure]:
    """B5 with one stream at a time."""
    with processes.run_gateway(bench.place) as fwd:
        systems = [*bench.beside(fwd), bench.upstream]
        found: dict[str, list[tuple[float, dict[str, Any]]]] = {system.name: [] for system in systems}
        for _ in range(3):
            for system in systems:
                model = f"{system.prefix}bench-10x1"
                found[system.name].append(streams_cost(bench, system, streams=1, spread=0, rounds=200, model=model))
    yield from added_latency(found, "1 stream")


def single_latency(bench: BenchContext) -> Iterator[Figure]:
    """B4: what the gateway adds to a call when nothing else goes on."""
    with processes.run_gateway(bench.place) as fwd:
        systems = [*bench.beside(fwd), bench.upstream]
        found: dict[str, list[dict[str, float]]] = {system.name: [] for system in systems}
        processes.run_load(fwd, "latency", calls=500)
        for _ in range(RUNS):
            for system in systems:
                found[system.name].append(processes.run_load(system, "latency", calls=1000)["latency"])
    for share, aim in (("p50", ""), ("p99", "<= 0.4 ms")):
        direct = statistics.median(run[share] for run in found["direct"])
        times = {name: [run[share] - direct for run in runs] for name, runs in found.items()}
        what, others = f"latency added at 1 connection, {share}", times.get("nginx", ())
        figure = Figure("B4", what, "ms", times["fwd"], others, aim=aim, compares=False)
        yield with_verdict(figure, (figure.value or 0) <= 0.4) if aim else figure


def sustained_streams(bench: BenchContext) -> Iterator[Figure]:
    """B6: paced streams on one core, every chunk counted."""
    for streams, pace in ((400, 20), (1000, 50)):
        count = int(bench.hold_s * 1000 / pace)
        with processes.run_gateway(bench.place, FWD_SLOW_LOOP="50ms") as fwd:
            seen = processes.run_load(
                fwd, "streams", streams=streams, spread=4, model=f"{fwd.prefix}bench-{count}x{pace}"
            )
        lost = streams * count - seen["chunks"]
        figure = Figure(
            "B6",
            f"chunks lost, {streams} streams, {pace} ms apart, {bench.hold_s:g} s",
            "",
            [lost],
            aim=f"0, no gap over {10 * pace} ms",
            note=f"longest gap {seen['gap']['max']:g} ms, p99 {seen['gap']['p99']:g} ms; {seen['failed']} failed; "
            f"{loop_lag_summary(fwd)}",
        )
        yield with_verdict(figure, lost == 0 and not seen["failed"] and seen["gap"]["max"] <= 10 * pace)


def loop_lag_summary(system: System) -> str:
    """The summary that the monitor of its event loop logged when it ended (contract R5)."""
    found = re.findall(r"Event loop: (late by [^\"]*)\.", system.log.read_text())
    return f"its loop was {found[-1]}" if found else "its loop was not watched"


def memory_use(bench: BenchContext) -> Iterator[Figure]:
    """B7: resident memory, idle, after load, for an open stream, and for one whose reader has stalled."""
    with processes.run_gateway(bench.place) as fwd:
        idle = fwd.rss()
        yield with_limit(Figure("B7", "memory, idle", "MB", [idle / 1e6]), 45)
        processes.run_calls(fwd, bench.folder, seconds=bench.seconds)
        loaded = fwd.rss()
        yield Figure("B7", "memory after load", "MiB", [loaded / 2**20])
    yield with_limit(
        Figure("B7", "memory per open stream", "KiB", [_memory_per_stream(bench, 500, "bench-600x1000")]), 32
    )
    stalled = [_memory_per_stream(bench, 200, "bench-1000000x0", mute=True)]
    yield with_limit(Figure("B7", "memory per stream with a stalled reader", "KiB", stalled), 64)


def _memory_per_stream(bench: BenchContext, streams: int, model: str, **options: Any) -> float:
    """KiB that one stream adds, of ``streams`` that are open at once."""
    with processes.run_gateway(bench.place) as fwd:
        processes.run_calls(fwd, bench.folder, seconds=_WARM_S)
        before = fwd.rss()
        with processes.hold_streams(fwd, streams=streams, model=fwd.prefix + model, **options) as opened:
            time.sleep(5)
            return (fwd.rss() - before) / 1024 / opened


def start_times(bench: BenchContext) -> Iterator[Figure]:
    """B8: from nothing to the first answer; what the import of the SDK and the command's help cost."""
    ready = []
    for _ in range(RUNS):
        with processes.run_gateway(bench.place) as fwd:
            ready.append(fwd.ready_s * 1000)
    yield with_limit(Figure("B8", "start to first answer", "ms", ready), 400)
    python = bench.place.python
    nothing, helped = [], []
    for _ in range(RUNS):
        nothing.append(_took_ms(python, "-c", "pass"))
        helped.append(_took_ms(python, "-m", "fwd_cli", "--help"))
    figure = Figure("B8", "fwd --help", "ms", helped, nothing, "python -c pass", "<= 2 x python -c pass + 100 ms")
    yield with_verdict(figure, (figure.value or 0) <= 2 * (figure.base or 0) + 100)
    yield _import_cost(python)


_IMPORTS: Final = """
import sys
before = set(sys.modules)
import fwd_client
stems = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(stems - set(sys.stdlib_module_names) - {"fwd_client"}))
"""


def _import_cost(python: str) -> Figure:
    done = subprocess.run([python, "-c", _IMPORTS], capture_output=True, text=True, check=True)
    loaded = [name for name in done.stdout.split() if not name.startswith("__editable__")]
    figure = Figure("B8", "third-party modules that `import fwd_client` loads", "", [len(loaded)], aim="0")
    return with_verdict(with_note(figure, ", ".join(loaded)), not loaded)


def _took_ms(*command: str) -> float:
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return (time.monotonic() - started) * 1000


def large_bodies(bench: BenchContext) -> Iterator[Figure]:
    """B9: what long prompts cost, and how long they keep others waiting."""
    sizes = {"100 KB": 100_000, "1 MB": 1_000_000}
    cost = {}
    with processes.run_gateway(bench.place) as fwd:
        for name, size in sizes.items():
            runs: dict[str, list[float]] = {"fwd": [], "nginx": []}
            for system in bench.beside(fwd) * 3:
                runs[system.name].append(call_cost(bench, system, connections=8, size=size)[0])
            cost[name] = statistics.median(runs["fwd"])
            yield Figure("B9", f"CPU per JSON request of {name}", "µs", runs["fwd"], runs["nginx"])
        growth = cost["1 MB"] / cost["100 KB"]
        figure = Figure("B9", "1 MB costs as much as 100 KB, times", "x", [growth], aim="<= 12 x (linear: 10)")
        yield with_verdict(figure, growth <= 12)
    with processes.run_gateway(bench.place, FWD_SLOW_LOOP="20ms") as fwd:
        waited = _stall_ms(fwd)
    figure = Figure(
        "B9", "longest wait of others while 1 MiB bodies come, p99", "ms", [waited], note=loop_lag_summary(fwd)
    )
    yield with_limit(figure, 20)


def _stall_ms(system: System) -> float:
    """How long a small request waits, at p99, while one connection sends bodies of 1 MiB one after the other."""
    request = request_of(system.port, body_of(system.prefix + "bench", size=2**20))
    stop = threading.Event()
    sender = threading.Thread(target=_send_until, args=(system.port, request, stop))
    sender.start()
    try:
        return percentile(_time_pings(system.port, 300), 0.99) * 1000
    finally:
        stop.set()
        sender.join()


def _send_until(port: int, request: bytes, stop: threading.Event) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while not stop.is_set():
            connection.sendall(request)
            connection.recv(65536)


def _time_pings(port: int, count: int) -> list[float]:
    ping, took = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode(), []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(count):
            started = time.monotonic()
            connection.sendall(ping)
            connection.recv(65536)
            took.append(time.monotonic() - started)
            time.sleep(0.005)
    return took


def other_languages(bench: BenchContext) -> Iterator[Figure]:
    """B10: providers with a language of their own, beside one that speaks the caller's."""
    with processes.run_gateway(bench.place) as fwd:
        calls: dict[str, list[float]] = {name: [] for name in ("openai", *_OTHERS)}
        chunks: dict[str, list[float]] = {name: [] for name in calls}
        for name in [*calls] * 3:
            calls[name].append(call_cost(bench, fwd, model=f"{name}:bench")[0])
        for name in calls:
            chunks[name].append(streams_cost(bench, fwd, model=f"{name}:bench-100x20")[0])
    for what, found, most in (("JSON request", calls, 1.6), ("streamed chunk", chunks, 2.0)):
        for name in _OTHERS:
            figure = Figure("B10", f"CPU per {what}, {name}", "µs", found[name], found["openai"], "fwd with openai")
            yield judge_figure(figure, None, most)


def instruction_counts(bench: BenchContext) -> Iterator[Figure]:
    """B1 and B2 as instructions, which repeat on a busy machine, where valgrind is installed."""
    yield from asyncio.run(count_all(bench.place.python, bench.folder)).figures()


# Which measures take part under which ids; some give figures of two.
MEASURES: Final[tuple[tuple[frozenset[str], Measure], ...]] = (
    (frozenset({"B8"}), start_times),
    (frozenset({"B1", "B3"}), json_calls),
    (frozenset({"B2", "B5"}), streamed_chunks),
    (frozenset({"B1", "B2"}), instruction_counts),
    (frozenset({"B5"}), one_stream),
    (frozenset({"B4"}), single_latency),
    (frozenset({"B6"}), sustained_streams),
    (frozenset({"B7"}), memory_use),
    (frozenset({"B9"}), large_bodies),
    (frozenset({"B10"}), other_languages),
    (frozenset({"B11"}), ledger_cost),
)
IDS: Final = sorted({name for names, _ in MEASURES for name in names}, key=lambda name: int(name[1:]))
