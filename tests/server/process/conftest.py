"""Signals as the tests of processes need them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def hangup_is_heard(default_hangup: None) -> None:
    """SIGHUP is heard in every test here, however the run was started."""
