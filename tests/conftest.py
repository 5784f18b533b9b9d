"""What every test may use. ``io_loop`` replaces pytest-tornado's own, which leaves a loop behind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop


def pytest_configure() -> None:
    """Scripts that run in the background ignore Ctrl-C, and so would every command that is started here."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
