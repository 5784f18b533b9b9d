"""Ten times as many calls as the gateway takes: it turns the rest away at once and serves as before (contract R3).

    python -m bench.overload [--seconds 60] [--most 50] [--rate 500]

The gateway takes ``--most`` calls at once, each of which streams for a second: that is its capacity. Goodput is
compared with a run at that capacity. Every call has a connection of its own, and is sent at its time whether or not
others were answered; its time begins before it connects. The gateway has a core of its own. The calls come from one
process and the signs of life from another, on the other core, so that a figure is about the gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from attrs import Factory, asdict, define

from bench import processes
from bench.load import body_of, percentile, request_of
from bench.processes import LOAD_CORE, ROOT, GatewayPlace, System, pin_command

_ALIVE_EVERY_S: Final = 0.02


@define
class CallTally:
    """What became of the calls; seconds that refusals took."""

    calls: Counter[str] = Factory(Counter)
    refused: list[float] = Factory(list)
    bare: int = 0  # refusals without Retry-After
    late: list[float] = Factory(list)  # by how much the driver missed the time of a call


class TimedCall(asyncio.Protocol):
    """One call over a connection of its own."""

    def __init__(self, request: bytes, tally: CallTally) -> None:
        self._request = request
        self._tally = tally
        self._started = time.monotonic()
        self._status = ""
        self._tail = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._status:
            self._status = data[9:12].decode()
            if self._status == "503":
                self._tally.refused.append(time.monotonic() - self._started)
                self._tally.bare += b"\nretry-after: " not in data.lower()
        self._tail = (self._tail + data)[-40:]
        if self._status == "503" or self._tail.endswith(b"0\r\n\r\n"):
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        cut = self._status == "200" and b"data: [DONE]" not in self._tail
        self.end_with("cut" if cut else self._status or repr(exc or "no answer"))

    def end_with(self, how: str) -> None:
        """Count it."""
        self._tally.calls[how] += 1
        self.ended.set_result(None)


async def send_call(port: int, request: bytes, tally: CallTally) -> None:
    """Make one call, to its end."""
    call = TimedCall(request, tally)
    try:
        await asyncio.get_running_loop().create_connection(lambda: call, "127.0.0.1", port)
    except OSError as error:
        call.end_with(repr(error))
    await call.ended


async def offer_calls(port: int, rate: float, seconds: float) -> dict[str, Any]:
    """Make calls at a rate (calls a second) for some seconds."""
    tally, tasks = CallTally(), []
    request = request_of(port, body_of("openai:bench-20x50", stream=True))
    started = time.monotonic()
    for number in range(int(rate * seconds)):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tally.late.append(time.monotonic() - due)
        tasks.append(asyncio.ensure_future(send_call(port, request, tally)))
    await asyncio.gather(*tasks)
    return asdict(tally)


def watch_health(port: int) -> list[float]:
    """Ask whether it lives, again and again, until standard input ends; how long each answer took."""
    request, took = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode(), []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setblocking(True)
        while _standard_input_is_open():
            started = time.monotonic()
            connection.sendall(request)
            while not connection.recv(65536).endswith(b"}"):
                pass
            took.append(time.monotonic() - started)
    return took


def _standard_input_is_open() -> bool:
    import select

    return not select.select([sys.stdin], [], [], _ALIVE_EVERY_S)[0]


def measure_rate(gateway: System, rate: float, seconds: float) -> tuple[dict[str, Any], list[float]]:
    """What became of calls from a process of their own, and of signs of life from another."""
    module = [sys.executable, "-m", "bench.overload", "--port", str(gateway.port)]
    calls = [*module, "--rate", str(rate), "--seconds", str(seconds)]
    watching = pin_command(LOAD_CORE, [*module, "--watch"])
    with subprocess.Popen(watching, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as watcher:
        done = subprocess.run(pin_command(LOAD_CORE, calls), cwd=ROOT, capture_output=True, check=True)
        alive, _ = watcher.communicate()
    return json.loads(done.stdout), json.loads(alive)


def format_tally(name: str, tally: dict[str, Any], alive: list[float], seconds: float) -> str:
    """A run in words."""
    refused, lives, late = (percentile(times, 0.99) * 1000 for times in (tally["refused"], alive, tally["late"]))
    good = tally["calls"].get("200", 0) / seconds
    return (
        f"{name}: {tally['calls']}, {good:.1f} served a second; refusals p99 {refused:.1f} ms, "
        f"{tally['bare']} without Retry-After; /health p99 {lives:.1f} ms; driver late p99 {late:.1f} ms"
    )


def main() -> int:
    """Run at capacity, at ten times that, and at capacity again."""
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--most", type=int, default=50)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)  # we are the driver
    parser.add_argument("--watch", action="store_true", help=argparse.SUPPRESS)  # we are the watcher
    options = parser.parse_args()
    processes.raise_fd_limit()
    if options.port:
        found = (
            watch_health(options.port)
            if options.watch
            else _run_loop(offer_calls(options.port, options.rate, options.seconds))
        )
        print(json.dumps(found))
        return 0
    measure_overload(options.rate, options.seconds, options.most)
    return 0


def measure_overload(rate: float, seconds: float, most: int) -> None:
    """Print how the calls of each part ended."""
    calm_s = min(10.0, seconds)
    with tempfile.TemporaryDirectory() as name, processes.run_upstream() as upstream:
        place = GatewayPlace(sys.executable, Path(name), upstream.port)
        with processes.run_gateway(
            place, FWD_MAX_REQUESTS=str(most), FWD_SLOW_LOOP="50ms", FWD_MAX_UNAUTHENTICATED="10000"
        ) as gateway:
            for what, wanted, lasts in (
                ("at capacity", most, calm_s),
                (f"{rate / most:g} times that", rate, seconds),
                ("at capacity again", most, calm_s),
            ):
                before = gateway.cpu_s()
                print(format_tally(what, *measure_rate(gateway, wanted, lasts), lasts), end="; ", flush=True)
                cpu = (gateway.cpu_s() - before) / lasts
                print(f"gateway's CPU {cpu:.0%}, memory {gateway.rss() >> 20} MiB", flush=True)
            log = gateway.log
        print(*(line for line in log.read_text().splitlines() if "vent loop" in line), sep="\n")


def _run_loop(work: Any) -> Any:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


if __name__ == "__main__":
    sys.exit(main())
