"""Fakeup on the test's own event loop: hundreds of calls at once, and waits that keep their order.

async with Upstream(lambda seen: [json_answer(COMPLETION)]) as up:
    ...                       # up.url, up.seen, up.open

What keeps this loop busy delays the upstream and the gateway alike, so which of two timers fires first never
depends on the machine. The steps are those of ``fakeup``, and more ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from attrs import define, field

from kit.fakeup import CLOSE, RESET, WAIT_FOR_CLOSE, Seen

HALF_CLOSE = object()  # no more from us, but we still listen
READ_ALL = object()  # read what still comes until the other side closes; see Upstream.late_bytes

Step = bytes | float | object
Script = Callable[[Seen], Iterable[Step]]


@define
class Upstream:
    """Plays for every request the steps that ``script`` returns; endless ones end when the other side leaves.

    With ``early`` the script is asked when the head of a request is in, and its body is never read. Without ``keeps``
    what was seen is forgotten, for runs that have no end.
    """

    script: Script
    early: bool = False
    keeps: bool = True
    seen: list[Seen] = field(factory=list)
    closed_at: list[float] = field(factory=list)  # the loop's time, for each WAIT_FOR_CLOSE
    late_bytes: list[int] = field(factory=list)
    connections: int = 0
    open: int = 0
    _tasks: set[asyncio.Task[None]] = field(factory=set)
    _listener: socket.socket = field(init=False)
    _accepting: asyncio.Task[None] = field(init=False)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Upstream:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        if self.early:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._accepting.cancel()
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(self._accepting, *self._tasks, return_exceptions=True)
        self._listener.close()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _accept(self) -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # no small step waits for the kernel's timer
            self.connections += 1
            task = asyncio.create_task(self._serve(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, sock: socket.socket) -> None:
        self.open += 1
        with sock, contextlib.suppress(OSError):
            async for seen in requests(sock, early=self.early):
                if self.keeps:
                    self.seen.append(seen)
                if not await self._play(sock, seen):
                    break
        self.open -= 1

    async def _play(self, sock: socket.socket, seen: Seen) -> bool:
        loop = asyncio.get_running_loop()
        for step in self.script(seen):
            if isinstance(step, bytes):
                await loop.sock_sendall(sock, step)
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif step is HALF_CLOSE:
                sock.shutdown(socket.SHUT_WR)
            else:
                await self._end(sock, step)
                return False
        return True

    async def _end(self, sock: socket.socket, step: object) -> None:
        if step is RESET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif step in (WAIT_FOR_CLOSE, READ_ALL):
            loop, late = asyncio.get_running_loop(), 0
            with contextlib.suppress(ConnectionError):
                while data := await loop.sock_recv(sock, 1 << 16):
                    late += len(data)
            self.closed_at.append(loop.time())
            self.late_bytes.append(late)
        else:
            assert step is CLOSE, step


async def requests(sock: socket.socket, *, early: bool = False) -> AsyncIterator[Seen]:
    """The requests of one connection; each knows how many came before it there (``nth``)."""
    data, nth = b"", 0
    while True:
        while b"\r\n\r\n" not in data:
            data += (more := await asyncio.get_running_loop().sock_recv(sock, 1 << 16))
            if not more:
                return
        head, _, data = data.partition(b"\r\n\r\n")
        seen = _seen(head, nth)
        pieces, left = [data], int(seen.headers.get("content-length", 0)) - len(data)
        while left > 0 and not early:
            pieces.append(more := await asyncio.get_running_loop().sock_recv(sock, 1 << 18))
            if not more:
                return
            left -= len(more)
        body, data = b"".join(pieces), b""
        yield Seen(seen.method, seen.target, seen.headers, body, nth)
        nth += 1


def _seen(head: bytes, nth: int) -> Seen:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    return Seen(method, target, {name.lower(): value.strip() for name, _, value in pairs}, b"", nth)


async def loopback(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    """Looks up addresses of this machine, without a thread."""
    return [(socket.AF_INET, (host, port))]


@contextlib.contextmanager
def black_hole() -> Any:
    """The port of a listener that takes no more connections: its queue is full, and further SYNs are dropped."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
