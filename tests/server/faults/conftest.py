"""All wanted cases are played at once, on one loop; every test then looks at its own."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from kit import leaks, loop

from .judging import Case, Result, formatters, perform, settle
from .stage import Stage, stage


@define
class Run:
    """Everything that was played: results by the case's id, and what must hold of them together."""

    results: dict[str, Result | BaseException] = field(factory=dict)
    lines: list[str] = field(factory=list)
    late: list[int] = field(factory=list)
    left: dict[str, Any] = field(factory=dict)
    tasks: set[str] = field(factory=set)


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Plays the cases of the tests that were collected."""
    found = (getattr(item, "callspec", None) for item in request.session.items)
    wanted = [spec.params["case"] for spec in found if spec and isinstance(spec.params.get("case"), Case)]
    return loop.run(_play(wanted, tmp_path_factory.mktemp("faults")))


async def _play(wanted: list[Case], folder: Path) -> Run:
    asyncio.get_running_loop().set_exception_handler(_refused_handshakes_are_meant)
    run, before = Run(), leaks.tasks()
    log = leaks.LogKeeper(formatters(), ("fwd", "tornado", "asyncio"))
    with log:
        async with contextlib.AsyncExitStack() as stack:
            stages = await _stages(wanted, folder, stack)
            outcomes = await asyncio.gather(
                *(perform(case, stages[case.fault.stage], log) for case in wanted), return_exceptions=True
            )
            run.left = await settle(stages)
            run.late = [late for one in stages.values() for late in one.late]
    run.results = {case.id: outcome for case, outcome in zip(wanted, outcomes, strict=True)}
    run.lines, run.tasks = log.lines, leaks.tasks() - before
    return run


async def _stages(wanted: list[Case], folder: Path, stack: contextlib.AsyncExitStack) -> dict[str, Stage]:
    found: dict[str, Stage] = {}
    for case in wanted:
        name = case.fault.stage
        if name not in found:
            early = case.fault if name.startswith("early") else None
            found[name] = await stack.enter_async_context(stage(name, folder, early))
    return found


def _refused_handshakes_are_meant(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if "SSL" not in str(context.get("message")) and not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)
