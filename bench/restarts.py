"""Settings are read again and again under load, with streams that run: no call may fail (contract R2, D9).

    python -m bench.restarts [--restarts 20] [--rate 200] [--streams 50] [--calls 20000]

Calls reuse their connections and are never retried. A connection is closed when an answer asks for it. Exit code 1
when a call or a stream failed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from attrs import Factory, define

from bench import processes
from bench.load import StreamReader, StreamTally, body_of, percentile, request_of
from bench.processes import GatewayPlace, System

CONNECTIONS = 20


@define
class RestartTally:
    """What became of the calls and streams."""

    calls: Counter[str] = Factory(Counter)
    took: list[float] = Factory(list)
    streams: StreamTally = Factory(StreamTally)


async def call_forever(port: int, pause_s: float, tally: RestartTally) -> None:
    """Make one call after another until cancelled."""
    loop, request = asyncio.get_running_loop(), request_of(port, body_of("openai:bench"))
    reader = writer = None
    while True:
        started = loop.time()
        try:
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            tally.calls[head.split()[1].decode()] += 1
            if b"connection: close" in head:
                writer.close()
                reader = writer = None
        except (OSError, EOFError) as error:
            tally.calls[repr(error)] += 1
            reader = writer = None
        tally.took.append(loop.time() - started)
        await asyncio.sleep(max(0.0, started + pause_s - loop.time()))


async def stream_forever(port: int, tally: RestartTally) -> None:
    """Read one stream of 2 s after another until cancelled."""
    loop, request = asyncio.get_running_loop(), request_of(port, body_of("openai:bench-100x20", stream=True))
    while True:
        done: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(lambda: StreamReader(request, tally.streams, done), "127.0.0.1", port)  # noqa: B023
        await done


async def await_reloads(gateway: System, times: int) -> None:
    """Return once all workers have taken the settings so often."""
    while gateway.log.read_text().count("settings are in force on") < times:
        await asyncio.sleep(0.05)


async def run_trial(gateway: System, options: argparse.Namespace) -> RestartTally:
    """The load, and the reloads under it."""
    tally, pause_s = RestartTally(), CONNECTIONS / options.rate
    work = [call_forever(gateway.port, pause_s, tally) for _ in range(CONNECTIONS)]
    work += [stream_forever(gateway.port, tally) for _ in range(options.streams)]
    tasks = [asyncio.ensure_future(one) for one in work]
    await asyncio.sleep(2)
    for number in range(options.restarts):
        os.kill(gateway.process.pid, signal.SIGHUP)
        await await_reloads(gateway, number + 1)
        print(f"{number + 1}: {dict(tally.calls)}, streams {tally.streams.ended} whole", flush=True)
    while sum(tally.calls.values()) < options.calls:
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    tally.calls.update(repr(one) for one in found if not isinstance(one, asyncio.CancelledError))
    return tally


def main() -> int:
    """Run the trial and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.restarts", description=__doc__.splitlines()[0])
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--rate", type=float, default=200, help="calls a second")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--calls", type=int, default=20_000, help="go on until there were so many")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, processes.run_upstream() as upstream:
        place = GatewayPlace(sys.executable, Path(name), upstream.port)
        with processes.run_gateway(place, core=None, workers=2, FWD_SLOW_LOOP="50ms") as gateway:
            tally = asyncio.run(run_trial(gateway, options))
            log = gateway.log
        lines = [line for line in log.read_text().splitlines() if "Event loop: late" in line]
    failed = sum(tally.calls.values()) - tally.calls["200"]
    print(f"{options.restarts} restarts, {sum(tally.calls.values())} calls, {failed} failed: {dict(tally.calls)}")
    print(f"streams: {tally.streams.ended} whole, {tally.streams.failed} failed, {tally.streams.chunks} chunks")
    print(
        f"calls took p50 {percentile(tally.took, 0.5) * 1000:.1f} ms, p99 {percentile(tally.took, 0.99) * 1000:.1f} ms"
    )
    print(*lines[-2:], sep="\n")
    return int(failed > 0 or tally.streams.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
