"""The one room that talks to upstreams: a request goes out, an answer comes in, faults come back as values we know.

Below it is the connection pool (``http1``), above it nobody sees a socket. An echo script is played here with the
clock, so that it takes the same path as an answer from the network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from fwd_server.clock import Clock
from fwd_server.http1.client.pool import Pool, PreparedTarget, Response
from fwd_server.http1.client.values import Origin, TransportError
from fwd_server.providers.base import Header, ScriptedResponse, UpstreamRequest
from fwd_server.upstream.loop_guard import HEADER, LoopGuard
from fwd_server.values.cloud_token import CloudToken
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import UpstreamError, from_status, upstream_failure
from fwd_server.values.secret import Secret
from fwd_server.values.timeouts import Timeouts


class UpstreamResponse(Protocol):
    """An answer from its head on; header names are in lower case."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, repeated ones joined."""
        ...

    async def read(self) -> bytes:
        """The next piece of the body; empty at its true end. Raises UpstreamError when it breaks."""
        ...

    def whole_body(self) -> bytes | None:
        """The complete body if it is there already and nothing of it was read, else None."""
        ...

    def start_reading(self, on_data: Callable[[bytes], None], on_end: Callable[[UpstreamError | None], None]) -> None:
        """From now on hand every piece to ``on_data`` as it comes, and at last None or the failure to ``on_end``."""
        ...

    def pause(self) -> None:
        """Read no more until ``resume``: the caller is slower than the provider (contract R4)."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def await_end(self) -> None:
        """Everything was read: keep the connection if the end of the body comes soon; the answer is over anyway."""
        ...

    def close(self) -> None:
        """Done with it: an exchange that did not end cleanly closes its connection at once (contract S28, T7)."""
        ...


class Upstream:
    """Sends requests to endpoints and plays scripts. Raises UpstreamError for every way this can fail."""

    def __init__(self, pool: Pool, clock: Clock, loop_guard: LoopGuard | None = None) -> None:
        self._pool = pool
        self._loop_guard = loop_guard
        self._clock = clock
        self._places: dict[str, tuple[Origin, str]] = {}

    async def send_request(
        self,
        endpoint: Endpoint,
        request: UpstreamRequest | ScriptedResponse,
        via: tuple[str, ...] = (),
        timeouts: Timeouts | None = None,
    ) -> UpstreamResponse:
        """Send ``request`` to ``endpoint`` and return the answer once its head is in.

        ``via`` are the gateways the call came by; this one is added for those after it. ``timeouts`` take the place
        of the endpoint's own.
        """
        if isinstance(request, ScriptedResponse):
            return ScriptedPlayback(request, self._clock)
        try:
            response = await self._pool.send_prepared(
                self._prepare_target(endpoint, request, via), request.body, timeouts or endpoint.timeouts
            )
        except TransportError as error:
            raise upstream_failure(error.code) from error
        return NetworkResponse(response)

    def _prepare_target(self, endpoint: Endpoint, request: UpstreamRequest, via: tuple[str, ...]) -> PreparedTarget:
        """What all requests to this endpoint have in common but their bodies, made once.

        It is kept with the endpoint, for codecs that give the very same headers every time and for calls that came
        from no other gateway.
        """
        # `self` is part of the key: gateways of one process may share an endpoint, each with its own id in a header.
        key = (self, request.method, request.path)
        kept: tuple[object, PreparedTarget] | None = endpoint.prepared.get(key)
        # Identity instead of equality: comparing twenty headers would cost as much as it saves.
        if kept is not None and kept[0] is request.headers and not via:
            return kept[1]
        origin, path = self._split_base_url(endpoint)
        headers = wire_headers(endpoint, request.headers)
        if self._loop_guard is not None:
            headers.append((HEADER.encode(), self._loop_guard.outgoing_header(via).encode()))
        target = self._pool.prepare(origin, request.method, path + request.path, headers)
        if not via:
            endpoint.prepared[key] = (request.headers, target)
            if isinstance(endpoint.key, CloudToken):
                # The prepared bytes contain the token, so they are dropped when it is renewed.
                endpoint.key.session.forget_with(endpoint.prepared)
        return target

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    def _split_base_url(self, endpoint: Endpoint) -> tuple[Origin, str]:
        place = self._places.get(endpoint.base_url)
        if place is None:
            place = (Origin.parse(endpoint.base_url), urlsplit(endpoint.base_url).path.rstrip("/"))
            self._places[endpoint.base_url] = place
        return place


def wire_headers(endpoint: Endpoint, headers: Iterable[Header]) -> list[tuple[bytes, bytes]]:
    """Headers as bytes. A secret goes out only if it is the key of the endpoint it is sent to (contract S11)."""
    return [(name.encode("ascii"), _header_value(endpoint, value).encode("latin-1")) for name, value in headers]


def _header_value(endpoint: Endpoint, value: str | Secret) -> str:
    if isinstance(value, str):
        return value
    # A bug in a codec must end the call rather than send one provider's key to another.
    if endpoint.key is None or endpoint.key.name != value.name:
        raise AssertionError(f"the key {value.name} does not belong to {endpoint.provider}")
    if isinstance(value, CloudToken) and not value:
        raise from_status(503, f"The gateway has no token for {endpoint.provider} yet.", provider=endpoint.provider)
    return value.reveal()


class NetworkResponse:
    """An answer from the network: the pool's, with faults as UpstreamError."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: Response) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    def whole_body(self) -> bytes | None:
        """The complete body if it is there already and nothing of it was read, else None."""
        return self._response.whole_body()

    def pause(self) -> None:
        """Read no more until ``resume``."""
        self._response.pause()

    def resume(self) -> None:
        """Read on."""
        self._response.resume()

    def await_end(self) -> None:
        """Keep the connection if the end of the body comes soon."""
        self._response.await_end()

    def close(self) -> None:
        """Done with it."""
        self._response.close()

    async def read(self) -> bytes:
        """The next piece of the body; empty at its true end."""
        try:
            return await self._response.read()
        except TransportError as error:
            raise upstream_failure(error.code) from error

    def start_reading(self, on_data: Callable[[bytes], None], on_end: Callable[[UpstreamError | None], None]) -> None:
        """Hand every piece to ``on_data`` as it comes, and at last None or the failure to ``on_end``."""
        self._response.flow(on_data, lambda error: on_end(upstream_failure(error.code) if error else None))


