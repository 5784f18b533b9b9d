"""``python -m bench.instructions``: how many instructions a call and a streamed chunk take, by callgrind.

python -m bench.instructions                              # the gateway on this Python, about two minutes
python -m bench.instructions --python /usr/bin/python3    # on another one
python -m bench.instructions --calls 50 --batches 1       # a first look
python -m bench.instructions --models 100                 # with a fwd.toml of so many models, 3 deployments each

Instruction counts do not depend on how busy the machine is. They repeat to a fraction of a percent, so a gain of one
percent is visible. They leave out the kernel and the cost of cache misses, which B1 and B2 include.

The gateway runs under valgrind as in production (keys, validation, routing, receipts, usage, a JSON log line), and is
warmed up before instructions are counted. Caller and provider are in step (``bench.lockstep``): one call at a time, one
piece of a stream at a time. Under load a turn of the event loop serves several of them, and each is a little cheaper.
A chunk of a stream of 100 includes its share of the call itself, as B2 does; a further chunk does not.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import field, frozen

from bench import processes
from bench.environments import gateway_python
from bench.figures import Figure, as_tuple, with_limit
from bench.lockstep import Baton, SteppedClient, connect_client, stepped_upstream
from bench.processes import GatewayPlace, System

CALLS: Final = 200
BATCHES: Final = 3
WARM_CALLS: Final = 300  # CPython 3.11 and later specialise code that has run a few times
PIECES: Final = 100
STREAMS: Final = 10
# Callgrind makes a program some 50 times slower, more on a busy machine: work done every half second would be a part of
# each call. So it does not come at all while instructions are counted.
STRETCH: Final = 10_000.0
IDLE_WINDOWS: Final = 3
_SETTLE_S: Final = 0.5
_TOTAL: Final = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


@frozen
class InstructionCounts:
    """Thousands of instructions, each batch's: of a JSON call, of a chunk's share of a stream, of one chunk more."""

    calls: tuple[float, ...] = field(converter=as_tuple)
    shares: tuple[float, ...] = field(converter=as_tuple)
    chunks: tuple[float, ...] = field(converter=as_tuple)
    idle_s: float = 0.0  # what an idle gateway takes in a second; subtracted

    def figures(self) -> Iterator[Figure]:
        """The lines of the bench's table."""
        for name, what, runs, most in (
            ("B1", "instructions per JSON request", self.calls, 400),
            ("B2", f"instructions per streamed chunk, of a stream of {PIECES}", self.shares, 75),
            ("B2", "instructions per further chunk", self.chunks, None),
        ):
            figure = Figure(name, what, "thousand", runs)
            yield figure if most is None else with_limit(figure, most)


class CallgrindCounter:
    """Reads the counter of a process that runs under callgrind."""

    def __init__(self, pid: int, out: Path) -> None:
        self._pid = pid
        self._out = out
        self._dumps = 0

    def switch_on(self) -> None:
        """Count from now on. Until then the process is only some ten times slower than without valgrind."""
        self._tell("instrumentation", "on")

    def read(self) -> int:
        """Instructions since the last reading (or since counting began), of all threads."""
        self._tell("dump")
        self._dumps += 1
        path = Path(f"{self._out}.{self._dumps}")
        total = _TOTAL.search(path.read_text())
        path.unlink()
        if total is None:
            raise RuntimeError(f"{path} holds no total")
        return int(total[1])

    def _tell(self, *words: str) -> None:
        subprocess.run(["vgdb", f"--pid={self._pid}", *words], check=True, capture_output=True, timeout=60)


def config_text(upstream_port: int, models: int) -> str:
    """A ``fwd.toml`` of so many models with three deployments by weight each; ``listed-*`` is what is called."""
    address = f'base_url = "http://127.0.0.1:{upstream_port}/v1"\nkeys = ["env:OPENAI_API_KEY"]\n'
    providers = [f'[providers.{name}]\ntype = "openai"\n{address}' for name in "abc"]
    names = ['"listed-*"', *(f"model-{number}" for number in range(1, models))]
    tables = [
        "".join(
            f'[[models.{name}.deployments]]\nto = "{one}:{"*" if "*" in name else name}"\nweight = {weight}\n'
            for weight, one in enumerate("abc", 1)
        )
        for name in names
    ]
    return "\n".join([*providers, *tables])


