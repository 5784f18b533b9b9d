"""The results as a table for people: ``docs/faults.md``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kit.dialects import PROVIDERS

from .judging import Case, Result, shown

PATH: Final = Path(__file__).parents[3] / "docs" / "faults.md"
_NO: Final = "-"
_WAITED: Final = "-waited"

_HEAD: Final = """# What callers see of every fault

Every row of [the contract](contract.md), section 3c, played by the tests against the whole gateway: {cases} cases over
{providers}.
Each is judged twice, on the raw socket and by OpenAI's SDK. This file is written by `tests/server/faults`; it changes
when what callers see changes.

**B** is an answer of the fallback provider with 200, **EV** an error event in a stream that has begun (no finish
reason, no `[DONE]`, connection closed), **own** a good answer of the provider itself, **-** a cell that cannot be.
Where providers differ, each is named. Times are those of the contract: 5 s to connect, 60 s to the first event (300 s
for Ollama), 60 s of silence, 600 s for a call, 30 min for a stream.

| row | fault | JSON | JSON, fallback | stream | stream, fallback |
|---|---|---|---|---|---|
"""
_MIDDLE: Final = """
## After a silence

The same, once a provider has been silent for 20 s and a keep-alive comment has sent the head (contract 3a). What would
have been a status is an event; fallback is possible all the same.

| row | fault | stream | stream, fallback |
|---|---|---|---|
"""


def written(results: Mapping[Case, Result]) -> str:
    """The whole file."""
    names = ", ".join(PROVIDERS)
    at_once = {case: result for case, result in results.items() if not case.fault.name.endswith(_WAITED)}
    waited = {case: result for case, result in results.items() if case not in at_once}
    first, second = _lines(at_once, range(4)), _lines(waited, range(2, 4))
    return _HEAD.format(cases=len(results), providers=names) + first + _MIDDLE + second


def _lines(results: Mapping[Case, Result], cells: range) -> str:
    rows = itertools.groupby(results, key=lambda case: case.fault.id)
    return "".join(_line(list(cases), results, cells) for _, cases in rows)


def _line(cases: list[Case], results: Mapping[Case, Result], cells: range) -> str:
    fault = cases[0].fault
    seen = [_cell({case.provider: shown(results[case]) for case in cases if case.cell == cell}) for cell in cells]
    return f"| {fault.row} | {fault.name.removesuffix(_WAITED)} | {' | '.join(seen)} |\n"


def _cell(by_provider: Mapping[str, str]) -> str:
    """What was seen; the most frequent first, the others with the providers they are of."""
    if not by_provider:
        return _NO
    outcomes = list(by_provider.values())
    usual = max(dict.fromkeys(outcomes), key=outcomes.count)
    others = (f"{name}: {seen}" for name, seen in by_provider.items() if seen != usual)
    return "; ".join((usual, *others))
