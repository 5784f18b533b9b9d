"""T37 with its whole number."""

from __future__ import annotations

import io

import pytest
from tests.server.security.conftest import Start, start
from tests.server.security.test_log_lines import check, written

pytestmark = pytest.mark.timeout(1800)
__all__ = ["start", "written"]  # fixtures


def test_one_line_for_each_of_10_000_requests(start: Start, written: io.StringIO) -> None:
    check(start, written, 10_000)
