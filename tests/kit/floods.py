"""Providers that do not stop: more than is taken of everything, for as long as somebody reads (contract T9)."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from attrs import frozen

from kit.fakeup import CLOSE, ROLE, STREAM_HEAD, event, piece

MIB: Final = 1 << 20
_JSON_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n\r\n"


@frozen
class Flood:
    """What pours, into what kind of call, what the call comes to, and the limit that ends it, in bytes.

    No limit of its own is that of a body; 0 says that nothing of it is kept at all.
    """

    name: str
    steps: tuple[bytes, ...]  # then the last one for ever
    stream: bool
    code: str
    limit: int | None = None

    def script(self) -> Iterator[bytes]:
        return itertools.chain(self.steps, itertools.repeat(self.steps[-1]))


def _bomb() -> bytes:
    packed = gzip.compress(bytes(32 * MIB))
    return _JSON_HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed


FLOODS: Final = (
    Flood("body", (_JSON_HEAD + _CHUNKED, piece(b" " * 65536)), False, "too_large"),
    Flood("stream", (STREAM_HEAD, ROLE, event({"content": "x" * 16384})), True, "too_large"),
    Flood("roles", (STREAM_HEAD, event({"role": "assistant", "content": ""}, more="x" * 4096)), True, "too_large"),
    Flood("line", (STREAM_HEAD, piece(b"data: "), piece(b"x" * 65536)), True, "too_large"),
    Flood("line-of-bytes", (STREAM_HEAD, piece(b"data: "), piece(b"x") * 4096), True, "too_large"),
    Flood("informational", (b"HTTP/1.1 100 Continue\r\n\r\n" * 100,), False, "bad_response", 0),
    Flood("head", (b"HTTP/1.1 200 OK\r\n", b"x-more: %b\r\n" % (b"x" * 1000)), False, "bad_response", 0),
    Flood("bomb", (_bomb(), b""), False, "bad_encoding", 0),
)


def ended(steps: Iterable[bytes]) -> Iterator[bytes | object]:
    """The steps until the first empty one, then the end of the connection."""
    yield from itertools.takewhile(bool, steps)
    yield CLOSE
