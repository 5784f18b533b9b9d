"""An input is the bytes to read and, in its last eight, where to cut them."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

_CUTS: Final = 4
_TAIL: Final = 2 * _CUTS


def parted(data: bytes) -> tuple[bytes, list[bytes]]:
    """The bytes to read, and the same in pieces."""
    text, tail = data[:-_TAIL], data[-_TAIL:]
    cuts = sorted(int.from_bytes(tail[i : i + 2], "big") % (len(text) + 1) for i in range(0, len(tail), 2))
    return text, [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]


def seed(text: bytes) -> bytes:
    """An input that reads ``text``, cut where it is likely to hurt."""
    breaks = [at for at in range(1, len(text)) if text[at - 1 : at + 1] == b"\r\n"]
    cuts = [*breaks[-1:], *breaks[:2], len(text) // 2, len(text) // 3, len(text), len(text)][:_CUTS]
    return text + b"".join(cut.to_bytes(2, "big") for cut in cuts)
