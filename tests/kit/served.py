"""Our server on a loopback port, an application that journals what it is asked, and clients of bare bytes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.netutil import bind_sockets, bind_unix_socket
from tornado.web import Application, RequestHandler, stream_request_body

from fwd_server.http1.server.connection import Connection
from fwd_server.http1.server.limits import Refusal, ServerLimits
from fwd_server.http1.server.listener import HTTPServer
from fwd_server.http1.server.reply import Reply
from fwd_server.http1.server.request import Head
from fwd_server.http1.server.states import TRANSITIONS, State

HOST = b"Host: gateway\r\n"


class CheckedState:
    """In the place of ``Connection.state``: every change must be in the table of transitions."""

    def __init__(self, slot: Any) -> None:
        self._slot = slot

    def __get__(self, connection: Any, owner: type) -> Any:
        return self if connection is None else self._slot.__get__(connection, owner)

    def __set__(self, connection: Any, state: State) -> None:
        try:
            before = self._slot.__get__(connection, type(connection))
        except AttributeError:
            assert state is State.IDLE
        else:
            assert state in TRANSITIONS[before], f"{before} -> {state}"
        self._slot.__set__(connection, state)


if not isinstance(Connection.__dict__["state"], CheckedState):
    Connection.state = CheckedState(Connection.__dict__["state"])  # type: ignore[assignment, method-assign]
SOON = 5.0


class Client:
    """A connection whose other end is the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.socket: socket.socket = writer.get_extra_info("socket")

    async def send(self, data: bytes, step: int = 1 << 20) -> None:
        """Send bytes, in pieces each of its own packet."""
        for start in range(0, len(data), step):
            self.writer.write(data[start : start + step])
            await self.writer.drain()
            await asyncio.sleep(0)

    async def answer(self, bodiless: bool = False) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers in lower case, body."""
        status = int((await self.reader.readline()).split()[1])
        headers = {}
        while line := (await self.reader.readline()).rstrip(b"\r\n"):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, b"" if bodiless else await self._body(headers)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "transfer-encoding" not in headers:
            length = headers.get("content-length")
            return await (self.reader.read() if length is None else self.reader.readexactly(int(length)))
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body

    async def rest(self) -> bytes:
        """Everything up to the server's end of file; a reset counts as one."""
        try:
            return await asyncio.wait_for(self.reader.read(), SOON)
        except ConnectionError:
            return b""


class Served:
    """``async with Served() as served``: ``served.seen`` are the requests that reached a handler."""

    def __init__(
        self, limits: ServerLimits | None = None, context: ssl.SSLContext | None = None, uds: Path | None = None
    ) -> None:
        self.seen: list[HTTPServerRequest] = []
        self.left: list[str] = []
        self.refused: list[tuple[int, str]] = []
        self.events: list[str] = []
        self.heads: list[Head] = []
        self.release = asyncio.Event()
        self.server = HTTPServer(
            application(self), limits=limits or ServerLimits(), render=self._render, ssl_context=context
        )
        self._sockets = [bind_unix_socket(str(uds))] if uds else bind_sockets(0, "127.0.0.1")
        self._clients: list[Client] = []

    def _render(self, refusal: Refusal, remote_ip: str) -> tuple[Sequence[tuple[str, str]], bytes]:
        self.refused.append((refusal.status, refusal.code))
        return [("x-refused", refusal.code)], str(refusal).encode()

    @property
    def address(self) -> Any:
        return self._sockets[0].getsockname()

    async def __aenter__(self) -> Served:
        self._address = self.address
        self.server.add_sockets(self._sockets)
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            client.writer.transport.abort()
        await self.server.aclose()
        assert self.server.open == 0

    async def connect(self, **options: Any) -> Client:
        if isinstance(self._address, str):
            reader, writer = await asyncio.open_unix_connection(self._address, **options)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._address[1], **options)
        self._clients.append(Client(reader, writer))
        return self._clients[-1]

    async def say(self, data: bytes, step: int = 1 << 20) -> Client:
        """A new connection over which these bytes went."""
        client = await self.connect()
        await client.send(data, step)
        return client


async def until(condition: Any) -> None:
    """Wait until something is so; a test that waits in vain fails by its loop's bound."""
    while not condition():
        await asyncio.sleep(0.001)


class Router(Application):
    """Serves what begins with /light by delegates that take the light head, and everything else by handlers."""

    served: Served

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        if request_conn.head.path.startswith("/light/"):
            return Light(self.served, request_conn)
        return super().start_request(server_conn, request_conn)


LIGHT_HEAD = b"HTTP/1.1 200 OK\r\nX-A: b\r\n"


