"""Ten times as many calls as the gateway takes: it turns the rest away at once and serves as before (contract R3).

    python -m bench.overload [--seconds 60] [--most 50] [--rate 500]

The gateway takes ``--most`` calls at once, each of which streams for a second: that is its capacity. Goodput is
compared with a run at that capacity. Every call has a connection of its own, and is sent at its time whether or not
others were answered.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path

from attrs import Factory, define

from bench import processes
from bench.load import body_of, percentile, request_of
from bench.processes import Place, System


@define
class Tally:
    """What became of the calls; seconds that refusals and signs of life took."""

    calls: Counter[str] = Factory(Counter)
    refused: list[float] = Factory(list)
    alive: list[float] = Factory(list)
    bare: int = 0  # refusals without Retry-After


async def call(port: int, request: bytes, tally: Tally) -> None:
    """One call over a connection of its own."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = head.split()[1].decode()
        if status == "503":
            tally.refused.append(loop.time() - started)
            tally.bare += b"retry-after: " not in head
        else:
            status = status if b"data: [DONE]" in await reader.readuntil(b"0\r\n\r\n") else "cut"
        tally.calls[status] += 1
        writer.close()
    except (OSError, EOFError) as error:
        tally.calls[repr(error)] += 1


async def live(port: int, tally: Tally) -> None:
    """Ask whether it lives, again and again."""
    loop, request = asyncio.get_running_loop(), f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        started = loop.time()
        writer.write(request)
        await reader.readuntil(b"}")
        tally.alive.append(loop.time() - started)
        await asyncio.sleep(0.02)


async def offered(gateway: System, rate: float, seconds: float) -> Tally:
    """So many calls a second, for so long."""
    loop, tally = asyncio.get_running_loop(), Tally()
    request = request_of(gateway.port, body_of("openai:bench-20x50", stream=True))
    watcher = asyncio.ensure_future(live(gateway.port, tally))
    started, tasks = loop.time(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, started + number / rate - loop.time()))
        tasks.append(asyncio.ensure_future(call(gateway.port, request, tally)))
    await asyncio.gather(*tasks)
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)
    return tally


def told(name: str, tally: Tally, seconds: float) -> str:
    """A run in words."""
    refused, alive = (percentile(times, 0.99) * 1000 for times in (tally.refused, tally.alive))
    good = tally.calls["200"] / seconds
    return (
        f"{name}: {dict(tally.calls)}, {good:.1f} served a second; refusals p99 {refused:.1f} ms, "
        f"{tally.bare} without Retry-After; /health p99 {alive:.1f} ms"
    )


def main() -> int:
    """Run at capacity, at ten times that, and at capacity again."""
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--most", type=int, default=50)
    parser.add_argument("--rate", type=float, default=500)
    options = parser.parse_args()
    processes.raise_fd_limit()
    calm_s = min(10.0, options.seconds)
    with tempfile.TemporaryDirectory() as name, processes.upstream() as upstream:
        place = Place(sys.executable, Path(name), upstream.port)
        most = str(options.most)
        with processes.gateway(place, FWD_MAX_REQUESTS=most, FWD_STALL="50ms", FWD_MAX_STRANGERS="10000") as gateway:
            for what, rate, seconds in (
                ("at capacity", options.rate / 10, calm_s),
                ("ten times that", options.rate, options.seconds),
                ("at capacity again", options.rate / 10, calm_s),
            ):
                print(told(what, asyncio.run(offered(gateway, rate, seconds)), seconds), flush=True)
            log = gateway.log
        print(*(line for line in log.read_text().splitlines() if "Event loop: late" in line), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
