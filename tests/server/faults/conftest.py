"""All wanted cases are played at once, on one loop; every test then looks at its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from kit import leaks, loop

from .judging import Case, Result, formatters, perform, settle
from .stage import BYTES, stage


@define
class Run:
    """Everything that was played: results by the case's id, and what must hold of them together."""

    results: dict[str, Result | BaseException] = field(factory=dict)
    lines: list[str] = field(factory=list)
    late: list[int] = field(factory=list)
    told: dict[str, int] = field(factory=dict)  # bytes that reached somebody nobody should trust
    left: dict[str, tuple[int, int]] = field(factory=dict)
    tasks: set[str] = field(factory=set)


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Plays the cases of the tests that were collected."""
    found = (getattr(item, "callspec", None) for item in request.session.items)
    wanted = [spec.params["case"] for spec in found if spec and isinstance(spec.params.get("case"), Case)]
    return loop.run(_play(wanted, tmp_path_factory.mktemp("faults")))


async def _play(wanted: list[Case], folder: Path) -> Run:
    """Stage by stage, the cases of each at once."""
    asyncio.get_running_loop().set_exception_handler(_refused_handshakes_are_meant)
    run, before = Run(), leaks.tasks()
    with leaks.LogKeeper(formatters(), ("fwd", "tornado", "asyncio")) as log:
        for name in dict.fromkeys(case.stage for case in wanted):
            await _play_at(name, [case for case in wanted if case.stage == name], folder, run, log)
    run.lines, run.tasks = log.lines, leaks.tasks() - before
    return run


async def _play_at(name: str, cases: list[Case], folder: Path, run: Run, log: leaks.LogKeeper) -> None:
    early = cases[0].fault if "early" in name else None
    async with stage(name, folder, early) as here:
        outcomes = await asyncio.gather(*(perform(case, here, log) for case in cases), return_exceptions=True)
        run.left[name] = await settle(here)
        run.late += here.late
        run.told[name] = here.asked[BYTES]
    run.results |= {case.id: outcome for case, outcome in zip(cases, outcomes, strict=True)}


def _refused_handshakes_are_meant(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if "SSL" not in str(context.get("message")) and not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of the matrix waits for all cases to be played, which takes minutes on a busy machine."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(900))
