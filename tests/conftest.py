"""What every test may use. ``io_loop`` replaces pytest-tornado's own, which leaves a loop behind."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


def pytest_configure() -> None:
    """Scripts that run in the background ignore Ctrl-C, and so would every command that is started here."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Two processes share the tests file by file; the table of faults is played once, for all files of its folder."""

    class FileScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "faults" if file.startswith("tests/server/faults/") else file

    return FileScheduling(config, log)


@pytest.fixture
def default_hangup() -> Iterator[None]:
    """SIGHUP as a login shell hands it down, for this test and for what it starts.

    Under ``nohup`` it is inherited as ignored, and stays so: a gateway that is sent it would never read its settings
    again, and the test would wait for ever. Only tests that need it change it, because the run as a whole is to
    survive the end of its terminal.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


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
