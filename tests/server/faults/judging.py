"""Runs the cases and says where what came differs from what must come."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
from collections.abc import Iterable
from typing import Any

from attrs import define, field, frozen
from kit import judges, leaks, wire
from kit.dialects import PROVIDERS
from kit.fakeup import Seen
from kit.judges import Verdict
from kit.loopup import Step
from kit.wire import Answer

from fwd_server.observe.log import JsonLines, TextLines

from .rows import ALL, WAITED, Answers, Breaks, Fails, Fault, Outcome
from .stage import CALLERS_KEY, DIALECTS, KEYS, LONG, PROMPT, SPARE, UNNAMED, Stage

ON_TIME_S = 4.0  # less than any limit; a busy kernel may cost more of the longer ones
CELLS = ("json", "json-fallback", "stream", "stream-fallback")


@frozen
class Case:
    """One cell of one fault at one provider."""

    fault: Fault = field(eq=lambda fault: fault.id)
    cell: int
    provider: str

    @property
    def id(self) -> str:
        return f"{self.fault.id}-{CELLS[self.cell]}-{self.provider}"

    @property
    def stage(self) -> str:
        return f"{self.fault.stage}-{self.provider}" if self.fault.stage == UNNAMED else self.fault.stage

    @property
    def stream(self) -> bool:
        return self.cell >= 2

    @property
    def fallback(self) -> bool:
        return self.cell % 2 == 1

    @property
    def expected(self) -> Outcome:
        return self.fault.cells(DIALECTS[self.provider])[self.cell]

    @property
    def headers(self) -> dict[str, str]:
        """What the caller sends besides."""
        return {} if self.fallback else {"x-fwd-fallback": "none"}


def cases() -> list[Case]:
    """Every cell that can be."""
    found = [
        Case(fault, cell, provider)
        for index, fault in enumerate(ALL)
        for provider in PROVIDERS
        if provider in fault.providers
        for cell in range(4)
        if cell >= 2 or not fault.name.endswith(WAITED) or provider == _in_turn(index, fault)
    ]
    return [case for case in found if case.expected is not None]


def _in_turn(index: int, fault: Fault) -> str:
    """One provider of a fault, another for the next one: a JSON answer is what it is without comments."""
    return fault.providers[index % len(fault.providers)]


@functools.cache
def twice_judged() -> frozenset[str]:
    """The cases that fwd's own SDK judges too: every cell of every fault, at one provider after the other."""
    cells = itertools.groupby(sorted(cases(), key=_cell_of), key=_cell_of)
    found = (list(group) for _, group in cells)
    return frozenset(group[index % len(group)].id for index, group in enumerate(found))


def _cell_of(case: Case) -> tuple[str, int]:
    return case.fault.id, case.cell


@define
class Result:
    """What a case came to: the raw answer and its time, the SDKs' verdicts, the provider's requests for each."""

    raw: Answer
    seconds: float
    verdict: Verdict
    own: Verdict | None
    asked: list[int]
    line: dict[str, Any]


async def perform(case: Case, stage: Stage, log: leaks.LogKeeper) -> Result:
    """Play a case for a raw socket, for OpenAI's SDK, and where it is its turn for fwd's."""
    async with stage.turn:
        began = asyncio.get_running_loop().time()
        raw = await _raw(case, stage)
        seconds = asyncio.get_running_loop().time() - began
        line = _line(log, raw)
        verdict = await _official(case, stage)
        own = await _own(case, stage) if case.id in twice_judged() else None
    judges = ("raw", "sdk", "own") if own else ("raw", "sdk")
    return Result(raw, seconds, verdict, own, [stage.asked[f"{case.id}.{judge}"] for judge in judges], line)


async def _raw(case: Case, stage: Stage) -> Answer:
    await _prepare(case, stage, "raw")
    return await _post(stage, _model(case, "raw"), case.stream, case.headers)


