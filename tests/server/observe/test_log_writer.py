"""Lines on their way out: written in order, never waited for, and counted where they are lost."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fwd_server.observe import log
from fwd_server.observe.log_writer import LogWriter

DROPPED = re.compile(r".* log lines were dropped.*\n")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe: to read, and to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def told(count: int) -> bytes:
    return f"dropped {count}\n".encode()


def lost_in(text: str) -> int:
    """How many lines the notices in a text count together."""
    return sum(map(int, re.findall(r"^dropped (\d+)$", text, re.MULTILINE)))


def read_until(fd: int, wanted: Callable[[str], bool]) -> str:
    """What comes out of a pipe until that is what was wanted."""
    text = ""
    while not wanted(text):
        text += os.read(fd, 65536).decode()
    return text


def test_lines_are_written_in_order(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as out:
        writer = LogWriter(out.fileno(), told)
        for number in range(2_000):
            writer.put_line(f"{number}\n".encode())
        writer.close(30)
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(2_000)]
    assert writer.dropped == 0


def test_a_full_pipe_keeps_nobody_waiting(pipe: tuple[int, int]) -> None:
    """D15: lines are dropped and counted; the counts come once somebody reads again, and all of them add up."""
    reading, writing = pipe
    writer = LogWriter(writing, told, most=100)
    for _ in range(5_000):
        writer.put_line(b"x" * 999 + b"\n")
    assert writer.dropped >= 5_000 - 64 - 100 - 1  # in the pipe, in the queue, in the writer's hands
    kept = 5_000 - writer.dropped
    read_until(reading, lambda so_far: so_far.count("x\n") == kept and lost_in(so_far) == writer.dropped)
    writer.close(30)


def test_lines_of_a_running_loop_are_handed_over_together(tmp_path: Path) -> None:
    """In their order, within 20 ms or 200 lines; what a loop that ended left behind is not lost."""

    async def log_some(writer: LogWriter, first: int) -> None:
        for number in range(first, first + 250):
            writer.put_line(f"{number}\n".encode())

    with (tmp_path / "log").open("wb") as out:
        writer = LogWriter(out.fileno(), told)
        asyncio.run(log_some(writer, 0))
        asyncio.run(log_some(writer, 250))
        writer.put_line(b"500\n")
        writer.close(30)
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(501)]


def test_a_full_pipe_does_not_keep_the_gateway_from_stopping(pipe: tuple[int, int]) -> None:
    """D15: what cannot be written when it is over is left."""
    writer = LogWriter(pipe[1], told)
    for _ in range(200):
        writer.put_line(b"x" * 999 + b"\n")
    writer.close(0.01)
    assert any(thread.name == "fwd-log" for thread in threading.enumerate())
    read_until(pipe[0], lambda so_far: so_far.count("\n") == 200)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full, a disk that is always full")
def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    """D15."""
    fd = os.open("/dev/full", os.O_WRONLY)
    writer = LogWriter(fd, told)
    writer.put_line(b"one\n")
    writer.put_line(b"two\n")
    writer.close(30)
    os.close(fd)
    assert writer.dropped >= 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full, a disk that is always full")
def test_what_a_full_disk_lost_is_told_when_there_is_room(tmp_path: Path) -> None:
    """D15: the count that could not be written either is not forgotten."""
    full, log_file = os.open("/dev/full", os.O_WRONLY), tmp_path / "log"
    fd, asked = os.dup(full), threading.Semaphore(0)

    def say(count: int) -> bytes:
        asked.release()
        return told(count)

    writer = LogWriter(fd, say)
    for line in (b"one\n", b"two\n"):
        writer.put_line(line)
        asked.acquire()
    with log_file.open("wb") as room:
        os.dup2(room.fileno(), fd)
        writer.put_line(b"three\n")
        writer.close(30)
    assert sorted(log_file.read_text().splitlines()) == ["dropped 2", "three"]
    os.close(fd)
    os.close(full)


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing(pipe: tuple[int, int]) -> None:
    """It is shared with whoever started us, and so is what it is set to."""
    os.set_blocking(pipe[1], False)
    writer = LogWriter(pipe[1], told)
    for _ in range(400):
        writer.put_line(b"x" * 999 + b"\n")
    assert read_until(pipe[0], lambda so_far: so_far.count("\n") == 400) == ("x" * 999 + "\n") * 400
    writer.close(30)
    assert writer.dropped == 0


@pytest.mark.parametrize(("args", "said"), [(("half \udcff",), "half"), (("%d", "x"), "Logging error")])
def test_a_line_that_cannot_be_made_is_nobodys_failure(
    capfd: pytest.CaptureFixture[str], args: tuple[str, ...], said: str
) -> None:
    """Names from outside may hold half a character; and a bug in a log call must not end the call it is about."""
    queued = log.QueuedHandler(sys.stderr)
    queued.setFormatter(log.JsonLines())
    queued.handle(logging.LogRecord("fwd.app", logging.INFO, "", 0, args[0], args[1:], None))
    queued.close()
    assert said in capfd.readouterr().err


def test_the_lines_of_the_gateway_go_this_way(capfd: pytest.CaptureFixture[str]) -> None:
    """Configured again, the lines from before are written first."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    try:
        log.configure_logging("info", "json")
        log.app.info("one")
        log.configure_logging("info", "text")
        log.app.info("two")
        root.handlers[0].close()
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
    first, second = capfd.readouterr().err.splitlines()
    assert '"message":"one"' in first
    assert second.endswith("two")


_BLOCKED = """
import logging, os, sys
from fwd_server.observe import log
log.configure_logging("info", sys.argv[1])
for _ in range(20_000):
    log.app.info("x" * 100)
os.write(1, b"over")
sys.stdin.readline()
"""


@pytest.mark.parametrize(("form", "said"), [("json", '"logger":"fwd.app"'), ("text", "warning: ")])
def test_a_reader_that_comes_back_is_told_what_it_missed(form: str, said: str) -> None:
    """D15, in a process of its own: it goes on while its standard error is full."""
    command = [sys.executable, "-c", _BLOCKED, form]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.read(4) == b"over"
        assert process.stderr
        text = read_until(process.stderr.fileno(), lambda so_far: DROPPED.search(so_far) is not None)
        assert process.stdin
        process.stdin.write(b"\n")
    found = DROPPED.search(text)
    assert found
    assert said in found[0]
    assert process.returncode == 0
