"""``python -m bench.pieces``: what each piece of the call path saves, by switching it off.

python -m bench.pieces                        # every piece, by instructions; half a minute each
python -m bench.pieces head-memo plans        # some
python -m bench.pieces --cpu                  # and CPU time of a JSON call, all of them in turn in one run
python -m bench.pieces --publish              # and keep the table for docs/benchmarks.md

A piece is something that makes calls cheaper and changes nothing that a caller sees: a reader that may decline, or
something that is kept. So it can be switched off from outside, by replacing one attribute in the gateway's process
(``bench.instrumented --without``): a reader then declines everything, and nothing is kept. The gateway itself has no
such switches, because each would be one more thing to test.

This needs code that looks a piece up in its module or class each time: a name that another module has imported with
``from ... import`` cannot be replaced.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

if TYPE_CHECKING:
    from bench.instructions import InstructionCounts

CPU_RUNS: Final = 5
CPU_SECONDS: Final = 2
_CALLS: Final = 100


@frozen
class Piece:
    """Something that can be switched off: what it is, and what switches it off in the gateway's process."""

    what: str
    switch_off: Callable[[], None]


def replace_function(function: Callable[..., Any], value: Callable[..., Any]) -> None:
    """Put another function in the place of a module's function or a class's method."""
    holder: Any = sys.modules[function.__module__]
    *outer, name = function.__qualname__.split(".")
    for part in outer:
        holder = getattr(holder, part)
    setattr(holder, name, value)


def decline(*_: object, **__: object) -> None:
    """What a reader that may decline says to everything once it is switched off."""


def _without_uvloop() -> None:
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # its import fails, as where it is not installed


def _without_head_memo() -> None:
    from fwd_server.http1.server.reader import RememberedHead

    replace_function(RememberedHead.match, decline)


def _without_plans() -> None:
    from fwd_server.routing import planner

    replace_function(planner._keep, decline)


def _without_timer_wheel() -> None:
    from fwd_server.timer_wheel import TimerWheel

    def call_later(wheel: Any, seconds: float, callback: Callable[..., object], *arguments: Any) -> Any:
        return wheel._loop.call_later(seconds, callback, *arguments)

    replace_function(TimerWheel.call_later, call_later)


def _without_frame_relay() -> None:
    from fwd_server.providers.compatible import frame

    replace_function(frame.relay_json, decline)


def _without_log_lines() -> None:
    from fwd_server.observe.log_writer import LogWriter

    put = LogWriter.put_line

    def put_announcement(writer: LogWriter, line: bytes) -> None:
        if b"listens on" in line:  # the bench reads the port from it
            put(writer, line)

    replace_function(put, put_announcement)


PIECES: Final[Mapping[str, Piece]] = {
    "uvloop": Piece("uvloop in place of asyncio's loop", _without_uvloop),
    "head-memo": Piece("the head of the last request on a connection, compared by its bytes", _without_head_memo),
    "plans": Piece("plans and public models kept by the name that was asked for", _without_plans),
    "timer-wheel": Piece("one loop timer for all timeouts", _without_timer_wheel),
    "frame-relay": Piece("frames of a stream sent on as they came", _without_frame_relay),
    "log-lines": Piece("(a cost, not a gain) handing log lines to their thread", _without_log_lines),
}


def switch_off(name: str) -> None:
    """Switch a piece off in this process, before the gateway is built. Raises LookupError."""
    if name not in PIECES:
        raise LookupError(f"no piece {name}; there is {', '.join(PIECES)}")
    PIECES[name].switch_off()


def count_pieces(python: str, folder: Path, names: Sequence[str]) -> Iterator[tuple[str, InstructionCounts]]:
    """Instructions with everything on, then with each of the pieces off."""
    from bench.instructions import count_all  # the gateway's process imports this module, and needs none of that

    for name in ("", *names):
        place = folder / (name or "all-on")
        place.mkdir()
        yield name, asyncio.run(count_all(python, place, calls=_CALLS, batches=1, without=[name] if name else []))


def cpu_of_pieces(python: str, folder: Path, names: Sequence[str]) -> Iterator[tuple[str, list[float]]]:
    """CPU microseconds of a JSON call in every run, with everything on and with each of the pieces off, in turn."""
    from bench import processes

    with processes.run_upstream() as upstream, ExitStack() as stack:
        place = processes.GatewayPlace(python, folder, upstream.port)
        gateways = {
            name: stack.enter_context(
                processes.run_gateway(place, **processes.instrumented_program(without=[name] if name else []))
            )
            for name in ("", *names)
        }
        runs: dict[str, list[float]] = {name: [] for name in gateways}
        for turn in range(1 + CPU_RUNS):
            for name, gateway in gateways.items():
                before = gateway.cpu_s()
                seen = processes.run_calls(gateway, folder, seconds=CPU_SECONDS)
                if turn:  # the first one warms up
                    runs[name].append((gateway.cpu_s() - before) / seen["requests"] * 1e6)
    yield from runs.items()


def main() -> int:
    """Measure and print. Exit code 0; 1 where valgrind is missing or a piece is gone."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.pieces", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"out of {', '.join(PIECES)}")
    parser.add_argument("--python", default=sys.executable, help="the Python the gateway runs on")
    parser.add_argument("--publish", action="store_true", help="keep the table for docs/benchmarks.md")
    parser.add_argument("--cpu", action="store_true", help="measure CPU time too")
    options = parser.parse_args()
    names = options.names or list(PIECES)
    if unknown := set(names) - set(PIECES):
        parser.error(f"{', '.join(sorted(unknown))}: there is {', '.join(PIECES)}")
    from bench.environments import gateway_python

    with TemporaryDirectory(prefix="fwd-bench-") as name:
        folder = Path(name)
        try:
            python = gateway_python(options.python, folder)
            table = _count_table(python, folder, names)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
        if options.publish:
            _publish_table(python, table)
        if options.cpu:
            print("\nCPU time of a JSON call in µs, every run")
            for piece, runs in cpu_of_pieces(python, folder, names):
                each = ", ".join(f"{run:.0f}" for run in runs)
                print(f"{piece or 'everything on':<14}{statistics.median(runs):7.0f}   ({each})", flush=True)
    return 0


def _count_table(python: str, folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Count and print: thousand instructions with everything on, and how many more without each piece."""
    print("Thousand instructions of a JSON call and of a chunk, with everything on and without each piece", flush=True)
    table: dict[str, Any] = {"pieces": []}
    for name, counts in count_pieces(python, folder, names):
        call, chunk = statistics.median(counts.calls), statistics.median(counts.shares)
        if not name:
            table |= {"call": round(call, 1), "chunk": round(chunk, 1)}
            print(f"{'everything on':<14}{call:9,.1f}{chunk:7.1f}", flush=True)
            continue
        more = {"call": round(call - table["call"], 1), "chunk": round(chunk - table["chunk"], 1)}
        table["pieces"].append({"name": name, "what": PIECES[name].what, **more})
        print(f"{name:<14}{call:9,.1f}{chunk:7.1f}  {more['call']:+8.1f}  {more['chunk']:+6.1f}", flush=True)
    return table


def _publish_table(python: str, table: Mapping[str, Any]) -> None:
    from bench import processes, report

    about = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": processes.read_output("git", "rev-parse", "--short", "HEAD"),
        "python": processes.describe_python(python),
    }
    path = report.RESULTS / report.PIECES
    path.write_text(json.dumps({**about, **table}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
