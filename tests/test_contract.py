"""Every row of the contract has a test that cites it, unless the row says that it is planned."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent
CONTRACT: Final = (HERE.parent / "docs" / "contract.md").read_text("utf-8")
PLANNED: Final = "*planned*"
# A row has its id in the first cell; a rule of part 1 is defined where its id is bold.
_ROW: Final = re.compile(r"^\| ([TRFD]\d+b?) \||\*\*([SL]\d+)\*\*")
_CITED: Final = re.compile(r"\b([SLTRFD])(\d+)(b?)(?: to (?:\1)?(\d+))?\b")


def rows() -> dict[str, str]:
    """Every row by its id, with its line."""
    return {found[1] or found[2]: line for line in CONTRACT.splitlines() for found in _ROW.finditer(line)}


@functools.cache
def citations() -> frozenset[str]:
    """The ids that docstrings and comments of tests name; ``S12 to S14`` names three."""
    cited: set[str] = set()
    for path in HERE.rglob("*.py"):
        if path != Path(__file__):
            for letter, first, b, last in _CITED.findall(prose(path.read_text("utf-8"))):
                cited |= {f"{letter}{number}{b}" for number in range(int(first), int(last or first) + 1)}
    return frozenset(cited)


def prose(source: str) -> str:
    """The docstrings and comments of a file: a "D1" among the data of a test proves nothing."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n".join([*found, *(token.string for token in tokens if token.type == tokenize.COMMENT)])


def test_the_rows_are_found() -> None:
    """29 rules and 6 of libraries, 40 threats, 10 promises, 34 faults, 17 rows of our own side."""
    letters = [row[0] for row in rows()]
    counted = {letter: letters.count(letter) for letter in "SLTRFD"}
    assert counted == {"S": 29, "L": 6, "T": 40, "R": 10, "F": 34, "D": 17}


@pytest.mark.parametrize("row", rows())
def test_every_row_is_cited_by_a_test_or_planned(row: str) -> None:
    """A row without a proof must say so."""
    planned, cited = PLANNED in rows()[row], row in citations()
    assert planned or cited, f"no test cites {row}: write it, or mark the row {PLANNED}"


def test_the_word_for_what_is_planned_is_explained() -> None:
    """In the introduction, before it is used."""
    assert PLANNED in CONTRACT.partition("## 1. Rules")[0]
