"""Where prices lie on disk: your own file, the installed table in the data directory, and the packaged one.

The first that knows a model wins. Every file is replaced in one step, so a running gateway that looks at it reads an
old table or a new one, never a part; a table that cannot be used leaves the one in use as it is (contract S23).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from attrs import define, evolve, frozen

from fwd_server.metering.packaged import load_packaged_prices
from fwd_server.metering.price_file import PriceFileError, join_layers, parse_prices
from fwd_server.metering.price_text import dump_layer, dump_prices
from fwd_server.metering.prices import ModelPrice, PriceLayer, PriceTable
from fwd_server.store.atomic import alone_in, replace

INSTALLED_NAME: Final = "prices.json"
OWN_NAME: Final = "own-prices.json"


@frozen
class PriceFiles:
    """The two files of an operator. ``own`` is ``FWD_PRICES``; without it, a file in the data directory."""

    own: Path
    installed: Path

    @classmethod
    def in_directory(cls, data: Path, own: Path | None = None) -> PriceFiles:
        """Those of a data directory."""
        return cls(own or data / OWN_NAME, data / INSTALLED_NAME)

    def read_table(self) -> PriceTable:
        """The table in force. Raises PriceFileError, its problems beginning with the file's path, and OSError."""
        return join_layers([*self.read_layers(), load_packaged_prices()])

    def read_layers(self) -> list[PriceLayer]:
        """The operator's own layers, as far as there are such files."""
        layers: list[PriceLayer] = []
        for path in (self.own, self.installed):
            with contextlib.suppress(FileNotFoundError):
                layers.append(_read_layer(path))
        return layers

    def read_stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Changes when a file does: compared every few seconds by a running gateway, 10 us."""
        return tuple(_stat(path) for path in (self.own, self.installed))

    def install(self, layer: PriceLayer, as_of: str) -> None:
        """Make a table the installed one. Raises OSError, and then nothing has changed."""
        replace(self.installed, dump_layer(evolve(layer, as_of=layer.as_of or as_of)))

    def set_price(self, price: ModelPrice, as_of: str) -> None:
        """Put one model into your own file, in place of the row it had there. Raises PriceFileError and OSError."""
        self.own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone_in(self.own.parent):  # two commands at once must not undo each other
            try:
                layer = _read_layer(self.own)
            except FileNotFoundError:
                layer = PriceLayer({})
            models = dict(layer.models) | {(price.provider, price.id): price}
            data = dump_prices(models.values(), as_of, like=layer.like)
            parse_prices(data)  # an alias of another row may be this model's name: such a file would be refused later
            replace(self.own, data)


@define
class PriceWatch:
    """The table in force, and a look at its files now and then (money M11)."""

    files: PriceFiles
    table: PriceTable
    trouble: str = ""
    _stamp: tuple[tuple[int, int, int] | None, ...] = ()

    @classmethod
    def start(cls, files: PriceFiles) -> PriceWatch:
        """Read the table. Raises PriceFileError and OSError."""
        # Before the table is read: a change in between is then noticed by the next poll.
        stamp = files.read_stamp()
        return cls(files, files.read_table(), stamp=stamp)

    def poll(self) -> bool:
        """Take a change of the files; True when there was one. A table that cannot be used changes nothing (S23)."""
        stamp = self.files.read_stamp()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.table, self.trouble = self.files.read_table(), ""
        except (PriceFileError, OSError) as error:
            self.trouble = f"the prices are unchanged: {error}"
        return True


def _read_layer(path: Path) -> PriceLayer:
    try:
        return parse_prices(path.read_bytes(), str(path))
    except PriceFileError as error:
        raise PriceFileError(f"{path}: {problem}" for problem in error.problems) from None


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
