"""A caller on a raw socket: what came back, to the byte, and whether the connection was closed after it."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from attrs import define, evolve, frozen

PATIENCE_S = 3600.0  # of a loop that need not wait


@frozen
class Answer:
    """One answer. ``closed``: the other side closed the connection after a stream without ``[DONE]``."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes
    closed: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a JSON answer, or of a stream's last event."""
        said = json.loads(self.events[-1]) if self.streamed else self.json
        error: dict[str, Any] = said["error"]
        return error

    @property
    def streamed(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def events(self) -> list[str]:
        """The data of every event of a stream."""
        blocks = self.body.decode().split("\n\n")
        return [block.removeprefix("data: ") for block in blocks if block.startswith("data: ")]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The chunks of a stream, without its error and its end."""
        found = [json.loads(event) for event in self.events if event != "[DONE]"]
        return [chunk for chunk in found if "error" not in chunk]

    @property
    def text(self) -> str:
        """What the model said."""
        if self.streamed:
            deltas = (choice["delta"] for chunk in self.chunks for choice in chunk["choices"])
            return "".join(delta.get("content") or "" for delta in deltas)
        return "".join(choice["message"].get("content") or "" for choice in self.json["choices"])


def request(url: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of a POST."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@define
class Line:
    """A connection to one place, for one request after the other."""

    url: str
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    @classmethod
    async def to(cls, url: str) -> Line:
        """Connect."""
        parts = urlsplit(url)
        return cls(
            f"{url}/v1/chat/completions", *await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 24)
        )

    async def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Send a call and read its answer to the end."""
        return await asyncio.wait_for(self._post(request(self.url, body, headers)), PATIENCE_S)

    async def _post(self, data: bytes) -> Answer:
        self._writer.write(data)
        await self._writer.drain()
        return await _read(self._reader)

    def close(self) -> None:
        """Leave at once."""
        self._writer.transport.abort()


async def post(url: str, body: bytes, headers: dict[str, str]) -> Answer:
    """One call on a connection of its own; ``url`` is the gateway's."""
    line = await Line.to(url)
    try:
        return await line.post(body, headers)
    finally:
        line.close()


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = await _chunks(reader)
    else:
        body = await reader.readexactly(int(headers["content-length"]))
    answer = Answer(int(first.split(" ")[1]), headers, body, head + body)
    broken_off = answer.streamed and b"data: [DONE]" not in body
    return evolve(answer, closed=broken_off and await _closes(reader))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    found = []
    while size := int(await reader.readline(), 16):
        found.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(found)


async def _closes(reader: asyncio.StreamReader) -> bool:
    """Wait for the end that must come."""
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True