class ScriptedPlayback:
    """An answer from a script: each step after its delay, then the end the script asks for."""

    def __init__(self, script: ScriptedResponse, clock: Clock) -> None:
        self._steps = iter(script.steps)
        self._ends = script.ends
        self._clock = clock
        self._stalled: asyncio.Future[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._wanted.set()
        self.status = script.status
        self.headers: Mapping[str, str] = dict(script.headers)

    def whole_body(self) -> bytes | None:
        """None: a script is played step by step."""
        return None

    async def read(self) -> bytes:
        """The next step's bytes, or the script's end."""
        for delay, data in self._steps:
            if delay > 0:
                await self._clock.sleep(delay)
            if data:
                return data
        # Waits for close(), as a silent provider does; the timeouts above must end it.
        if self._ends == "stall":
            self._stalled = asyncio.get_running_loop().create_future()
            await self._stalled
        if self._ends == "cut":
            raise upstream_failure("upstream_truncated")
        return b""

    def start_reading(self, on_data: Callable[[bytes], None], on_end: Callable[[UpstreamError | None], None]) -> None:
        """Play on by itself."""
        self._reader = asyncio.get_running_loop().create_task(self._play_steps(on_data, on_end))

    def pause(self) -> None:
        """Wait before the next step."""
        self._wanted.clear()

    def resume(self) -> None:
        """Play on."""
        self._wanted.set()

    def await_end(self) -> None:
        """A script has no connection to keep."""
        self.close()

    def close(self) -> None:
        """Forget the rest, and end a silence."""
        self._steps = iter(())
        if self._reader is not None:
            self._reader.cancel()
        if self._stalled is not None and not self._stalled.done():
            self._stalled.set_exception(upstream_failure("upstream_reset"))

    async def _play_steps(
        self, on_data: Callable[[bytes], None], on_end: Callable[[UpstreamError | None], None]
    ) -> None:
        try:
            while data := await self.read():
                on_data(data)
                await asyncio.sleep(0)  # others have their turn, as between two pieces from the network (contract R5)
                await self._wanted.wait()
        except UpstreamError as error:
            on_end(error)
        else:
            on_end(None)


async def read_all(response: UpstreamResponse, limit: int) -> bytes:
    """The whole body. Raises UpstreamError: cut, or larger than ``limit`` bytes (F26)."""
    pieces, size = [], 0
    while piece := await response.read():
        size += len(piece)
        if size > limit:
            raise upstream_failure("too_large")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


__all__ = [
    "NetworkResponse",
    "ScriptedPlayback",
    "Upstream",
    "UpstreamError",
    "UpstreamResponse",
    "read_all",
    "wire_headers",
]