async def _official(case: Case, stage: Stage) -> Verdict:
    await _prepare(case, stage, "sdk")
    return await judges.openai_sdk(
        stage.sdk,
        stream=case.stream,
        model=_model(case, "sdk"),
        messages=_messages(stage),
        extra_headers=case.headers,
    )


async def _own(case: Case, stage: Stage) -> Verdict:
    await _prepare(case, stage, "own")
    model = _model(case, "own")
    named = {} if model is None else {"model": model}
    return await judges.own_sdk(
        stage.own, stream=case.stream, messages=_messages(stage), extra_headers=case.headers, **named
    )


def _messages(stage: Stage) -> list[dict[str, str]]:
    return [{"role": "user", "content": stage.question}]


async def _prepare(case: Case, stage: Stage, judge: str) -> None:
    dialect, asked = DIALECTS[case.provider], stage.asked

    def play(seen: Seen) -> Iterable[Step]:
        asked[f"{case.id}.{judge}"] += 1
        return case.fault.play(dialect, case.stream, seen)

    stage.plays[UNNAMED if case.fault.stage == UNNAMED else f"{case.id}.{judge}"] = play
    if stage.name.endswith("kept"):  # F6 begins with a connection that is kept
        primed = await _post(stage, f"{case.provider}:prime", False, {"x-fwd-fallback": "none"})
        assert primed.status == 200, primed.body
        assert stage.at.pool.idle


def _model(case: Case, judge: str) -> str | None:
    return None if case.fault.stage == UNNAMED else f"{case.provider}:{case.id}.{judge}"


async def _post(stage: Stage, model: str | None, stream: bool, headers: dict[str, str]) -> Answer:
    body = {"model": model, "stream": stream, "messages": _messages(stage)}
    own = {"Authorization": f"Bearer {CALLERS_KEY}", "Content-Type": "application/json"}
    return await wire.post(stage.at.url, json.dumps(body).encode(), {**own, **headers})


def _line(log: leaks.LogKeeper, raw: Answer) -> dict[str, Any]:
    """The log line of a call."""
    wanted = f'"id":"{raw.headers["x-request-id"]}"'
    found = next(line for line in reversed(log.lines) if wanted in line and '"fwd.access"' in line)
    line: dict[str, Any] = json.loads(found)
    return line


def formatters() -> tuple[JsonLines, TextLines]:
    """Both ways in which the gateway writes its log."""
    return JsonLines(), TextLines()


# -- judging


def differences(case: Case, result: Result) -> list[str]:
    """Everything that is not as the table says."""
    expected = case.expected
    found: list[str] = []
    if isinstance(expected, Fails):
        found += _of_failure(case, expected, result)
    elif isinstance(expected, Breaks):
        found += _of_break(case, expected, result)
    elif isinstance(expected, Answers):
        found += _of_answer(case, expected, result)
    return found + _of_own(case, result) + _of_every_answer(case, result)


def _differ(**pairs: tuple[Any, Any]) -> list[str]:
    return [f"{name}: {got!r} instead of {wanted!r}" for name, (got, wanted) in pairs.items() if got != wanted]


def _of_failure(case: Case, expected: Fails, result: Result) -> list[str]:
    raw, verdict = result.raw, result.verdict
    if raw.status == 200:
        return [f"200 {raw.body[-300:]!r}"]
    error = raw.error
    should = expected.should_retry if expected.tries == 1 else False
    found = _differ(
        status=(raw.status, expected.status),
        code=(error["code"], expected.code),
        keys=(set(error) - {"attempts"}, {"message", "type", "param", "code"}),
        tries=(raw.headers.get("x-fwd-attempts"), str(expected.tries)),
        should_retry=(raw.headers.get("x-should-retry"), None if should is None else str(should).lower()),
        sdk=(verdict.raised, judges.class_for(expected.status)),
        sdk_status=(verdict.status, expected.status),
        sdk_code=(verdict.code, expected.code),
        logged=(result.line.get("error"), expected.code or error["type"]),
        logged_tries=(len(result.line.get("attempts", [])), expected.tries),
    )
    return found + _of_retry_after(expected, raw) + _of_attempts(case, expected, result)


