"""Numbers that look random and are the same everywhere: in every worker, every replica, every run."""

from __future__ import annotations

import hashlib
import math
from typing import Final

_MASK: Final = (1 << 64) - 1


def mix64(value: int) -> int:
    """One round of splitmix64: 64 bits whose every bit depends on every bit of ``value``.

    https://prng.di.unimi.it/splitmix64.c
    """
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def hash64(*parts: str) -> int:
    """64 bits of SHA-256 over the parts, in this order; no two lists of parts are the same text."""
    text = "\0".join(f"{len(part)}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def draw(seed: int, salt: int, weight: float) -> float:
    """When an entry of this weight comes up, for one seed: the lowest of several is first.

    The values are exponentially distributed with the rate ``weight``, so entry i is the lowest with probability
    w_i / sum w, and the order is that of drawing without replacement. For one seed an entry's value does not depend on
    the others: taking one out moves only what it had (weighted rendezvous hashing).
    """
    return -math.log((mix64(seed ^ salt) + 0.5) / 18446744073709551616.0) / weight
