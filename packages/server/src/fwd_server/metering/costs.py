"""What a call costs: usage times price, in whole nano-dollars, and how sure that is.

Unknown is unknown: without a price the cost is None, never 0. An answer is billed by the unit it reports, never by
two: by tokens where it counts tokens, else by seconds, characters or images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec
from attrs import frozen

from fwd_server.metering.money import round_to_nano, to_nano
from fwd_server.metering.prices import ModelPrice, Rate
from fwd_server.values.usage import Usage

CostKind = Literal["exact", "estimated", "unknown"]

# Without their own price these take their side's, and that is how providers bill them: still exact.
_COMMON_FALLBACKS: Final = frozenset({"input", "output", "reasoning", "image_input"})


class Cost(msgspec.Struct, frozen=True):
    """Nano-dollars of one call or attempt. ``nano`` is None when ``kind`` is ``unknown``.

    ``known_part`` is what is known of an unknown sum. ``untiered`` says that the tier which answered has no price and
    the base rate was taken; ``rate`` is the line of the table that applied, for the receipt.
    """

    nano: int | None = 0
    kind: CostKind = "exact"
    known_part: int = 0
    untiered: bool = False
    rate: Rate | None = None


FREE: Final = Cost()
UNKNOWN: Final = Cost(None, "unknown")


@frozen
class CostLine:
    """One line of a receipt: so many of a meter or unit at a price. ``pico`` is the line's sum before rounding."""

    meter: str
    quantity: int
    price: int | None
    pico: int | None


def cost(usage: Usage, price: ModelPrice | None, day: str) -> Cost:
    """The cost of one attempt's usage on the UTC day it was made (``2026-12-01``).

    ``estimated`` when the usage is, when a meter or the answered tier has no price of its own, or when the parts the
    provider reports add up to more than their whole.
    """
    if usage.cost_usd is not None:
        return Cost(to_nano(usage.cost_usd), "estimated" if usage.estimated else "exact")
    if price is None:
        return UNKNOWN
    rate, tier_is_priced = price.find_rate(day, usage.tier, usage.prompt)
    quantities, is_consistent = count_meters(usage) if usage.total and rate is not None else ((), True)
    pico, nano, is_known, is_exact = 0, 0, True, is_consistent
    for meter, quantity in quantities:
        rate_of_meter: int | None = getattr(rate, meter)
        if rate_of_meter is None:
            is_known = False
            continue
        pico += quantity * rate_of_meter
        if rate is not None and meter not in rate.own and meter not in _COMMON_FALLBACKS:
            is_exact = False
    # Nearly every answer counts tokens and nothing else, and a generator costs more than this question.
    units = () if quantities and not usage.web_searches else count_units(usage, has_rate=rate is not None)
    for unit, quantity in units:
        if unit not in price.units:
            is_known = False
            continue
        nano += quantity * price.units[unit]
    # Rounded once, after adding up: rounding each meter would make the lines of a receipt miss their sum (law W8).
    total = round_to_nano(pico) + nano + price.units.get("request", 0)
    if not is_known:
        return Cost(None, "unknown", known_part=total, rate=rate)
    exact = is_exact and tier_is_priced and not usage.estimated
    return Cost(total, "exact" if exact else "estimated", untiered=not tier_is_priced, rate=rate)


def count_meters(usage: Usage) -> tuple[list[tuple[str, int]], bool]:
    """Split tokens into disjoint meters (only those above 0), and whether the reported parts fit their wholes.

    Audio read from the cache is part of the cached *and* of the audio tokens, so it is taken off both and added to
    the plain ones once: every prompt token is in exactly one meter. Parts that add up to more than their whole are
    dropped, and the whole is billed at full price.
    """
    meters: list[tuple[str, int]] = []
    prompt, cached, cache_write = usage.prompt, usage.cached, usage.cache_write
    audio_in, image_in, audio_cached = usage.audio_in, usage.image_in, usage.audio_cached
    plain = prompt - cached - cache_write - audio_in - image_in + audio_cached
    fits = plain >= 0 and usage.cache_write_1h <= cache_write and audio_cached <= cached and audio_cached <= audio_in
    if not fits:
        meters.append(("input", prompt))
    elif plain == prompt:  # most calls: nothing is cached
        meters.append(("input", plain))
    else:
        meters += (
            ("input", plain),
            ("cached_input", cached - audio_cached),
            ("audio_cached", audio_cached),
            ("cache_write", cache_write - usage.cache_write_1h),
            ("cache_write_1h", usage.cache_write_1h),
            ("audio_input", audio_in - audio_cached),
            ("image_input", image_in),
        )
    text = usage.completion - usage.audio_out - usage.image_out
    if usage.reasoning > text:
        fits = False
        meters.append(("output", usage.completion))
    elif text == usage.completion and not usage.reasoning:
        meters.append(("output", text))
    else:
        meters += (
            ("output", text - usage.reasoning),
            ("reasoning", usage.reasoning),
            ("audio_output", usage.audio_out),
            ("image_output", usage.image_out),
        )
    return [meter for meter in meters if meter[1]], fits


def count_units(usage: Usage, *, has_rate: bool) -> Iterable[tuple[str, int]]:
    """The units that are billed beside or instead of tokens (only those above 0)."""
    if usage.web_searches:
        yield "web_search", usage.web_searches
    if usage.total and has_rate:
        return  # the answer counts tokens, and they have a price: seconds or images would be billed twice
    billed = (("second", usage.seconds), ("character", usage.characters), ("image", usage.images))
    units = [(unit, quantity) for unit, quantity in billed if quantity]
    yield from units
    if usage.total and not units:
        yield "token", usage.total  # tokens and no rate: a unit no table prices, so the cost is unknown


def list_cost_lines(usage: Usage, price: ModelPrice, day: str) -> tuple[CostLine, ...]:
    """The lines of a receipt; rounded once, their sum is ``cost(...)`` (law W8)."""
    rate, _ = price.find_rate(day, usage.tier, usage.prompt)
    lines: list[CostLine] = []
    for meter, quantity in count_meters(usage)[0] if usage.total and rate is not None else ():
        pico_each: int | None = getattr(rate, meter)
        lines.append(CostLine(meter, quantity, pico_each, None if pico_each is None else quantity * pico_each))
    units = [*count_units(usage, has_rate=rate is not None), ("request", 1 if "request" in price.units else 0)]
    for unit, quantity in units:
        nano_each = price.units.get(unit)
        if quantity:
            lines.append(
                CostLine(unit, quantity, nano_each, None if nano_each is None else quantity * nano_each * 1000)
            )
    return tuple(lines)


def sum_costs(costs: Sequence[Cost]) -> Cost:
    """The cost of a call: the sum over its attempts, as sure as the least sure of them.

    One unknown attempt makes the call unknown and keeps the sum of the others as its known part.
    """
    if len(costs) == 1:
        return costs[0]
    total, kind = 0, "exact"
    untiered, is_known = False, True
    rate: Rate | None = None
    for part in costs:
        total += part.known_part if part.nano is None else part.nano
        is_known = is_known and part.nano is not None
        kind = "estimated" if part.kind == "estimated" else kind
        untiered = untiered or part.untiered
        rate = part.rate or rate
    if not is_known:
        return Cost(None, "unknown", known_part=total, untiered=untiered, rate=rate)
    return Cost(total, "estimated" if kind == "estimated" else "exact", untiered=untiered, rate=rate)
