"""What differs between two price lists: for ``fwd prices update`` before it installs one, and ``fwd prices check``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from attrs import frozen

from fwd_server.metering.money import NANO, RATE_SCALE
from fwd_server.metering.price_text import plain_number
from fwd_server.metering.prices import METERS, UNITS, ModelPrice, PriceLayer

_ALARMING_FACTOR: Final = 10
_ALARMING_SHARE: Final = 5  # more than one in so many models loses its price


@frozen
class PriceChange:
    """One number that differs. ``before`` and ``after`` are USD per million tokens or per unit; None: not there."""

    provider: str
    model: str
    meter: str
    before: float | None
    after: float | None
    tier: str = ""
    since: str = ""
    above: int | None = None

    @property
    def percent(self) -> float | None:
        """The change in percent of the old price; None where there was none, or nothing."""
        if self.before is None or self.after is None or not self.before:
            return None
        return (self.after - self.before) / self.before * 100

    @property
    def is_alarming(self) -> bool:
        """Whether a person should look: more than tenfold either way, or suddenly free."""
        if self.before is None or self.after is None or self.before == self.after:
            return False
        low, high = sorted((self.before, self.after))
        return low == 0 or high > low * _ALARMING_FACTOR


@frozen
class PriceDifference:
    """Everything that differs between two layers; ``new`` and ``gone`` are models as ``provider:id``."""

    new: tuple[str, ...]
    gone: tuple[str, ...]
    changes: tuple[PriceChange, ...]
    common: int

    def find_alarms(self, in_use: int | None = None) -> tuple[str, ...]:
        """Sentences about changes that need a person's word before they are installed."""
        alarms = [
            f"{change.provider}:{change.model} {change.meter} goes from {change.before} to {change.after}"
            for change in self.changes
            if change.is_alarming
        ]
        models = self.common + len(self.gone) if in_use is None else in_use
        if len(self.gone) * _ALARMING_SHARE > models:
            alarms.append(f"{len(self.gone)} of {models} models lose their price")
        return tuple(alarms)


def compare_prices(before: PriceLayer, after: PriceLayer) -> PriceDifference:
    """What changes when ``after`` takes the place of ``before``."""
    old, new = before.models, after.models
    both = sorted(set(old) & set(new))
    changes = tuple(change for key in both for change in compare_models(old[key], new[key]))
    names = [tuple(":".join(key) for key in sorted(keys)) for keys in (set(new) - set(old), set(old) - set(new))]
    return PriceDifference(names[0], names[1], changes, len(both))


def compare_models(before: ModelPrice, after: ModelPrice) -> Iterator[PriceChange]:
    """Every number of a model that differs, in all its rates and units."""
    old, new = _list_prices(before), _list_prices(after)
    for key in sorted(set(old) | set(new)):
        if old.get(key) != new.get(key):
            tier, since, threshold, meter = key
            above = threshold - 1 if threshold else None
            yield PriceChange(after.provider, after.id, meter, old.get(key), new.get(key), tier, since, above)


def _list_prices(price: ModelPrice) -> Mapping[tuple[str, str, int, str], float]:
    rates = {
        (rate.tier, rate.since, rate.threshold, meter): float(plain_number(getattr(rate, meter), RATE_SCALE))
        for sets in price.tiers.values()
        for rates in sets
        for rate in rates.rates
        for meter in METERS
        if meter in rate.own
    }
    units = {("", "", 0, unit): float(plain_number(price.units[unit], NANO)) for unit in UNITS if unit in price.units}
    return rates | units
