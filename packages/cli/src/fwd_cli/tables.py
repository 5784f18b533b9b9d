"""Rows of text: a table that fits any terminal, or columns separated by tabs in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from attrs import frozen

from fwd_cli.terminal import clean_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

ROOM_FOR_COLUMNS = 70


@frozen
class Rows:
    """What is listed: the names of the columns, the rows, and which columns are numbers.

    On a narrow terminal the first and the last column are shown without their names.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[str] = ()

    def show(self, out: TextIO | None = None) -> None:
        """Print the rows: a table on a terminal, else one row per line with tabs between cells."""
        out = out or sys.stdout
        # For cut, awk and sort: no header, no padding.
        if not out.isatty():
            out.writelines("\t".join(map(clean_line, row)) + "\n" for row in self.rows)
            return
        from fwd_cli.console import console_on

        console = console_on(out)
        console.print(self.table(console.width))

    def table(self, width: int) -> RenderableType:
        """In columns, or on a narrow terminal below each other. Nothing is cut off."""
        from rich.console import Group

        return self._in_columns() if width >= ROOM_FOR_COLUMNS else Group(*map(self._in_lines, self.rows))

    def _in_columns(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        for name in self.columns:
            is_number = name in self.numbers
            # A number that is broken over two lines cannot be read.
            table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
        for row in self.rows:
            table.add_row(*(Text(clean_line(cell)) for cell in row))
        return table

    def _in_lines(self, row: Sequence[str]) -> Text:
        from rich.text import Text

        first, *details = map(clean_line, row)
        labels = [f"{label} {detail}" for label, detail in zip(self.columns[1:-1], details, strict=False) if detail]
        known = " · ".join(part for part in (*labels, details[-1]) if part)
        return Text.assemble(first, ("\n  " + known if known else "", "dim"), overflow="fold")
