"""The bench's own parts: what it sends, how it counts, what it writes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from types import FrameType

import pytest
from attrs import evolve

pytest.importorskip("resource", reason="the bench reads /proc")

from bench import hops, load, pieces, report, upstream
from bench.figures import Figure
from bench.instrumented import is_resumed
from bench.lockstep import Baton, connect_client, stepped_upstream
from bench.processes import ROOT

RUN = {
    "date": "2026-11-22T14:00:00+00:00",
    "commit": "abc1234",
    "command": "nox -s bench",
    "machine": {"cpu": "a <CPU>", "cores": 2, "memory_gib": 24, "kernel": "6.1"},
    "python": "CPython 3.12",
    "load_average": (2.0, 2.0, 2.0),
    "tools": ["nginx/1.22", ""],
}
FIGURES = [
    Figure("B1", "CPU per JSON request", "µs", [120, 100, 110], [20, 22, 21], aim="<= 8 x nginx", met=True),
    Figure("B5", "gap added", "ms", [0.5], [0.1], compares=False, aim="<= 0.4 ms", met=False, note="a busy machine"),
    Figure("B3", "two workers", "/s", ()),
    Figure("B1", "CPU per JSON request, beside Other", "µs", [100], [25_000], beside="Other", peer=True),
]


async def serve(model: str, path: str, streams: int = 1) -> dict[str, object]:
    """What the driver sees of the provider, directly."""
    server = await asyncio.get_running_loop().create_server(upstream.CannedUpstream, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    request = load.request_of(port, load.body_of(model, stream=True), path)
    try:
        return await load.run_streams(port, request, streams, 2, 0.01)
    finally:
        server.close()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1beta/x:streamGenerateContent?alt=sse"])
def test_every_chunk_of_a_stream_is_counted(path: str) -> None:
    """... however the pieces are cut on the way."""
    seen = asyncio.run(serve("bench-50x0", path, streams=3))
    assert (seen["streams"], seen["ended"], seen["failed"], seen["chunks"]) == (6, 6, 0, 300)


def test_a_whole_answer_is_told_from_a_part_of_it() -> None:
    answer = upstream.whole_answer(upstream.OPENAI)
    assert load.is_whole(answer)
    assert not any(load.is_whole(answer[:cut]) for cut in range(len(answer)))


def test_caller_and_provider_stay_in_step() -> None:
    """... whichever calls follow each other on a connection."""

    async def call_in_turn() -> list[int]:
        baton = Baton()
        async with stepped_upstream(baton) as port, connect_client(port, baton) as client:
            answers = [await client.call_json(), await client.call_stream(3), await client.call_json()]
            answers += [await client.call_stream(1), await client.call_stream(40)]
        return [len(load.STAMP.findall(answer)) for answer in answers]

    assert asyncio.run(call_in_turn()) == [0, 3, 0, 1, 40]


def test_a_call_in_step_that_fails_says_so() -> None:
    async def call_nowhere() -> None:
        baton = Baton()
        async with stepped_upstream(baton) as port, connect_client(port, baton) as client:
            client.path = "/nowhere"
            await client.call_stream(1)

    with pytest.raises(RuntimeError, match="404 Not Found"):
        asyncio.run(call_nowhere())


def test_a_coroutine_that_goes_on_is_no_further_call() -> None:
    """... on any Python: the profiler reports both alike."""
    seen: list[tuple[str, bool]] = []

    def numbers() -> Iterator[int]:
        yield 1
        yield 2

    async def pause_twice() -> int:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return sum(numbers())

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name in ("numbers", "pause_twice"):
            seen.append((frame.f_code.co_name, is_resumed(frame)))

    async def profile() -> None:
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            await pause_twice()
        finally:
            sys.setprofile(before)

    asyncio.run(profile())
    assert Counter(seen) == {
        ("pause_twice", False): 1,
        ("pause_twice", True): 2,
        ("numbers", False): 1,
        ("numbers", True): 2,
    }


_SWITCH_ALL_OFF = """
import fwd_server.app
from bench.pieces import PIECES, switch_off
for name in PIECES:
    switch_off(name)
"""


def test_every_piece_can_be_switched_off() -> None:
    """... in a process of its own, which it changes."""
    done = subprocess.run(
        [sys.executable, "-c", _SWITCH_ALL_OFF], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_method_is_replaced_in_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Baton, "release", Baton.release)  # put back afterwards
    pieces.replace_function(Baton.release, lambda baton: "replaced")
    assert Baton().release() == "replaced"  # type: ignore[func-returns-value]


def test_hops_are_counted_by_function_and_file() -> None:
    rows = {
        "starts": [["a.py", "f", 1, 3], ["a.py", "g", 9, 1], ["b.py", "h", 2, 1]],
        "resumes": [],
        "other_threads": [],
    }
    found = hops.read_hops(json.dumps(rows))
    assert (found.calls, len(found.starts), found.files) == (5, 3, {"a.py", "b.py"})
    assert list(hops.list_functions(found)) == [
        "  a.py  4",
        "       3  f:1",
        "       1  g:9",
        "  b.py  1",
        "       1  h:2",
    ]
    once = evolve(found, starts={("a.py", "f", 1): 1, ("b.py", "h", 2): 1})
    assert hops.subtract_hops(found, once).starts == {("a.py", "f", 1): 2, ("a.py", "g", 9): 1}


def test_a_share_of_the_values_lies_below_a_percentile() -> None:
    assert [load.percentile(range(100), share) for share in (0, 0.5, 0.99, 1)] == [0, 50, 99, 99]
    assert load.percentile([], 0.5) == 0


def test_medians_are_compared() -> None:
    assert (FIGURES[0].value, FIGURES[0].base) == (110, 21)
    assert [figure.ratio for figure in FIGURES] == [110 / 21, None, None, 0.004]


def test_the_table_says_what_was_met_and_shows_every_run() -> None:
    text = report.format_table(report.record_run(FIGURES, RUN))
    assert "5.24 x" in text
    assert "NO" in text
    assert "CPU per JSON request, fwd: 120, 100, 110" in text
    assert "a busy machine" in text
    assert "25,000 (Other)  0.004 x" in text


def test_the_page_names_the_command_and_the_machine() -> None:
    text = report.render_page(report.record_run(FIGURES, RUN))
    assert "nox -s bench" in text
    assert "| B1 | CPU per JSON request | 110 µs | 21 (nginx) | 5.24 x | <= 8 x nginx | yes |" in text


def test_the_page_shows_what_each_piece_saves() -> None:
    """... once that was measured."""
    run = report.record_run(FIGURES, RUN)
    rows = [{"name": "plans", "what": "plans kept", "call": 12.4, "chunk": -0.04}]
    about = {"date": "2026-12-01T14:00:00+00:00", "commit": "abc1234", "python": "CPython 3.12"}
    text = report.render_page(run, {**about, "call": 1302.5, "chunk": 93.4, "pieces": rows})
    assert "1,302 thousand for a JSON call and 93.4 thousand" in text.replace("\n", " ")
    assert "| plans | plans kept | +12 | -0.0 |" in text
    assert "What each piece saves" not in report.render_page(run)


def test_the_picture_is_a_picture() -> None:
    root = ElementTree.fromstring(report.render_picture(report.record_run(FIGURES, RUN)))
    assert root.tag.endswith("svg")
    text = "".join(root.itertext())
    assert "CPU per JSON request" in text
    assert "beside Other" not in text  # off the scale
