"""The parts of ``nox -s soak``: what it judges, and the slope it draws."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("resource", reason="the bench reads /proc")

from bench import trend
from bench.faulty import PLAYS, Callers, FaultTally, PlannedCall, classify_end, play_fault
from bench.load import KEY
from kit import loop, wire
from kit.gateways import gateway
from kit.loopup import Upstream, loopback

from fwd_server.http1.client.pool import Pool, Resolver

ENV = {"OPENAI_API_KEY": "k", "GROQ_API_KEY": "k", "OPENAI_MODEL": "m", "GROQ_MODEL": "m", "FWD_SSE_KEEPALIVE": "0"}


def calls() -> list[PlannedCall]:
    """Every fault, whole and streamed, with and without another provider."""
    kinds = itertools.product(PLAYS, (False, True), (False, True))
    return [PlannedCall(f"word-{fault}", fault, stream, spare) for fault, stream, spare in kinds]


async def tally_of(folder: Path, asked: list[PlannedCall], *, leaves: bool = False) -> FaultTally:
    async with Upstream(play_fault, keeps=False) as up:
        urls = {"OPENAI_BASE_URL": f"{up.url}/openai", "GROQ_BASE_URL": f"{up.url}/groq"}
        pool = Pool(resolver=Resolver(loopback))
        async with gateway(folder, KEY, pool, loop.LoopClock(), PROVIDERS_PRIORITY="openai,groq", **ENV, **urls) as at:
            callers = Callers(at.url, random.Random(1))
            for call in asked:
                await callers.make_call(call, 60.0, leaves=leaves)
            callers.close()
            return callers.tally


def test_every_fault_ends_as_the_table_says(tmp_path: Path) -> None:
    """Contract 3c, R8, S18: with faults on, in the words by which the soak judges; `nox -s soak` runs it for hours."""
    tally = loop.run(tally_of(tmp_path, calls()))
    assert (tally.shown, tally.unexpected, tally.left) == ([], 0, 0)
    assert sum(tally.outcomes.values()) == len(calls())


def test_what_ends_otherwise_is_unexpected() -> None:
    """And shown, the first of them."""
    tally = FaultTally()
    for _ in range(100):
        tally.judge_call(PlannedCall("w", "500"), "good")
    assert (tally.unexpected, len(tally.shown)) == (100, 20)


@pytest.mark.parametrize("text", ["w", "w v", "w w w"])
def test_another_word_is_no_good_answer(text: str) -> None:
    """A 200 is good only with what the provider said."""
    body = b'{"choices":[{"message":{"content":"%s"}}]}' % text.encode()
    assert classify_end(PlannedCall("w"), wire.Answer(200, {}, body, body)) == "200 with something else"


def test_a_call_that_never_ends_is_unexpected(tmp_path: Path) -> None:
    """Unless its caller meant to leave."""
    never = PlannedCall("w", gap_s=1e6)
    tally = loop.run(tally_of(tmp_path, [never]))
    assert (tally.outcomes, tally.unexpected, tally.left) == ({"no end": 1}, 1, 0)
    tally = loop.run(tally_of(tmp_path, [never], leaves=True))
    assert (tally.outcomes, tally.unexpected, tally.left) == ({}, 0, 1)


# -- the slope


def test_a_straight_line_has_its_slope() -> None:
    found = trend.fit_slope([(x, 3 * x + 1) for x in range(90)])
    assert [round(value, 9) for value in (found.value, found.low, found.high)] == [3, 3, 3]


def test_a_few_odd_samples_do_not_move_a_slope() -> None:
    """And noise that goes nowhere leaves zero between the bounds."""
    dice = random.Random(3)
    found = trend.fit_slope([(x, 1000.0 if x % 50 == 7 else dice.random()) for x in range(600)])
    assert found.low < 0 < found.high
    assert abs(found.value) < 0.001


def test_growth_is_told_from_noise() -> None:
    dice = random.Random(4)
    found = trend.fit_slope([(x, x / 100 + dice.random()) for x in range(600)])
    assert 0 < found.low < 0.01 < found.high < 0.02


def test_two_points_are_no_trend() -> None:
    with pytest.raises(ValueError, match="at least three"):
        trend.fit_slope([(0, 0), (1, 1)])


@pytest.mark.parametrize("points", [[], [(0.0, 5.0)], [(0.0, 1.0), (1.0, 3.0), (2.0, 2.0)]])
def test_a_series_is_drawn(points: list[trend.Point]) -> None:
    """Flat or empty ones too."""
    root = ElementTree.fromstring(trend.render_series("a & b", 0.5, [("memory", points)]))
    assert "a & b" in "".join(root.itertext())
    assert len(root.findall("{*}polyline")) == 1
