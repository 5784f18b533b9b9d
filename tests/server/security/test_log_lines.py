"""T37: however hostile the requests, there is a line for each, and each is one line."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
from kit.hostile import requests_that_forge

from fwd_server.observe import log

from .conftest import KEY, Start, run

REQUESTS = 2_000
AT_ONCE = 20


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the gateway logs at DEBUG, as it is configured for a program to read."""
    names = ("", "tornado.access", "asyncio")
    before = {name: logging.getLogger(name).level for name in names}
    handlers = logging.getLogger().handlers[:]
    out = io.StringIO()
    log.configure_logging("debug", "json", out)
    yield out
    logging.getLogger().handlers[:] = handlers
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


async def send(start: Start, count: int) -> None:
    """Send that many hostile requests, some at once; each gets an answer."""
    async with start() as gateway:
        every = requests_that_forge(count, KEY)

        async def some() -> None:
            for data in every:
                assert (await gateway.talk(data)).status < 600

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))


def test_one_line_a_request_and_nothing_in_it_runs_free(start: Start, written: io.StringIO) -> None:
    """2,000 requests (10,000 in tests/long) with line breaks and escapes: as many lines, each JSON and plain."""
    check(start, written, REQUESTS)


def check(start: Start, written: io.StringIO, count: int) -> None:
    run(send(start, count), 60 + count / 20)
    lines = written.getvalue().split("\n")
    assert lines.pop() == ""
    assert len(lines) == count
    for line in lines:
        assert json.loads(line)["logger"] == "fwd.access"
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
    assert KEY not in written.getvalue()
