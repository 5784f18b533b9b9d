"""Values as Rich tables that fit the terminal however narrow it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fwd_cli.render import MODEL_COLUMNS, model_row

if TYPE_CHECKING:
    from fwd_client import Model

ROOM_FOR_COLUMNS = 70
_NUMBERS = ("context", "$ in", "$ out")


def model_table(models: Sequence[Model], width: int) -> RenderableType:
    """Models with what is known of them: in columns, or on a narrow terminal below each name. Nothing is cut off."""
    return _columns(models) if width >= ROOM_FOR_COLUMNS else Group(*map(_lines, models))


def _columns(models: Sequence[Model]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in MODEL_COLUMNS:
        is_number = name in _NUMBERS
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    for model in models:
        table.add_row(*map(Text, model_row(model)))
    return table


def _lines(model: Model) -> Text:
    name, *details = model_row(model)
    labels = [f"{label} {detail}" for label, detail in zip(MODEL_COLUMNS[1:-1], details, strict=False) if detail]
    known = " · ".join(part for part in (*labels, details[-1]) if part)
    return Text.assemble(name, ("\n  " + known if known else "", "dim"), overflow="fold")
