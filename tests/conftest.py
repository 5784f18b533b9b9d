"""What every test may use. ``io_loop`` replaces pytest-tornado's own, which leaves a loop behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """An event loop of this test's own, closed with everything in it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    io_loop = IOLoop(asyncio_loop=loop, make_current=True)
    yield io_loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    io_loop.close(all_fds=True)
    asyncio.set_event_loop(None)
