"""The price table that is part of the package: ``prices.json``, checked in, dated, made from two sources.

Nothing is read at import, and nothing ever comes from a network (contract S23).
"""

from __future__ import annotations

import functools
from importlib import resources

from fwd_server.metering.price_file import join_layers, parse_prices
from fwd_server.metering.prices import PriceLayer, PriceTable


@functools.cache
def load_packaged_prices() -> PriceLayer:
    """The table of this version, read with its first use and then kept."""
    data = resources.files("fwd_server").joinpath("prices.json").read_bytes()
    return parse_prices(data, source="packaged")


def build_price_table(*files: tuple[bytes, str]) -> PriceTable:
    """The table in force: your files (content and name, the most important first), then the packaged one.

    Raises PriceFileError naming the file and the path in it; a table that is in use is never changed by that.
    """
    return join_layers([*(parse_prices(data, name) for data, name in files), load_packaged_prices()])
