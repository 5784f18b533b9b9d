"""Contract 3c, cell by cell: every fault at every provider, judged on the raw socket and by OpenAI's own SDK."""

from __future__ import annotations

import pytest

from .conftest import Run
from .judging import Case, cases, differences

CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_fault(case: Case, run: Run) -> None:
    """The F row in the test's name: F1 to F33, with G1 to G9 and G11 in what is compared."""
    result = run.results[case.id]
    if isinstance(result, BaseException):
        raise result
    found = differences(case, result)
    if found:
        pytest.fail(f"{case.fault.row}: {case.expected}\n" + "\n".join(found), pytrace=False)
