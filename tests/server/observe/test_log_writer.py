"""Lines on their way out: written in order, never waited for, and counted where they are lost."""

from __future__ import annotations

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
from fwd_server.observe.log_writer import Sink

DROPPED = re.compile(r".* log lines were dropped.*\n")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe: to read, and to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def told(count: int) -> str:
    return f"dropped {count}\n"


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
        sink = Sink(out.fileno(), told)
        for number in range(2_000):
            sink.put(f"{number}\n")
        sink.close(30)
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(2_000)]
    assert sink.dropped == 0


def test_a_full_pipe_keeps_nobody_waiting(pipe: tuple[int, int]) -> None:
    """D15: lines are dropped and counted; the counts come once somebody reads again, and all of them add up."""
    reading, writing = pipe
    sink = Sink(writing, told, most=100)
    for _ in range(5_000):
        sink.put("x" * 999 + "\n")
    assert sink.dropped >= 5_000 - 64 - 500 - 100 - 1  # in the pipe, in the writer's hands, in the queue
    kept = 5_000 - sink.dropped
    read_until(reading, lambda so_far: so_far.count("x\n") == kept and lost_in(so_far) == sink.dropped)
    sink.close(30)


def test_a_full_pipe_does_not_keep_the_gateway_from_stopping(pipe: tuple[int, int]) -> None:
    """D15: what cannot be written when it is over is left."""
    sink = Sink(pipe[1], told)
    for _ in range(200):
        sink.put("x" * 999 + "\n")
    sink.close(0.01)
    assert any(thread.name == "fwd-log" for thread in threading.enumerate())
    read_until(pipe[0], lambda so_far: so_far.count("\n") == 200)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full, a disk that is always full")
def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    """D15."""
    fd = os.open("/dev/full", os.O_WRONLY)
    sink = Sink(fd, told)
    sink.put("one\n")
    sink.put("two\n")
    sink.close(30)
    os.close(fd)
    assert sink.dropped >= 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full, a disk that is always full")
def test_what_a_full_disk_lost_is_told_when_there_is_room(tmp_path: Path) -> None:
    """D15: the count that could not be written either is not forgotten."""
    full, log_file = os.open("/dev/full", os.O_WRONLY), tmp_path / "log"
    fd, asked = os.dup(full), threading.Semaphore(0)

    def say(count: int) -> str:
        asked.release()
        return told(count)

    sink = Sink(fd, say)
    for line in ("one\n", "two\n"):
        sink.put(line)
        asked.acquire()
    with log_file.open("wb") as room:
        os.dup2(room.fileno(), fd)
        sink.put("three\n")
        sink.close(30)
    assert sorted(log_file.read_text().splitlines()) == [told(2).strip(), "three"]
    os.close(fd)
    os.close(full)


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing(pipe: tuple[int, int]) -> None:
    """It is shared with whoever started us, and so is what it is set to."""
    os.set_blocking(pipe[1], False)
    sink = Sink(pipe[1], told)
    for _ in range(400):
        sink.put("x" * 999 + "\n")
    assert read_until(pipe[0], lambda so_far: so_far.count("\n") == 400) == ("x" * 999 + "\n") * 400
    sink.close(30)
    assert sink.dropped == 0


@pytest.mark.parametrize(("args", "said"), [(("half \udcff",), "half"), (("%d", "x"), "Logging error")])
def test_a_line_that_cannot_be_made_is_nobodys_failure(
    capfd: pytest.CaptureFixture[str], args: tuple[str, ...], said: str
) -> None:
    """Names from outside may hold half a character; and a bug in a log call must not end the call it is about."""
    queued = log.Queued(sys.stderr)
    queued.setFormatter(log.JsonLines())
    queued.handle(logging.LogRecord("fwd.app", logging.INFO, "", 0, args[0], args[1:], None))
    queued.close()
    assert said in capfd.readouterr().err


def test_the_lines_of_the_gateway_go_this_way(capfd: pytest.CaptureFixture[str]) -> None:
    """Configured again, the lines from before are written first."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    try:
        log.configure("info", "json")
        log.app.info("one")
        log.configure("info", "text")
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
log.configure("info", sys.argv[1])
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
