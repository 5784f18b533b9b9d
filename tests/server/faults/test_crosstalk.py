"""T27 in its short form: nobody reads what another asked. `nox -s soak` has the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit import loop
from kit.crosstalk import Tally, crosstalk


@pytest.mark.timeout(600)  # 38 s beside eight other busy processes
def test_nobody_reads_anothers_answer(tmp_path: Path) -> None:
    """S28: 200 callers on kept connections, a third of the calls broken or left."""
    work = crosstalk(tmp_path, callers=200, enough=lambda calls: calls >= 10, seed=27, clock=loop.LoopClock())
    tally = loop.run(work)
    assert tally.foreign == []
    assert tally.answers + tally.left == 2000
    assert min(tally.left, tally.broken) > 40


def test_a_foreign_word_is_found() -> None:
    """The judge itself: another's word counts, one's own does not."""
    own, other = b"word-1-1-0123456789abcdef", b"word-2-1-0123456789abcdef"
    tally = Tally()
    tally.read(own, own + b" " + own)
    tally.read(own, own + b" " + other)
    assert tally.foreign == [(own, other)]
