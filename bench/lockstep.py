"""Caller and provider in one process, in step: nothing is sent before what came before it has arrived.

The gateway then does the same work in every run, however busy the machine is: each answer and each piece of a stream
reaches it alone, and no timer decides when. Counting needs that. It is of no use for measuring time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from attrs import define

from bench.load import PATH, STAMP, body_of, is_whole, request_of
from bench.upstream import CannedUpstream

TIMEOUT_S: Final = 60.0  # under callgrind a call takes about 50 ms
_END: Final = b"0\r\n\r\n"


class Baton:
    """Holds the provider's next piece back until the caller has the last one."""

    def __init__(self) -> None:
        self._send: Callable[[], object] | None = None

    def hold(self, send: Callable[[], object]) -> None:
        """Keep what sends the next piece."""
        self._send = send

    def release(self) -> None:
        """Let the next piece be sent, if one is held."""
        send, self._send = self._send, None
        if send is not None:
            send()


class SteppedUpstream(CannedUpstream):
    """The bench's provider, whose streams wait for the reader and not for the clock."""

    def __init__(self, baton: Baton) -> None:
        super().__init__()
        self._baton = baton

    def schedule_piece(self, wait_s: float, send: Callable[[], object]) -> None:
        """Wait for the caller; ``wait_s`` does not matter."""
        self._baton.hold(send)


class SteppedCaller(asyncio.Protocol):
    """One connection that makes one call after the other."""

    def __init__(self, baton: Baton) -> None:
        self._baton = baton
        self._buffer = bytearray()
        self._streams = False
        self._scanned = 0
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the gateway closed the connection inside an answer"))

    async def call(self, request: bytes, *, stream: bool = False) -> bytes:
        """Send a request and wait for its whole answer. Raises RuntimeError unless that is a 200 with a good end."""
        self._buffer.clear()
        self._scanned = 0
        self._streams = stream
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        answer = await asyncio.wait_for(self._answer, TIMEOUT_S)
        if b" 200 " not in answer[:16] or b'{"error":' in answer:
            raise RuntimeError(f"a call failed: {answer[:500]!r}")
        return answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        # An error has a Content-Length even if the request was for a stream.
        ended = is_whole(bytes(self._buffer)) or (self._streams and self._buffer.endswith(_END))
        if self._answer is not None and ended and not self._answer.done():
            self._answer.set_result(bytes(self._buffer))
        elif self._streams:
            self._release_pieces()

    def _release_pieces(self) -> None:
        """Ask for the next piece once for each that has come: a stamp may have been cut on the way."""
        while stamp := STAMP.search(self._buffer, self._scanned):
            self._scanned = stamp.end()
            self._baton.release()


@asynccontextmanager
async def stepped_upstream(baton: Baton) -> AsyncIterator[int]:
    """The provider, for the duration of the block; its port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SteppedUpstream(baton), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@define
class SteppedClient:
    """Makes the two calls that are counted, over one connection that is kept. Both return the whole answer."""

    port: int
    caller: SteppedCaller
    path: str = PATH
    prefix: str = "openai:"

    async def call_json(self) -> bytes:
        """A call that is answered in one piece, with the 16 headers of the OpenAI SDK."""
        return await self.caller.call(request_of(self.port, body_of(f"{self.prefix}bench"), self.path))

    async def call_stream(self, pieces: int) -> bytes:
        """A streamed call of that many pieces, beside the first chunk (the role) and the last (the usage)."""
        body = body_of(f"{self.prefix}bench-{pieces}x0", stream=True)
        return await self.caller.call(request_of(self.port, body, self.path), stream=True)


@asynccontextmanager
async def connect_client(port: int, baton: Baton) -> AsyncIterator[SteppedClient]:
    """A caller that is connected to a gateway, for the duration of the block."""
    transport, caller = await asyncio.get_running_loop().create_connection(
        lambda: SteppedCaller(baton), "127.0.0.1", port
    )
    try:
        yield SteppedClient(port, caller)
    finally:
        transport.close()
