"""``python -m bench.hops``: which files and functions of fwd_server a call enters, and how often.

python -m bench.hops             # the numbers, beside the aims: at most 20 files and about 200 calls of functions
python -m bench.hops --list      # and every function, by file

The gateway is warmed up first, so work that is done once (plans, connections) does not count. Calls are counted with
``sys.setprofile``. Resuming a coroutine after an ``await`` is not a call; resumptions are shown separately, and so are
calls in other threads than the event loop's. Functions of libraries, those that attrs generates, and periodic work are
not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from bench import processes
from bench.environments import gateway_python
from bench.lockstep import Baton, SteppedClient, connect_client, stepped_upstream
from bench.processes import GatewayPlace

FILES: Final = 20
CALLS: Final = 200
WARM: Final = 20
PIECES: Final = 10
TRIES: Final = 3
_SETTLE_S: Final = 0.3
_TIMEOUT_S: Final = 10.0
_STRETCH: Final = 10_000.0
Function = tuple[str, str, int]  # file, qualified name, line


@frozen
class CallHops:
    """What one action entered: how often each function began, went on, or began in another thread."""

    starts: Mapping[Function, int]
    resumes: Mapping[Function, int]
    other_threads: Mapping[Function, int]

    @property
    def calls(self) -> int:
        """Calls of functions, in the event loop's thread."""
        return sum(self.starts.values())

    @property
    def files(self) -> set[str]:
        """The files that were entered, in the event loop's thread."""
        return {file for file, _, _ in self.starts}

    def __str__(self) -> str:
        return (
            f"{self.calls} calls of {len(self.starts)} functions in {len(self.files)} files, "
            f"{sum(self.resumes.values())} times resumed; {sum(self.other_threads.values())} calls in other threads"
        )


def read_hops(line: str) -> CallHops:
    """What ``bench.instrumented --profile`` wrote."""
    found: dict[str, list[list[Any]]] = json.loads(line)
    return CallHops(
        **{name: {(file, function, at): n for file, function, at, n in rows} for name, rows in found.items()}
    )


def subtract_hops(more: CallHops, less: CallHops) -> CallHops:
    """What ``more`` has over ``less``."""
    names = ("starts", "resumes", "other_threads")
    return CallHops(**{name: Counter(getattr(more, name)) - Counter(getattr(less, name)) for name in names})


class GatewayProfiler:
    """Switches the profile of a gateway on and off."""

    def __init__(self, pid: int, file: Path) -> None:
        self._pid = pid
        self._file = file

    async def profile_action(self, action: Callable[[], Awaitable[object]]) -> CallHops:
        """What the gateway enters for an action and for what follows its answer.

        The least of several tries: now and then a timer that has nothing to do with the call falls into one.
        """
        return min([await self._profile_once(action) for _ in range(TRIES)], key=lambda hops: hops.calls)

    async def _profile_once(self, action: Callable[[], Awaitable[object]]) -> CallHops:
        await self._toggle()
        await action()
        await asyncio.sleep(_SETTLE_S)
        return read_hops(await self._toggle())

    async def _toggle(self) -> str:
        lines = self._read_lines()
        os.kill(self._pid, signal.SIGUSR1)
        deadline = time.monotonic() + _TIMEOUT_S
        while len(self._read_lines()) == len(lines):
            if time.monotonic() > deadline:
                raise RuntimeError("the gateway does not answer SIGUSR1")
            await asyncio.sleep(0.01)
        return self._read_lines()[-1]

    def _read_lines(self) -> list[str]:
        return self._file.read_text().splitlines() if self._file.exists() else []


async def count_hops(python: str, folder: Path) -> dict[str, CallHops]:
    """The hops of a JSON call, of a streamed call, and of each ten chunks more."""
    baton, file = Baton(), folder / "hops"
    async with stepped_upstream(baton) as upstream_port:
        how = processes.instrumented_program("--stretch", str(_STRETCH), "--profile", str(file))
        place = GatewayPlace(python, folder, upstream_port)
        with processes.run_gateway(place, core=None, **how) as fwd:
            async with connect_client(fwd.port, baton) as client:
                return await _profile_calls(client, GatewayProfiler(fwd.process.pid, file))


async def _profile_calls(client: SteppedClient, profiler: GatewayProfiler) -> dict[str, CallHops]:
    for _ in range(WARM):
        await client.call_json()
        await client.call_stream(1)
    call = await profiler.profile_action(client.call_json)
    short = await profiler.profile_action(lambda: client.call_stream(1))
    long = await profiler.profile_action(lambda: client.call_stream(1 + PIECES))
    return {
        "a JSON call": call,
        "a streamed call of one piece": short,
        f"each {PIECES} pieces more": subtract_hops(long, short),
    }


def list_functions(hops: CallHops) -> Iterator[str]:
    """Every function by file, the files with most calls first."""
    calls_of_file: Counter[str] = Counter()
    for (file, _, _), count in hops.starts.items():
        calls_of_file[file] += count
    for file, calls in calls_of_file.most_common():
        yield f"  {file}  {calls}"
        for (where, name, line), count in sorted(hops.starts.items(), key=lambda item: item[0][2]):
            if where == file:
                yield f"    {count:4}  {name}:{line}"


def main() -> int:
    """Count and print. Exit code 0, whatever the numbers are."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.hops", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="the Python the gateway runs on")
    parser.add_argument("--list", action="store_true", help="name every function")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fwd-bench-") as name:
        found = asyncio.run(count_hops(gateway_python(options.python, Path(name)), Path(name)))
    for what, hops in found.items():
        print(f"{what}: {hops}")
        if options.list:
            print(*list_functions(hops), sep="\n")
    call = found["a JSON call"]
    met = len(call.files) <= FILES and call.calls <= CALLS
    print(f"Aim for a JSON call: at most {CALLS} calls in {FILES} files: {'met' if met else 'NOT met'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