@contextmanager
def gateway_under_callgrind(
    place: GatewayPlace, without: Sequence[str], models: int = 0
) -> Iterator[tuple[System, CallgrindCounter]]:
    """The gateway under callgrind, with its periodic work stretched as the rest of it is. Raises RuntimeError."""
    if not shutil.which("valgrind") or not shutil.which("vgdb"):
        raise RuntimeError("valgrind is not installed (Debian: apt-get install valgrind)")
    out = place.folder / "callgrind.out"
    wrapper = ("valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}")
    how = processes.instrumented_program("--stretch", str(STRETCH), without=without)
    if models:
        config = place.folder / "fwd.toml"
        config.write_text(config_text(place.upstream_port, models))
        how["FWD_CONFIG"] = str(config)
    with processes.run_gateway(place, core=None, wrapper=wrapper, PYTHONHASHSEED="0", **how) as fwd:
        yield fwd, CallgrindCounter(fwd.process.pid, out)


async def count_all(
    python: str,
    folder: Path,
    *,
    calls: int = CALLS,
    batches: int = BATCHES,
    without: Sequence[str] = (),
    models: int = 0,
) -> InstructionCounts:
    """Count calls and chunks in a gateway on ``python``, with some pieces of the call path switched off."""
    baton = Baton()
    async with stepped_upstream(baton) as upstream_port:
        place = GatewayPlace(python, folder, upstream_port)
        with gateway_under_callgrind(place, without, models) as (fwd, counter):
            async with connect_client(fwd.port, baton) as client:
                client.prefix = "listed-" if models else client.prefix
                return await _count_batches(client, counter, calls, batches)


async def _count_batches(
    client: SteppedClient, counter: CallgrindCounter, calls: int, batches: int
) -> InstructionCounts:
    async def repeat(times: int, action: Callable[[], Awaitable[object]]) -> None:
        for _ in range(times):
            await action()

    async def count(times: int, action: Callable[[], Awaitable[object]]) -> float:
        """Instructions of one action, less what the gateway would have done in that time without it."""
        started = loop.time()
        await repeat(times, action)
        await asyncio.sleep(_SETTLE_S)  # what follows an answer, such as its log line, belongs to it
        return (counter.read() / 1000 - idle_s * (loop.time() - started)) / times

    loop, idle_s = asyncio.get_running_loop(), 0.0
    of_calls, of_shares, of_chunks = [], [], []
    await repeat(WARM_CALLS, client.call_json)
    await repeat(STREAMS, lambda: client.call_stream(PIECES))
    counter.switch_on()
    await count(10, client.call_json)  # callgrind translates the code again first
    # The least of a few windows: one that something rare falls into would have it subtracted from every call.
    idle_s = min([await count(1, lambda: asyncio.sleep(1.0)) for _ in range(IDLE_WINDOWS)]) / (1.0 + _SETTLE_S)
    for _ in range(batches):
        of_calls.append(await count(calls, client.call_json))
        short = await count(STREAMS, lambda: client.call_stream(1))
        long = await count(STREAMS, lambda: client.call_stream(PIECES))
        of_shares.append(long / PIECES)
        of_chunks.append((long - short) / (PIECES - 1))
    return InstructionCounts(of_calls, of_shares, of_chunks, idle_s)


def main() -> int:
    """Count and print. Exit code 0; 1 where valgrind is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.instructions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--python", default=sys.executable, help="the Python the gateway runs on")
    parser.add_argument("--calls", type=int, default=CALLS, help="calls of a batch")
    parser.add_argument("--batches", type=int, default=BATCHES)
    parser.add_argument("--models", type=int, default=0, help="models in a fwd.toml; 0: none, and no such file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fwd-bench-") as name:
        try:
            python = gateway_python(options.python, Path(name))
            print(f"The gateway on {processes.describe_python(python)}", flush=True)
            how = {"calls": options.calls, "batches": options.batches, "models": options.models}
            counts = asyncio.run(count_all(python, Path(name), **how))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    for figure in counts.figures():
        each = ", ".join(f"{run:,.1f}" for run in figure.runs)
        print(f"{figure.what:<56}{figure.value:8,.1f} thousand   ({each})")
    print(f"{'an idle second, subtracted':<56}{counts.idle_s:8,.1f} thousand")
    return 0


if __name__ == "__main__":
    sys.exit(main())
