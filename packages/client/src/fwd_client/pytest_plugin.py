"""The fixture `fwd_gateway`: a `FakeGateway` that listens, with the environment pointing at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fwd_client.testing import FakeGateway


@pytest.fixture
def fwd_gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    """A gateway for this test, which `Client()` without arguments uses; every scripted answer must be asked for."""
    from fwd_client.testing import FakeGateway

    gateway = FakeGateway()
    with gateway.serve() as url:
        monkeypatch.setenv("FORWARDER_URL", url)
        monkeypatch.setenv("FORWARDER_KEY", gateway.key)
        yield gateway
    gateway.assert_all_used()
