"""Load generators: streams, calls in a closed loop, single calls, and connections that are held open.

    python -m bench.load streams PORT --streams 100 --rounds 2 --spread 1 --model openai:bench-100x20
    python -m bench.load calls PORT --connections 32 --seconds 2
    python -m bench.load latency PORT --calls 2000
    python -m bench.load hold PORT --streams 500 --model openai:bench-600x1000 [--mute]

Prints one JSON object. ``hold`` prints it when all streams are open, and closes them when its standard input ends; with
``--mute`` it never reads. Where wrk is installed it replaces ``calls``, because it takes less CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from attrs import Factory, define

KEY: Final = "fwd_" + "b" * 43
PATH: Final = "/v1/chat/completions"
# The OpenAI SDK sends these with every call. With Host and Content-Length they are 16.
HEADERS: Final = {
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
    "Accept": "application/json",
    "Content-Type": "application/json",
    "User-Agent": "OpenAI/Python 3.54.0",
    "X-Stainless-Lang": "python",
    "X-Stainless-Package-Version": "3.54.0",
    "X-Stainless-OS": "Linux",
    "X-Stainless-Arch": "x64",
    "X-Stainless-Runtime": "CPython",
    "X-Stainless-Runtime-Version": "3.12.1",
    "X-Stainless-Async": "false",
    "X-Stainless-Retry-Count": "0",
    "Authorization": f"Bearer {KEY}",
}
STAMP: Final = re.compile(rb'"(\d{19})"')
_STAMP_BYTES: Final = 21
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def body_of(model: str, *, stream: bool = False, size: int = 0) -> bytes:
    """A call's body; ``size`` adds that many bytes of prompt."""
    content = "Say something about foxes." + "Lorem ipsum dolor sit amet. " * (size // 28)
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": content}]
    more = {"stream": True} if stream else {}
    return json.dumps({"model": model, "messages": messages, "temperature": 0.7, "max_tokens": 256, **more}).encode()


def request_of(port: int, body: bytes, path: str = PATH, more: Mapping[str, str] | None = None) -> bytes:
    """A whole request as bytes, with ``more`` headers."""
    headers = HEADERS | dict(more or {})
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def spread_of(values: Sequence[float]) -> dict[str, float]:
    """The median, p99 and maximum of many times, in milliseconds."""
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(percentile(values, share) * 1000, 3) for name, share in shares.items()}


@define
class StreamTally:
    """The counts and times (in seconds) of all streams together."""

    ttft: list[float] = Factory(list)
    transit: list[float] = Factory(list)
    gaps: list[float] = Factory(list)
    chunks: int = 0
    ended: int = 0
    failed: int = 0


class StreamReader(asyncio.Protocol):
    """One stream over a connection of its own; every piece is timed by the stamp it carries."""

    def __init__(self, request: bytes, seen: StreamTally, done: asyncio.Future[None], mute: bool = False) -> None:
        self._request = request
        self._seen = seen
        self._done = done
        self._mute = mute
        self._rest = b""
        self._last = 0.0
        self._ended = False
        self._broken = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self._mute:
            transport.pause_reading()
        self._asked = time.monotonic()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        data = self._rest + data
        stamps = STAMP.findall(data)
        for stamp in stamps:
            self._seen.transit.append(now - int(stamp) / 1e9)
        if stamps:
            (self._seen.gaps if self._last else self._seen.ttft).append(now - (self._last or self._asked))
            self._last = now
            self._seen.chunks += len(stamps)
        cut = data.rfind(b'"', -_STAMP_BYTES)  # a stamp may end in the next piece
        self._rest = data[cut:] if cut >= 0 and not STAMP.match(data, cut) else b""
        self._broken |= b'{"error":' in data  # a stream that ends well in HTTP may still have failed
        if data.endswith(b"0\r\n\r\n"):
            self._ended = not self._broken
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._seen.ended += self._ended
        self._seen.failed += not self._ended
        if not self._done.done():
            self._done.set_result(None)


