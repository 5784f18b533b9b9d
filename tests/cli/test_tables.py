"""Tables that fit."""

from __future__ import annotations

import io

from rich.cells import cell_len
from rich.console import Console

from fwd_cli import render
from fwd_cli.tables import Rows
from fwd_client import Model

MODELS = [
    Model(
        id="provider:a-model-with-a-very-long-name-日本語",
        fwd={"context": 922000, "prices": {"input": 0.075, "output": 10}, "abilities": ["tools", "vision"]},
    ),
    Model(id="echo:"),
]


def shown(width: int) -> str:
    out = io.StringIO()
    rows = Rows(render.MODEL_COLUMNS[:5], [render.model_row(model)[:5] for model in MODELS], render.MODEL_NUMBERS)
    Console(file=out, width=width).print(rows.table(width))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def test_columns_where_there_is_room() -> None:
    """One model a line."""
    assert shown(90) == (
        "model                                          context   $ in  $ out  abilities\n"
        "provider:a-model-with-a-very-long-name-日本語  922,000  0.075  10.00  tools, vision\n"
        "echo:"
    )


def test_below_each_other_where_there_is_none() -> None:
    """Forty columns hold everything, and no line is wider."""
    lines = shown(40).splitlines()
    assert "".join(line.strip() for line in lines[:2]) == "provider:a-model-with-a-very-long-name-日本語"
    assert " ".join(line.strip() for line in lines[2:4]) == "context 922,000 · $ in 0.075 · $ out 10.00 · tools, vision"
    assert lines[-1] == "echo:"
    assert max(map(cell_len, lines)) <= 40


def test_tabs_for_programs() -> None:
    """One row a line; a cell cannot break its line (T25)."""
    out = io.StringIO()
    Rows(("a", "b"), [("x\x1b[2J", "two\nlines\tand more")]).show(out)
    assert out.getvalue() == "x\ttwo lines and more\n"