def _of_attempts(case: Case, expected: Fails | Breaks, result: Result) -> list[str]:
    """F33: who was tried, in order, with what came of it and how long it took; nothing else of them."""
    if expected.tries == 1:
        return _differ(attempts=(result.raw.error.get("attempts"), None))
    told = result.raw.error.get("attempts", [])
    own = expected.attempts or ((case.provider, None, expected.code),) * expected.tries
    spent = sum(attempt["ms"] for attempt in told)
    return _differ(
        attempts=(
            [(attempt["provider"], attempt["code"]) for attempt in told],
            [(name, code) for name, _, code in own],
        ),
        statuses=([attempt["status"] for attempt in told], [status for _, status, _ in expected.attempts or ()])
        if expected.attempts
        else (0, 0),
        attempt_keys=({frozenset(attempt) for attempt in told}, {ATTEMPT}),
        attempt_times=(all(attempt["ms"] >= 0 for attempt in told) and spent <= result.seconds * 1000 + 1, True),
        logged_attempts=(result.line["attempts"], told),
    )


ATTEMPT = frozenset({"provider", "model", "status", "code", "ms"})


def _of_own(case: Case, result: Result) -> list[str]:
    """The verdict of fwd's SDK, where it was asked for one: its own class, and the same words as OpenAI's."""
    own, official, expected = result.own, result.verdict, case.expected
    if own is None:
        return []
    failed = isinstance(expected, (Fails, Breaks))
    return _differ(
        own=(own.raised, judges.own_class_for(expected.code) if isinstance(expected, (Fails, Breaks)) else ""),
        own_status=(own.status, expected.status if isinstance(expected, Fails) else None),
        own_code=(own.code or "", (official.code or "") if failed else ""),
        own_text=(own.text, official.text if case.fault.name not in ENDLESS else own.text),
        own_finish=(own.finish, official.finish),
    )


def _of_retry_after(expected: Fails, raw: Answer) -> list[str]:
    given = raw.headers.get("retry-after")
    if expected.retry_after is None:
        return _differ(retry_after=(given, None))
    low, high = expected.retry_after
    return [] if given is not None and low <= int(given) <= high else [f"retry-after: {given} not in {low} to {high}"]


def _of_break(case: Case, expected: Breaks, result: Result) -> list[str]:
    raw, verdict = result.raw, result.verdict
    if raw.status != 200 or not raw.streamed or not raw.events:
        return [f"{raw.status} {raw.body[:300]!r}"]
    said = json.loads(raw.events[-1])
    if "error" not in said:
        return [f"the last event is no error: {raw.events[-1][:200]}"]
    text = _partial(case, raw) if expected.text else ""
    finishes = [choice["finish_reason"] for chunk in raw.chunks for choice in chunk["choices"]]
    return _differ(
        code=(said["error"]["code"] or "", expected.code),
        keys=(set(said["error"]) - {"attempts"}, {"message", "type", "param", "code"}),
        finish=(any(finishes), False),
        done=("[DONE]" in raw.events, False),
        errors=(raw.body.count(b'data: {"error"'), 1),
        closed=(raw.closed, True),
        text=(raw.text, text),
        sdk=(verdict.raised, "APIError"),
        sdk_code=(verdict.code or "", expected.code),
        sdk_text=(verdict.text, text if case.fault.name not in ENDLESS else verdict.text),
        logged=(result.line.get("error"), expected.code or said["error"]["type"]),
    ) + _of_attempts(case, expected, result)


ENDLESS = ("endless", "endless-waited", "body", "body-waited")


