"""A committed stream: pushed from the upstream's callback to whoever sends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import pytest

from fwd_server.gateway.relay import CommittedStream
from fwd_server.values.chat import Chunk, End, StreamEvent
from fwd_server.values.errors import UpstreamError, upstream_failure

pytestmark = pytest.mark.gen_test
HELLO = Chunk(True, frame=b"hello")


class Scripted:
    """An upstream's answer that says what it is told to, when it is told to."""

    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.done: list[str] = []
        self.take: Callable[[bytes], None] = lambda data: None
        self.over: Callable[[UpstreamError | None], None] = lambda error: None

    async def read(self) -> bytes:
        raise AssertionError("a committed stream is pushed, not read")

    def start_reading(self, on_data: Callable[[bytes], None], on_end: Callable[[UpstreamError | None], None]) -> None:
        self.take, self.over = on_data, on_end

    def pause(self) -> None:
        self.done.append("pause")

    def resume(self) -> None:
        self.done.append("resume")

    def await_end(self) -> None:
        self.done.append("await_end")

    def close(self) -> None:
        self.done.append("close")


class Letters:
    """A decoder: ``.`` ends the stream, any other byte is an event."""

    usage = None

    def feed(self, data: bytes) -> list[StreamEvent]:
        return [End() if byte == 46 else Chunk(True, frame=bytes([byte])) for byte in data]

    def close(self) -> list[StreamEvent]:
        return []


class Reader:
    """Takes events, and says that it has had enough when ``waits`` is set."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []
        self.waits: asyncio.Future[None] | None = None

    def __call__(self, batch: list[StreamEvent]) -> asyncio.Future[None] | None:
        self.events += batch
        return self.waits


def begun(response: Scripted, reader: Reader) -> tuple[CommittedStream, asyncio.Future[End | UpstreamError]]:
    stream = CommittedStream(response, Letters(), [HELLO])
    return stream, asyncio.ensure_future(stream.deliver_events(reader))


async def flowing(response: Scripted, reader: Reader) -> tuple[CommittedStream, asyncio.Future[End | UpstreamError]]:
    stream, last = begun(response, reader)
    await asyncio.sleep(0)
    return stream, last


def frames(events: Iterable[StreamEvent]) -> bytes:
    return b"".join(event.frame or b"" for event in events if isinstance(event, Chunk))


async def test_events_are_given_on_in_the_very_callback() -> None:
    """No loop turn, no task and no future lies between a piece and its event."""
    response, reader = Scripted(), Reader()
    _, last = await flowing(response, reader)
    response.take(b"ab")
    assert frames(reader.events) == b"helloab"
    response.take(b"c.")
    assert await last == End()


class Faulty(Letters):
    """A decoder with a bug."""

    def feed(self, data: bytes) -> list[StreamEvent]:
        raise RuntimeError("a bug")

    def close(self) -> list[StreamEvent]:
        raise RuntimeError("a bug")


@pytest.mark.parametrize("at_the_end", [False, True])
async def test_a_bug_in_a_callback_is_raised_where_the_end_is_waited_for(at_the_end: bool) -> None:
    """G5: out of the callback it would be the pool's, and the caller would wait for ever, or blame the provider."""
    response = Scripted()
    last = asyncio.ensure_future(CommittedStream(response, Faulty(), [HELLO]).deliver_events(Reader()))
    await asyncio.sleep(0)
    response.over(None) if at_the_end else response.take(b"a")
    with pytest.raises(RuntimeError, match="a bug"):
        await last
    assert response.done == ["close"]


async def test_a_bug_after_the_end_is_nobodys() -> None:
    """The end was given; what still comes is thrown away, whatever it does to the decoder."""
    response, reader = Scripted(), Reader()
    stream, last = await flowing(response, reader)
    response.take(b".")
    stream.decoder = Faulty()
    response.take(b"a")
    assert await last == End()