async def run_streams(port: int, request: bytes, streams: int, rounds: int, spread: float) -> dict[str, Any]:
    """``streams`` at once, ``rounds`` one after the other, their starts spread over ``spread`` seconds."""
    loop = asyncio.get_running_loop()
    seen = StreamTally()

    async def one(delay: float) -> None:
        await asyncio.sleep(delay)
        for _ in range(rounds):
            done: asyncio.Future[None] = loop.create_future()
            await loop.create_connection(_stream_factory(request, seen, done), "127.0.0.1", port)
            await done

    await asyncio.gather(*(one(spread * number / streams) for number in range(streams)))
    times = {"ttft": spread_of(seen.ttft), "under_way": spread_of(seen.transit), "gap": spread_of(seen.gaps)}
    return {"streams": streams * rounds, "ended": seen.ended, "failed": seen.failed, "chunks": seen.chunks, **times}


def _stream_factory(
    request: bytes, seen: StreamTally, done: asyncio.Future[None], mute: bool = False
) -> Callable[[], asyncio.BaseProtocol]:
    return lambda: StreamReader(request, seen, done, mute)


async def hold_open(port: int, request: bytes, streams: int, mute: bool) -> dict[str, Any]:
    """Open streams, print one line once each has begun, and keep them until standard input ends."""
    loop = asyncio.get_running_loop()
    seen = StreamTally()
    for _ in range(streams):
        await loop.create_connection(_stream_factory(request, seen, loop.create_future(), mute), "127.0.0.1", port)
    while not mute and len(seen.ttft) + seen.failed < streams:
        await asyncio.sleep(0.05)
    print(json.dumps({"open": streams - seen.failed}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    return {"failed": seen.failed}


class LoopCaller(asyncio.Protocol):
    """One connection in a closed loop: the next call goes out when the answer is in."""

    def __init__(self, request: bytes, took: list[float], failed: list[bytes]) -> None:
        self._request = request
        self._took = took
        self._failed = failed
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.monotonic()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not is_whole(self._buffer):
            return
        if b" 200 " not in self._buffer[:16]:
            self._failed.append(self._buffer[:16])
        self._buffer = b""
        self._took.append(time.monotonic() - self._sent)
        self._send()


def send_request(connection: socket.socket, request: bytes) -> bytes:
    """Send a request, and wait for the whole answer."""
    connection.sendall(request)
    answer = b""
    while not is_whole(answer):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("the connection ended inside an answer")
        answer += piece
    return answer


def is_whole(answer: bytes) -> bool:
    """Whether an answer with a Content-Length is all there."""
    end = answer.find(b"\r\n\r\n")
    length = _LENGTH.search(answer, 0, max(end, 0))
    return length is not None and len(answer) >= end + 4 + int(length[1])


async def run_calls(port: int, request: bytes, connections: int, seconds: float) -> dict[str, Any]:
    """Calls over some connections, each in a closed loop."""
    loop = asyncio.get_running_loop()
    took: list[float] = []
    failed: list[bytes] = []
    started = time.monotonic()
    for _ in range(connections):
        await loop.create_connection(lambda: LoopCaller(request, took, failed), "127.0.0.1", port)
    await asyncio.sleep(seconds)
    elapsed = time.monotonic() - started
    return {"requests": len(took), "failed": len(failed), "seconds": elapsed, "latency": spread_of(took)}


async def run_latency(port: int, request: bytes, calls: int) -> dict[str, Any]:
    """One connection, one call after the other, by plain sockets: nothing of the driver's own in the times."""
    took = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(calls):
            started = time.monotonic()
            send_request(connection, request)
            took.append(time.monotonic() - started)
    return {"calls": calls, "latency": spread_of(took)}


def main() -> None:
    """Run one of the loads and print what it saw."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["streams", "calls", "latency", "hold"])
    parser.add_argument("port", type=int)
    parser.add_argument("--model", default="openai:bench")
    parser.add_argument("--path", default=PATH)
    parser.add_argument("--headers", type=json.loads, default={})
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--spread", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--mute", action="store_true")
    options = parser.parse_args()
    streams = options.what in ("streams", "hold")
    body = body_of(options.model, stream=streams, size=options.size)
    request = request_of(options.port, body, options.path, options.headers)
    port = options.port
    work: Awaitable[dict[str, Any]] = {
        "streams": lambda: run_streams(port, request, options.streams, options.rounds, options.spread),
        "hold": lambda: hold_open(port, request, options.streams, options.mute),
        "calls": lambda: run_calls(port, request, options.connections, options.seconds),
        "latency": lambda: run_latency(port, request, options.calls),
    }[options.what]()
    print(json.dumps(_run_loop(work)), flush=True)


def _run_loop(work: Any) -> Any:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


if __name__ == "__main__":
    main()
