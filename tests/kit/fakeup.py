"""An upstream on a real socket that does exactly what it is told, and journals what it saw.

with Fakeup(lambda seen: [json_answer(COMPLETION)]) as up:
    ...                       # up.url, up.seen
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import define, field, frozen


@frozen
class Seen:
    """One request as it arrived; ``nth`` counts those before it on its connection."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    nth: int = 0

    @property
    def json(self) -> Any:
        return json.loads(self.body)


RESET = object()  # close with a reset
CLOSE = object()  # close cleanly
WAIT_FOR_CLOSE = object()  # say nothing until the other side closes; then note it

Step = bytes | float | object
Script = Callable[[Seen], Iterable[Step]]


@define
class Fakeup:
    """Serves every request with the steps that ``script`` returns for it: bytes to send, seconds to wait, an end."""

    script: Script
    seen: list[Seen] = field(factory=list)
    closed_after_s: list[float] = field(factory=list)
    connections: int = 0
    _listener: socket.socket = field(init=False)
    _open: set[socket.socket] = field(factory=set)
    _stopping: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Fakeup:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        # A blocked accept() is not woken by close() alone.
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname(), 1).close()
        self._listener.close()
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._stopping:
            with contextlib.suppress(OSError):
                connection, _ = self._listener.accept()
                if self._stopping:
                    connection.close()
                    return
                self.connections += 1
                self._open.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as reader:
            for seen in requests(reader):
                self.seen.append(seen)
                if not self._play(connection, seen):
                    break
        self._open.discard(connection)

    def _play(self, connection: socket.socket, seen: Seen) -> bool:
        for step in self.script(seen):
            if isinstance(step, bytes):
                connection.sendall(step)
            elif isinstance(step, float):
                time.sleep(step)
            else:
                return self._end(connection, step)
        return True

    def _end(self, connection: socket.socket, step: object) -> bool:
        if step is RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif step is WAIT_FOR_CLOSE:
            began = time.monotonic()
            with contextlib.suppress(OSError):
                while connection.recv(65536):
                    pass
            self.closed_after_s.append(time.monotonic() - began)
        return False


def requests(reader: Any) -> Iterator[Seen]:
    """The requests of one connection."""
    while line := reader.readline():
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while (raw := reader.readline().strip()) != b"":
            name, _, value = raw.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        yield Seen(method, target, headers, reader.read(int(headers.get("content-length", 0))))


def answer(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> bytes:
    """A whole HTTP answer."""
    head = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", f"content-length: {len(body)}"]
    head += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def json_answer(value: Any, status: int = 200, **headers: str) -> bytes:
    """A whole answer of JSON."""
    return answer(status, json.dumps(value).encode(), **headers)


def error_answer(status: int, message: str = "no", **headers: str) -> bytes:
    """A failure as OpenAI words it."""
    error = {"message": message, "type": "x", "param": None, "code": None}
    return json_answer({"error": error}, status, **headers)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def piece(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """One event of a stream in OpenAI's language, as a chunk of the body."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    data = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-x",
        "choices": [choice],
        **more,
    }
    return piece(b"data: " + json.dumps(data).encode() + b"\n\n")


ROLE = event({"role": "assistant", "content": ""})


def stream(*texts: str) -> list[bytes]:
    """A whole stream that says ``texts``."""
    return [
        STREAM_HEAD,
        ROLE,
        *(event({"content": text}) for text in texts),
        event({}, "stop"),
        piece(DONE),
        STREAM_END,
    ]


def completion(text: str = "Hello", model: str = "gpt-x") -> dict[str, Any]:
    """A whole answer in OpenAI's language."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def closed_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
