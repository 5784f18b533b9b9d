"""Calls that meet faults, how each must end (contract 3c), and the callers that make them, for ``bench.soak``."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

from attrs import Factory, asdict, define, frozen
from kit import wire
from kit.fakeup import CLOSE, DONE, RESET, STREAM_END, STREAM_HEAD, Seen, completion, error_answer, event, json_answer
from kit.fakeup import piece as chunk
from kit.loopup import Step

from bench.load import KEY

RATE: Final = 100.0  # calls a second
FAULTS: Final = 0.05  # of the calls
LEAVING: Final = 0.01
GOOD: Final = "good"
_STUCK_S: Final = 60.0
_KEPT_S: Final = 20.0
_SHORT: Final = 8  # pieces of a stream that is no long one
_SHOWN: Final = 20
_HEADERS: Final = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


@frozen
class Fault:
    """What a provider plays, and how the call then ends: whole or streamed, and where another provider may answer.

    ``everywhere``: the other provider plays it too, because it depends on the call and not on the provider.
    """

    play: Callable[[PlannedCall], list[Step]]
    whole: str
    stream: str
    everywhere: bool = False

    def expected_end(self, planned: PlannedCall) -> str:
        """How a call with this fault ends."""
        if planned.spare and not self.everywhere:
            return GOOD
        return self.stream if planned.stream else self.whole


@frozen
class PlannedCall:
    """What a call says of itself in its prompt, so that providers need not remember anything."""

    word: str
    fault: str = ""
    stream: bool = False
    spare: bool = False  # whether another provider may answer
    pieces: int = 2
    gap_s: float = 0.0

    @classmethod
    def from_request(cls, seen: Seen) -> PlannedCall:
        """Read it where the provider reads it."""
        return cls(**json.loads(seen.json["messages"][0]["content"]))

    def render_body(self) -> bytes:
        """The call."""
        content = json.dumps(asdict(self))
        message = {"role": "user", "content": content}
        return json.dumps({"model": "openai:m", "stream": self.stream, "messages": [message]}).encode()


def _play_good(planned: PlannedCall) -> list[Step]:
    """The word, in pieces."""
    if not planned.stream:
        return [planned.gap_s, json_answer(completion(f"{planned.word} {planned.word}"))]
    steps: list[Step] = [STREAM_HEAD, event({"role": "assistant", "content": ""})]
    for _ in range(planned.pieces):
        steps += [event({"content": f"{planned.word} "}), planned.gap_s]
    return [*steps, event({}, "stop"), chunk(DONE), STREAM_END]


def _play_cut(planned: PlannedCall) -> list[Step]:
    """Half of it, then the end of the connection."""
    if planned.stream:
        return [STREAM_HEAD, event({"role": "assistant", "content": ""}), event({"content": planned.word}), CLOSE]
    return [json_answer(completion(planned.word))[:-20], CLOSE]


def _play_status(number: int) -> Callable[[PlannedCall], list[Step]]:
    return lambda planned: [error_answer(number)]


PLAYS: Final[Mapping[str, Fault]] = {
    "": Fault(_play_good, GOOD, GOOD),
    "reset": Fault(lambda planned: [RESET], "502 upstream_reset", "502 upstream_reset"),
    "500": Fault(_play_status(500), "502 provider_error", "502 provider_error"),
    "503": Fault(_play_status(503), "503 provider_overloaded", "503 provider_overloaded"),
    "429": Fault(_play_status(429), "429 rate_limit_exceeded", "429 rate_limit_exceeded"),
    "400": Fault(_play_status(400), "400", "400", everywhere=True),
    "cut": Fault(_play_cut, "502 upstream_truncated", "EV upstream_truncated", everywhere=True),
}


def play_fault(seen: Seen) -> list[Step]:
    """The steps of the provider that is called. Only the first one has the fault, unless it is everywhere."""
    planned = PlannedCall.from_request(seen)
    fault = PLAYS[planned.fault]
    return fault.play(planned) if fault.everywhere or seen.target.startswith("/openai") else _play_good(planned)


def classify_end(planned: PlannedCall, answer: wire.Answer) -> str:
    """How a call ended, in the words of the table of faults."""
    if answer.streamed and answer.closed:
        return f"EV {answer.error['code']}"
    if answer.status != 200:
        code = answer.error["code"]
        return f"{answer.status} {code}" if code else str(answer.status)
    whole = not answer.streamed or answer.events[-1] == "[DONE]"
    times = planned.pieces if planned.stream else 2
    return GOOD if whole and answer.text.split() == [planned.word] * times else "200 with something else"


# -- callers


@define
class FaultTally:
    """What became of the calls; of the unexpected ones the first few in words."""

    outcomes: Counter[str] = Factory(Counter)
    unexpected: int = 0
    left: int = 0
    shown: list[str] = Factory(list)

    def judge_call(self, planned: PlannedCall, found: str) -> None:
        """Count a call that ended so."""
        self.count_end(found, f" for {planned}", as_expected=found == PLAYS[planned.fault].expected_end(planned))

    def count_end(self, found: str, more: str = "", *, as_expected: bool) -> None:
        """Count an end, and keep it in words if it was not expected."""
        self.outcomes[found] += 1
        if not as_expected:
            self.unexpected += 1
            self.shown = [*self.shown, found + more][:_SHOWN]


@define
class Callers:
    """All callers, over connections that are reused as long as the gateway allows."""

    url: str
    chance: random.Random
    tally: FaultTally = Factory(FaultTally)
    _idle: deque[tuple[float, wire.Line]] = Factory(deque)  # and since when, the longest first
    _calls: set[asyncio.Task[None]] = Factory(set)

    async def call_at_a_rate(self, seconds: float) -> None:
        """Send each call at its time, whether or not others were answered."""
        started = time.monotonic()
        for number in range(int(seconds * RATE)):
            await asyncio.sleep(max(0.0, started + number / RATE - time.monotonic()))
            task = asyncio.ensure_future(self._call_once(self._draw_call()))
            self._calls.add(task)
            task.add_done_callback(self._forget_task)
        while self._calls:
            await asyncio.wait(self._calls)

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        """Forget a call; one that broke in our own hands is no good answer either."""
        self._calls.discard(task)
        if error := task.exception():
            self.tally.count_end(repr(error), as_expected=False)

    async def stream_until(self, end: float) -> None:
        """One long stream after the other; none begins that would go on for longer."""
        while time.monotonic() < end:
            seconds = min(self.chance.uniform(5, 40), end - time.monotonic())
            pieces = max(1, int(seconds / 0.2))
            await self._call_once(PlannedCall(_random_word(), "", stream=True, spare=True, pieces=pieces, gap_s=0.2))

    async def _take_line(self) -> wire.Line:
        """The connection that was used last; none that the gateway may be about to close."""
        now = time.monotonic()
        while self._idle and self._idle[0][0] < now - _KEPT_S:
            self._idle.popleft()[1].close()
        return self._idle.pop()[1] if self._idle else await wire.Line.to(self.url)

    def close(self) -> None:
        """Leave."""
        for _, line in self._idle:
            line.close()

    def _draw_call(self) -> PlannedCall:
        """A call as most are, now and then with a fault in its way."""
        dice = self.chance
        faults = [name for name in PLAYS if name]
        fault = dice.choice(faults) if dice.random() < FAULTS else ""
        stream, spare = dice.random() < 0.5, dice.random() < 0.5
        return PlannedCall(
            _random_word(), fault, stream, spare, pieces=dice.randint(1, _SHORT), gap_s=dice.random() / 20
        )

    async def _call_once(self, planned: PlannedCall) -> None:
        """A call; one in a hundred leaves early."""
        may_leave = not planned.fault and planned.pieces <= _SHORT
        leaves = may_leave and self.chance.random() < LEAVING
        stuck_s = _STUCK_S + planned.pieces * planned.gap_s
        await self.make_call(planned, self.chance.random() / 20 if leaves else stuck_s, leaves=leaves)

    async def make_call(self, planned: PlannedCall, patience_s: float, *, leaves: bool = False) -> None:
        """Make a call, wait so long for its end, and judge it; ``leaves`` if it is not meant to wait for it."""
        line, keeps = await self._take_line(), False
        headers = _HEADERS if planned.spare else {**_HEADERS, "x-fwd-fallback": "none"}
        try:
            answer = await asyncio.wait_for(line.post(planned.render_body(), headers), patience_s)
            self.tally.judge_call(planned, classify_end(planned, answer))
            keeps = not answer.closed and answer.headers.get("connection") != "close"
        except asyncio.TimeoutError:
            self._gave_up(planned, leaves)
        except (OSError, EOFError, ValueError, LookupError) as error:
            self.tally.judge_call(planned, repr(error))
        if keeps:
            self._idle.append((time.monotonic(), line))
        else:
            line.close()

    def _gave_up(self, planned: PlannedCall, leaves: bool) -> None:
        if leaves:
            self.tally.left += 1
        else:
            self.tally.judge_call(planned, "no end")


def _random_word() -> str:
    return f"word-{secrets.token_hex(8)}"
