"""Money as whole numbers: nano-dollars for amounts, pico-dollars for the price of one token.

A price of 1 USD per million tokens is 1,000,000 pico-dollars a token, so prices with up to six decimals are whole.
Floats appear only where a provider states a cost, and are converted through their decimal text: 0.1 is 0.1.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final

NANO: Final = 10**9  # nano-dollars in a dollar
PICO_PER_NANO: Final = 1000
RATE_SCALE: Final = 10**6  # pico-dollars a token in one USD per million tokens

# 2**63 nano-dollars are 9.2 billion dollars: sums of a lifetime still fit into an SQL bigint.
MAX_USD: Final = 1_000_000_000

_AMOUNT: Final = re.compile(r"(?:usd|\$)?\s*([0-9]{1,10})(?:\.([0-9]{1,9}))?\s*(?:usd|\$)?", re.IGNORECASE)


def parse_usd(text: str) -> int:
    """Nano-dollars of ``5``, ``2.50``, ``$5`` or ``5usd``. Raises ValueError for anything else.

    More than nine decimals are an error: rounding a limit would change what its owner wrote.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError("an amount is dollars with at most 9 decimals, such as 5, 2.50 or 5usd")
    whole, fraction = match.groups()
    nano = int(whole) * NANO + int((fraction or "0").ljust(9, "0"))
    if nano > MAX_USD * NANO:
        raise ValueError(f"an amount is at most {MAX_USD:,} USD")
    return nano


def format_usd(nano: int) -> str:
    """Dollars with nine decimals and no exponent: ``0.000482500``, for headers and exports."""
    sign, value = ("-", -nano) if nano < 0 else ("", nano)
    return f"{sign}{value // NANO}.{value % NANO:09d}"


def show_usd(nano: int) -> str:
    """Dollars for people: at least two decimals, as many as needed, at most nine."""
    text = format_usd(nano).rstrip("0")
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}"


def to_nano(usd: float | Decimal) -> int:
    """Nano-dollars of a cost that a provider states, rounded half up through its decimal text."""
    return int((Decimal(str(usd)) * NANO).quantize(Decimal(1), ROUND_HALF_UP))


def scale_exactly(value: int | Decimal, scale: int, most: int) -> int:
    """``value * scale`` as a whole number; the one place where a number of a price file becomes an integer.

    Raises ValueError when it is negative, above ``most``, or has more decimals than ``scale`` holds.
    """
    if not 0 <= value <= most:
        raise ValueError(f"is not between 0 and {most:,}")
    try:
        scaled = Decimal(value) * scale
    except InvalidOperation:
        raise ValueError("is not a number") from None
    if scaled != int(scaled):
        raise ValueError(f"has more than {len(str(scale)) - 1} decimals")
    return int(scaled)


def round_to_nano(pico: int) -> int:
    """Nano-dollars of pico-dollars, half up. Called once a call, so that sums of parts equal the whole."""
    return (pico + PICO_PER_NANO // 2) // PICO_PER_NANO
