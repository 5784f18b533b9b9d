"""Clients that take their time, and what they cost the others (contract T2).

    python -m bench.slow [headers|body|reads ...] [--clients 1000] [--seconds 40]

Every client has a connection of its own, from one of several loopback addresses. ``headers`` sends a header line a
second and never ends; ``body`` shows a good key and sends a byte of its body a second; ``reads`` asks for the API's
description many times at once and takes 256 bytes of the answers a second. Meanwhile ordinary calls go on, fifty a
second, and as many in turn with them to a second gateway that has no slow clients, so other work on the machine affects
both. The CPU that the slow clients cost is shown as well; the second gateway feels it too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench import processes
from bench.load import KEY, body_of, percentile, request_of, send_request
from bench.processes import LOAD_CORE, ROOT, GatewayPlace, System, pin_command

ADDRESSES: Final = [f"127.0.1.{number}" for number in range(1, 21)]
MODES: Final = ("headers", "body", "reads")
_STEP_S: Final = 1.0
_TAKEN: Final = 256
_ASKED: Final = 20
_PAUSE_S: Final = 0.01
_ESTABLISHED: Final = 1  # of Linux' states of a connection


def opening_bytes(mode: str, port: int) -> bytes:
    """What a slow client begins with."""
    host = f"Host: 127.0.0.1:{port}\r\n"
    if mode == "headers":
        return f"GET /health HTTP/1.1\r\n{host}".encode()
    if mode == "body":
        call = f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
        return f"POST /v1/chat/completions HTTP/1.1\r\n{host}{call}".encode()
    return f"GET /openapi.json HTTP/1.1\r\n{host}\r\n".encode() * _ASKED


async def linger_slowly(mode: str, port: int, address: str) -> float:
    """One slow client. Returns the seconds until it was disconnected."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        sock.bind((address, 0))
        await asyncio.sleep(random.uniform(0, _STEP_S))  # they do not come all at once, nor do their bytes
        await loop.sock_connect(sock, ("127.0.0.1", port))
        started = time.monotonic()
        try:
            await loop.sock_sendall(sock, opening_bytes(mode, port))
            while await _send_step(mode, sock):
                await asyncio.sleep(_STEP_S)
        except OSError:
            pass
        return time.monotonic() - started


async def _send_step(mode: str, sock: socket.socket) -> bool:
    """Go on a little; whether there is anybody at the other end."""
    loop = asyncio.get_running_loop()
    if mode == "reads":
        await loop.sock_recv(sock, _TAKEN)
    else:
        await loop.sock_sendall(sock, b"X-A: b\r\n" if mode == "headers" else b" ")
    # At this pace there are minutes of data to read before the end, so look at the state of the connection itself.
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED


async def run_crowd(mode: str, port: int, clients: int, seconds: float) -> dict[str, Any]:
    """Run all slow clients at once for ``seconds``. Clients that are still connected then count with that time."""
    tasks = [asyncio.ensure_future(linger_slowly(mode, port, ADDRESSES[n % len(ADDRESSES)])) for n in range(clients)]
    done, left = await asyncio.wait(tasks, timeout=seconds)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return {"gone": sorted(task.result() for task in done), "left": len(left)}


def time_calls(ports: Sequence[int]) -> dict[str, Any]:
    """Ordinary calls over one connection to each port in turn, one each 10 ms, until standard input ends."""
    took: list[list[float]] = [[] for _ in ports]
    failed = 0
    over = _standard_input_ends()
    with ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for port in ports]
        for line in lines:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not over(_PAUSE_S):
            which = sum(map(len, took)) % len(ports)
            request = request_of(ports[which], body_of("openai:bench"))
            started = time.monotonic()
            failed += not send_request(lines[which], request).startswith(b"HTTP/1.1 200 ")
            took[which].append(time.monotonic() - started)
    return {"took": took, "failed": failed}


def _standard_input_ends() -> Callable[[float], bool]:
    import select

    return lambda seconds: bool(select.select([sys.stdin], [], [], seconds)[0])


def measure_beside(gateways: Sequence[System], work: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """The result of ``work``, and the times of ordinary calls that were made at the same time."""
    ports = ",".join(str(gateway.port) for gateway in gateways)
    command = pin_command(LOAD_CORE, [sys.executable, "-m", "bench.slow", "--call", ports])
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as caller:
        found = work()
        out, _ = caller.communicate()
    return found, json.loads(out)


def start_slow(gateway: System, mode: str, clients: int, seconds: float) -> dict[str, Any]:
    """What became of slow clients, which have a process of their own."""
    words = ["--crowd", mode, "--clients", str(clients), "--seconds", str(seconds), "--port", str(gateway.port)]
    command = pin_command(LOAD_CORE, [sys.executable, "-m", "bench.slow", *words])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure_mode(mode: str, clients: int, seconds: float) -> dict[str, Any]:
    """Calls to a gateway with slow clients and to one without; times in milliseconds and seconds."""
    with tempfile.TemporaryDirectory() as name, processes.run_upstream() as upstream:
        place = GatewayPlace(sys.executable, Path(name), upstream.port)
        with processes.run_gateway(place) as gateway, processes.run_gateway(place) as calm:
            before = gateway.cpu_s()
            found, calls = measure_beside([gateway, calm], lambda: start_slow(gateway, mode, clients, seconds))
            cpu = (gateway.cpu_s() - before) / seconds
    beside_ms, alone_ms = (round(percentile(took, 0.99) * 1000, 2) for took in calls["took"])
    return {
        "mode": mode,
        "p99_alone_ms": alone_ms,
        "p99_beside_ms": beside_ms,
        "failed": calls["failed"],
        "last_gone_s": round(max(found["gone"], default=0.0), 1),
        "left": found["left"],
        "cpu": round(cpu, 2),
    }


def main() -> int:
    """Run each mode."""
    parser = argparse.ArgumentParser(prog="python -m bench.slow", description=__doc__.splitlines()[0])
    parser.add_argument("modes", nargs="*", metavar="mode", default=list(MODES))
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--call", help=argparse.SUPPRESS)  # we are the caller, of these ports
    parser.add_argument("--crowd", help=argparse.SUPPRESS)  # we are the slow clients of --port
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    processes.raise_fd_limit()
    if options.call:
        print(json.dumps(time_calls([int(port) for port in options.call.split(",")])))
    elif options.crowd:
        print(json.dumps(asyncio.run(run_crowd(options.crowd, options.port, options.clients, options.seconds))))
    else:
        for mode in options.modes:
            print(json.dumps(measure_mode(mode, options.clients, options.seconds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