class Light(HTTPMessageDelegate):
    """Answers as the path says: /light/whole with what came, and the others as streams or too early."""

    def __init__(self, served: Served, reply: Reply) -> None:
        self.served = served
        self.reply = reply
        self.how = ""
        self.pieces: list[bytes] = []

    def head_received(self, head: Head) -> None:
        self.served.heads.append(head)
        self.how = head.path.removeprefix("/light/")
        self.reply.set_close_callback(lambda: self.served.left.append(head.path))
        if self.how == "early":
            self.reply.send_answer(LIGHT_HEAD, b"no")

    def data_received(self, chunk: bytes) -> None:
        self.served.events.append("piece")
        self.pieces.append(chunk)

    def on_connection_close(self) -> None:
        self.served.left.append(f"/light/{self.how}")

    def finish(self) -> None:
        getattr(self, f"answer_{self.how}")()

    def answer_whole(self) -> None:
        self.reply.send_answer(LIGHT_HEAD, b"".join(self.pieces))

    def answer_empty(self) -> None:
        self.reply.send_answer(b"HTTP/1.1 204 No Content\r\n", b"")

    def answer_stream(self) -> None:
        self.reply.begin_stream(LIGHT_HEAD, b"one")
        self.reply.write_chunk(b"")
        self.reply.write_chunk(b"two")
        self.reply.end_stream(b"three")

    def answer_bare(self) -> None:
        self.reply.begin_stream(LIGHT_HEAD)
        self.reply.end_stream()

    def answer_close(self) -> None:
        self.reply.close_after_answer()
        self.answer_whole()

    def answer_broken(self) -> None:
        self.reply.begin_stream(LIGHT_HEAD, b"one")
        self.reply.close_after_answer()
        self.reply.end_stream()

    def answer_late(self) -> None:
        self.answer_whole()
        for late in (
            self.reply.send_answer(LIGHT_HEAD, b"late"),
            self.reply.begin_stream(LIGHT_HEAD, b"late"),
            self.reply.write_chunk(b"late"),
            self.reply.end_stream(b"late"),
        ):
            self.served.events.append(type(late.exception()).__name__)

    def answer_twice(self) -> None:
        self.reply.begin_stream(LIGHT_HEAD, b"one")
        self.reply.send_answer(LIGHT_HEAD, b"two")

    def answer_unbegun(self) -> None:
        self.reply.write_chunk(b"one")

    def answer_endless(self) -> None:
        self.reply.end_stream(b"one")

    def answer_never(self) -> None:
        pass


def application(served: Served) -> Application:
    with_served = {"served": served}
    router = Router(
        [
            ("/(first|second)?", Plain, with_served),
            ("/pieces", Pieces, with_served),
            ("/wait", Waiting, with_served),
            ("/upload", Upload, with_served),
            ("/early", Early, with_served),
            ("/large/([0-9]+)", Large, with_served),
            ("/all", All, with_served),
            ("/wrong/([a-z]+)", Wrong, with_served),
            ("/last", Last, with_served),
            ("/late", Late, with_served),
        ],
        log_function=lambda handler: None,
    )
    router.served = served
    return router


class Base(RequestHandler):
    def initialize(self, served: Served) -> None:
        self.served = served

    def prepare(self) -> None:
        self.served.seen.append(self.request)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.served.left.append(self.request.path)

    def compute_etag(self) -> None:
        pass


class Plain(Base):
    """Answers with method, query and body."""

    def answer(self, _: str | None = None) -> None:
        self.write(f"{self.request.method} {self.request.query} ".encode() + self.request.body)

    get = post = put = delete = options = answer

    def head(self, _: str | None = None) -> None:
        self.set_header("Content-Length", "7")


class Pieces(Base):
    """Answers in pieces, without saying how many."""

    async def get(self) -> None:
        for piece in ("one", "", "two"):
            self.write(piece)
            await self.flush()

    head = get


class Waiting(Base):
    """Answers when the test says so."""

    async def get(self) -> None:
        await self.served.release.wait()
        self.write("done")


@stream_request_body
class Upload(Base):
    """Takes a body piece by piece, slowly."""

    size = 0

    async def data_received(self, chunk: bytes) -> None:
        self.served.events.append("piece")
        await asyncio.sleep(0)
        self.size += len(chunk)
        if "fail" in self.request.query:
            raise RuntimeError("as asked")

    def prepare(self) -> None:
        super().prepare()
        connection: Any = self.request.connection
        if "body_s" in self.request.query:
            connection.set_body_timeout(float(self.get_argument("body_s")))
        if "limit" in self.request.query:
            connection.set_max_body_size(int(self.get_argument("limit")))

    def post(self) -> None:
        self.write(str(self.size))


@stream_request_body
class Early(Base):
    """Answers before the body."""

    def prepare(self) -> None:
        super().prepare()
        self.set_status(401)
        self.finish("no")

    def data_received(self, chunk: bytes) -> None:
        self.served.events.append("piece")


class Large(Base):
    """Answers with many bytes, waiting for the reader."""

    async def get(self, size: str) -> None:
        self.set_header("Content-Length", size)
        left = int(size)
        while left:
            piece = b"x" * min(left, 32 << 10)
            left -= len(piece)
            self.write(piece)
            await self.flush()
            self.served.events.append("flushed")


class All(Base):
    """Answers with a mebibyte, all of it at once."""

    def get(self) -> None:
        self.write(b"x" * (1 << 20))


class Wrong(Base):
    """Answers in ways that cannot be sent."""

    def get(self, how: str) -> None:
        if how == "break":
            self._headers["X-A"] = "b\r\nX-Evil: c"
        elif how == "length":
            self._headers["Content-Length"] = "+2"
        elif how == "short":
            self.set_header("Content-Length", "5")
        elif how == "long":
            self.set_header("Content-Length", "1")
        elif how == "upgrade":
            self.set_status(101)
            return
        elif how == "detach":
            self.detach()
        self.write("no")


class Last(Base):
    """Closes after an answer whose head said nothing about it."""

    async def get(self) -> None:
        self.write("bye")
        await self.flush()
        connection: Any = self.request.connection
        connection.close_after_answer()


class Late(Base):
    """Writes after its answer is complete."""

    async def get(self) -> None:
        connection = self.request.connection
        assert connection is not None
        self.finish("on time")
        for write in (connection.write(b"late"), connection.write_headers(None, self._headers)):
            self.served.events.append(type(write.exception()).__name__)
        connection.finish()
