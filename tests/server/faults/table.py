"""The results as a table for people: ``docs/faults.md``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kit.dialects import PROVIDERS

from .judging import Case, Result, shown, twice_judged
from .rows import FAULTS, WAITED

PATH: Final = Path(__file__).parents[3] / "docs" / "faults.md"
_NO: Final = "-"

_HEAD: Final = """# What callers see of every fault

Every row of [the contract](contract.md), section 3c, played by the tests against the whole gateway: {cases} cases over
{providers}.
Each is judged on the raw socket and by OpenAI's SDK, and {twice} of them, every cell of every row at one provider after
the other, by fwd's own SDK. This file is written by `tests/server/faults`; it changes when what callers see changes.

**B** is an answer of the fallback provider with 200, **EV** an error event in a stream that has begun (no finish
reason, no `[DONE]`, connection closed), **own** a good answer of the provider itself, **-** a cell that cannot be.
Where providers differ, each is named. Times are those of the contract: 5 s to connect, 60 s to the first event (300 s
for Ollama), 60 s of silence, 600 s for a call, 30 min for a stream.

What can go wrong before and after a stream's first content is played both ways (`-before` and `-after`, or a name and
the same with `-later`): before it a stream has a real status and may fall back (contract 3a, the commit point), after
it there is only EV. What stands in a head, such as a length (F26) or an encoding (F25), is always before it. A gateway
that asks for no encoding unpacks none, so a bomb (F26) is refused by its head.

| row | fault | JSON | JSON, fallback | stream | stream, fallback |
|---|---|---|---|---|---|
"""
_MIDDLE: Final = """
## After a silence

The same, once a provider has been silent for 20 s (2 s while it connects) and a keep-alive comment has sent the head of
a stream (contract 3a). What would have been a status is an event; fallback is possible all the same. JSON answers have
no comments, so for them nothing changes: each is played at one provider. F1, F4 and most of F3 fail at once: there is
no silence before them.

| row | fault | JSON | JSON, fallback | stream | stream, fallback |
|---|---|---|---|---|---|
"""
_LEFT_OUT: Final = """
## Left out

"""


def written(results: Mapping[Case, Result]) -> str:
    """The whole file."""
    at_once = {case: result for case, result in results.items() if not case.fault.name.endswith(WAITED)}
    waited = {case: result for case, result in results.items() if case not in at_once}
    twice = len(twice_judged())
    head = _HEAD.format(cases=len(results), providers=", ".join(PROVIDERS), twice=twice)
    return head + _lines(at_once) + _MIDDLE + _lines(waited) + _LEFT_OUT + _reasons()


def _reasons() -> str:
    """Who is left out of which row, and why."""
    left = ((fault, [name for name in PROVIDERS if name not in fault.providers]) for fault in FAULTS)
    return "".join(
        f"- {fault.row} {fault.name}, {' and '.join(names)}: {fault.why}.\n" for fault, names in left if names
    )


def _lines(results: Mapping[Case, Result]) -> str:
    rows = itertools.groupby(results, key=lambda case: case.fault.id)
    return "".join(_line(list(cases), results) for _, cases in rows)


def _line(cases: list[Case], results: Mapping[Case, Result]) -> str:
    fault = cases[0].fault
    seen = [_cell({case.provider: shown(results[case]) for case in cases if case.cell == cell}) for cell in range(4)]
    return f"| {fault.row} | {fault.name.removesuffix(WAITED)} | {' | '.join(seen)} |\n"


def _cell(by_provider: Mapping[str, str]) -> str:
    """What was seen; the most frequent first, the others with the providers they are of."""
    if not by_provider:
        return _NO
    outcomes = list(by_provider.values())
    usual = max(dict.fromkeys(outcomes), key=outcomes.count)
    others = (f"{name}: {seen}" for name, seen in by_provider.items() if seen != usual)
    return "; ".join((usual, *others))
