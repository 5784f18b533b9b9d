"""A time limit that tells its own end from everybody else's."""

from __future__ import annotations

import asyncio
import sys

import pytest
from kit import loop

from fwd_server.upstream.deadline import Deadline
from fwd_server.values.errors import UpstreamError

pytestmark = pytest.mark.gen_test


async def test_the_end_of_the_time_is_an_error_with_its_code() -> None:
    with pytest.raises(UpstreamError) as caught:
        with Deadline(0.01, "upstream_timeout"):
            await asyncio.sleep(5)
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")


async def test_in_time_nothing_happens() -> None:
    with Deadline(5, "deadline"):
        await asyncio.sleep(0)


async def test_a_time_that_is_over_ends_at_the_first_wait() -> None:
    with pytest.raises(UpstreamError, match="time for the whole call"):
        with Deadline(-1, "deadline"):
            await asyncio.sleep(5)


async def test_a_failure_inside_stays_what_it_was() -> None:
    with pytest.raises(KeyError):
        with Deadline(0.01, "deadline"):
            raise KeyError("x")


async def test_a_cancellation_from_outside_is_no_timeout() -> None:
    async def work() -> None:
        with Deadline(5, "deadline"):
            await asyncio.sleep(5)

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot tell two cancellations apart")
async def test_a_cancellation_at_the_same_moment_wins() -> None:
    async def work() -> None:
        with Deadline(0.0, "deadline"):
            await asyncio.sleep(5)

    task = asyncio.ensure_future(work())
    asyncio.get_running_loop().call_later(0.0, task.cancel)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_only_a_task_can_have_one() -> None:
    """Outside of a task there is nothing to cancel."""
    failed: list[BaseException] = []

    def callback() -> None:
        try:
            with Deadline(1, "deadline"):
                pass
        except RuntimeError as error:
            failed.append(error)

    asyncio.get_running_loop().call_soon(callback)
    await asyncio.sleep(0.01)
    assert "needs a task" in str(failed[0])


def test_a_restart_gives_the_time_anew_but_never_beyond_the_bound() -> None:
    """F9: a provider that shows progress is not silent; the call's own time ends all the same, under its own code."""

    async def work(restarts: int) -> str | None:
        try:
            with Deadline(8, "upstream_timeout", 30, "deadline") as deadline:
                for _ in range(restarts):
                    await asyncio.sleep(4)
                    deadline.restart()
                await asyncio.sleep(3000)
        except UpstreamError as error:
            return error.code
        return None

    assert loop.run(work(0)) == "upstream_timeout"
    assert loop.run(work(3)) == "upstream_timeout"
    assert loop.run(work(100)) == "deadline"
