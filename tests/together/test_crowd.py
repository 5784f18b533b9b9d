"""More connections than the real process has descriptors for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.crowd import crowd

from .conftest import Gateway
from .test_workers import opened, status_of, until

Start = Callable[..., Gateway]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
FILES = 256


def test_a_crowd_takes_nothing_from_who_is_served(start_gateway: Start) -> None:
    """T3: with 256 descriptors and 1,000 connections streams end whole, and all is well when the crowd has left."""
    gateway = start_gateway(files=FILES)
    descriptors = Path(f"/proc/{gateway.process.pid}/fd")
    with opened(gateway, 10, "echo:slow?rate=8") as streams:
        before = len(list(descriptors.iterdir()))
        with crowd(gateway.port, 1000):
            until(lambda: len(list(descriptors.iterdir())) == before + FILES // 2 - 64 - 10)
            assert [stream.end() for stream in streams] == ["whole"] * 10
        assert status_of(gateway) == 200
    assert not [line for line in gateway.lines if '"level":"error"' in line]