async def test_a_slow_reader_stops_the_upstream() -> None:
    """R4: no more is read until the caller has taken enough."""
    response, reader = Scripted(), Reader()
    _, last = await flowing(response, reader)
    reader.waits = asyncio.get_running_loop().create_future()
    response.take(b"a")
    assert response.done == ["pause"]
    reader.waits.set_result(None)
    await asyncio.sleep(0)
    assert response.done == ["pause", "resume"]
    response.take(b".")
    await last


async def test_a_caller_that_is_gone_ends_the_wait() -> None:
    """T7: the failed write is raised where the end was waited for."""
    response, reader = Scripted(), Reader()
    _, last = await flowing(response, reader)
    reader.waits = asyncio.get_running_loop().create_future()
    response.take(b"a")
    reader.waits.set_exception(ConnectionResetError("gone"))
    with pytest.raises(ConnectionResetError):
        await last


async def test_a_write_that_fails_after_the_end_is_nobodys() -> None:
    """The end was given: who waited for it has gone on."""
    response, reader = Scripted(), Reader()
    _, last = await flowing(response, reader)
    waits = reader.waits = asyncio.get_running_loop().create_future()
    response.take(b"a")
    response.take(b".")
    waits.set_exception(ConnectionResetError("gone"))
    assert await last == End()


async def test_what_follows_the_end_is_dropped() -> None:
    """One last event, whatever the provider still says."""
    response, reader = Scripted(), Reader()
    _, last = await flowing(response, reader)
    response.take(b".")
    response.take(b"more")
    response.over(upstream_failure("upstream_reset"))
    assert await last == End()
    assert frames(reader.events) == b"hello"


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, "upstream_truncated"), ("upstream_reset", "upstream_truncated"), ("upstream_stalled", "upstream_stalled")],
)
async def test_a_body_that_ends_or_breaks_is_a_failure(error: str | None, code: str) -> None:
    """F8, F10, F22: after the commit a reset is a cut, and an end without an end is one too."""
    response, reader = Scripted(), Reader()
    _, last = await flowing(response, reader)
    response.over(upstream_failure(error) if error else None)
    found = await last
    assert isinstance(found, UpstreamError)
    assert found.code == code
    assert reader.events[-1] is found


async def test_the_time_of_a_stream_ends_it() -> None:
    """F28: however much still comes."""
    response, reader = Scripted(), Reader()
    stream, last = await flowing(response, reader)
    stream.end_after(0)
    found = await last
    assert isinstance(found, UpstreamError)
    assert found.code == "deadline"
    assert response.done == ["close"]


async def test_a_time_that_is_over_before_anybody_listens_is_over() -> None:
    """F28: the pool then says that the answer was closed, which is not what happened."""
    response, reader = Scripted(), Reader()
    stream = CommittedStream(response, Letters(), [HELLO])
    stream.end_after(0)
    while not response.done:
        await asyncio.sleep(0)
    last = asyncio.ensure_future(stream.deliver_events(reader))
    await asyncio.sleep(0)
    response.over(upstream_failure("upstream_reset"))
    found = await last
    assert isinstance(found, UpstreamError)
    assert found.code == "deadline"


async def test_how_it_ended_is_told() -> None:
    """G8: the health of the deployment knows only now."""
    told: list[str | None] = []
    for last, error in ((b".", None), (b"", upstream_failure("upstream_stalled"))):
        response = Scripted()
        stream = CommittedStream(response, Letters(), [HELLO], lambda error: told.append(error and error.code))
        end = asyncio.ensure_future(stream.deliver_events(Reader()))
        await asyncio.sleep(0)
        response.over(error) if error else response.take(last)
        await end
    assert told == [None, "upstream_stalled"]


async def test_an_answer_that_is_complete_needs_no_upstream() -> None:
    """F24: JSON where a stream was asked for."""
    reader = Reader()
    stream = CommittedStream(Scripted(), None, [HELLO, End()])
    assert await stream.deliver_events(reader) == End()
    stream.close()
