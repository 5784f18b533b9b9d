"""A web site with TLS on loopback, for images that are linked to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from fwd_server.http1.client.dial import Address, tls_context

HOST = "pictures.example"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))


def reply(body: bytes, status: int = 200, *more: str) -> bytes:
    head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@define
class Site:
    """A TLS server on loopback that says ``says`` to everybody."""

    says: bytes = reply(PNG)
    waits: bool = False
    requests: list[bytes] = field(factory=list)
    port: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.says)
            if self.waits:
                await reader.read()
        writer.close()

    def link(self, path: str = "/a.png", scheme: str = "https", host: str = HOST) -> str:
        return f"{scheme}://{host}:{self.port}{path}"


def certificate(folder: Path) -> Path:
    """A certificate for HOST that signs itself, with its key; the certificate alone stands beside it as .crt."""
    pem = folder / "site.pem"
    words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={HOST}".split()
    words += ["-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(pem), "-out", f"{pem}.crt"]
    subprocess.run(["openssl", *words], check=True, capture_output=True)
    pem.write_text(pem.read_text() + Path(f"{pem}.crt").read_text())
    return pem


def trusting(pem: Path) -> ssl.SSLContext:
    """The client's own context, which trusts this certificate as well."""
    context = tls_context()
    context.load_verify_locations(f"{pem}.crt")
    return context


@contextlib.asynccontextmanager
async def serving(pem: Path, **site: Any) -> AsyncIterator[Site]:
    """A site that listens on 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # refused handshakes are meant
    found = Site(**site)
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0, ssl=context)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


async def loopback(host: str, port: int) -> Sequence[Address]:
    """Knows every name: it is here."""
    return [(socket.AF_INET, ("127.0.0.1", port))]