def _partial(case: Case, raw: Answer) -> str:
    """What was said before the break: what the provider said, as often as it said it."""
    dialect = DIALECTS[case.provider]
    if case.fault.name in ENDLESS:
        return raw.text
    if case.fault.row == "F32":
        return "Checking." if case.provider == "anthropic" else ""
    if case.fault.row == "F23":
        return dialect.text
    return dialect.partial


def _of_answer(case: Case, expected: Answers, result: Result) -> list[str]:
    raw, verdict, dialect = result.raw, result.verdict, DIALECTS[case.provider]
    if raw.status != 200 or verdict.raised:
        return [f"{raw.status} {raw.body[-300:]!r}, the SDK: {verdict}"]
    own = {"text": dialect.text if case.stream else dialect.said, "said": dialect.said, "tools": raw.text}
    text = SPARE if expected.by == "spare" else own[expected.text]
    told = raw.headers.get("x-fwd-provider") or _from_comment(raw)
    return _differ(
        by=(told, "spare" if expected.by == "spare" else case.provider),
        text=(raw.text, text),
        sdk_text=(verdict.text, text),
        finish=(verdict.finish, expected.finish),
        calls=(b'"tool_calls"' in raw.body, expected.text == "tools"),
        done=(raw.events.count("[DONE]") if case.stream else 1, 1),
        logged=(result.line.get("error"), None),
        logged_tries=(len(result.line["attempts"]), expected.tries),
        provider=(result.line["provider"], told),
    )


def _from_comment(raw: Answer) -> str | None:
    """Who answered, where the head went out before that was known (contract 3a)."""
    comments = [line for line in raw.body.decode().split("\n") if line.startswith(": fwd ")]
    name: str | None = json.loads(comments[0].removeprefix(": fwd "))["provider"] if comments else None
    return name


def _of_every_answer(case: Case, result: Result) -> list[str]:
    raw, expected = result.raw, case.expected
    assert expected is not None
    found = _differ(
        request_id=(raw.headers.get("x-request-id", "")[:4], "req_"),
        no_store=("no-store" in raw.headers.get("cache-control", ""), True),
    )
    if case.fault.name.endswith(WAITED):
        found += _differ(comments=(b": keep-alive" in raw.body, case.stream))
    if case.fault.seconds is not None:
        wanted_s = case.fault.seconds(DIALECTS[case.provider])[case.cell]
        late = result.seconds - wanted_s
        found += (
            []
            if -0.01 <= late <= max(ON_TIME_S, wanted_s / 2)
            else [f"after {result.seconds:.2f} s instead of {wanted_s:g} s"]
        )
    if "early" in case.fault.stage or case.fault.row in ("F2", "F3", "F4"):
        return found  # their providers cannot count: they answer before they know who asks, or are not reached
    once = case.fault.requests
    wanted = (1 if case.fallback else expected.tries) + case.fault.silent if once is None else once
    return found + _differ(requests=(result.asked, [wanted] * len(result.asked)))


def shown(result: Result) -> str:
    """What came, for the table of results."""
    raw = result.raw
    if raw.status != 200:
        code = raw.error["code"]
        return f"{raw.status} `{code}`" if code else str(raw.status)
    if raw.streamed and "[DONE]" not in raw.events:
        code = raw.error["code"]
        return f"EV `{code}`" if code else "EV"
    told = raw.headers.get("x-fwd-provider") or _from_comment(raw)
    return "B" if told == "spare" else "own"


__all__ = ["ALL", "KEYS", "LONG", "PROMPT", "Case", "Result", "cases", "differences", "perform", "shown"]


async def settle(stage: Stage) -> tuple[int, int]:
    """The connections and handlers that are still busy a moment after the last answer."""
    for _ in range(300):
        left = (stage.at.pool.open - stage.at.pool.idle, len(stage.at.app.application.admission))
        if not any(left):
            break
        await asyncio.sleep(0.01)
    return left
