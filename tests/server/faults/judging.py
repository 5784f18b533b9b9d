"""Runs the cases and says where what came differs from what must come."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from attrs import define, field, frozen
from kit import judges, leaks, wire
from kit.dialects import PROVIDERS
from kit.judges import Verdict
from kit.wire import Answer

from fwd_server.observe.log import JsonLines, Words

from .rows import ALL, Answers, Breaks, Fails, Fault, Outcome
from .stage import CALLERS_KEY, DIALECTS, KEYS, LONG, PROMPT, SPARE, Stage

ON_TIME_S = 4.0  # the kernel's moments add up
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
        for fault in ALL
        for provider in PROVIDERS
        if provider in fault.providers
        for cell in range(4)
    ]
    return [case for case in found if case.expected is not None]


@define
class Result:
    """What a case came to: the raw answer and its time, the SDK's verdict, the provider's requests for each."""

    raw: Answer
    seconds: float
    verdict: Verdict
    asked: tuple[int, int]
    line: dict[str, Any]


async def perform(case: Case, stage: Stage, log: leaks.LogKeeper) -> Result:
    """Play a case twice: for a raw socket and for the SDK."""
    async with stage.turn:
        began = asyncio.get_running_loop().time()
        raw = await _raw(case, stage)
        seconds = asyncio.get_running_loop().time() - began
        line = _line(log, raw)
        verdict = await _official(case, stage)
    asked = (stage.asked[f"{case.id}.raw"], stage.asked[f"{case.id}.sdk"])
    return Result(raw, seconds, verdict, asked, line)


async def _raw(case: Case, stage: Stage) -> Answer:
    await _prepare(case, stage, "raw")
    return await _post(stage, _model(case, stage, "raw"), case.stream, case.headers)


async def _official(case: Case, stage: Stage) -> Verdict:
    await _prepare(case, stage, "sdk")
    messages = [{"role": "user", "content": stage.question}]
    model = _model(case, stage, "sdk")
    return await judges.openai_sdk(
        stage.sdk, stream=case.stream, model=model, messages=messages, extra_headers=case.headers
    )


async def _prepare(case: Case, stage: Stage, judge: str) -> None:
    dialect = DIALECTS[case.provider]
    stage.plays[f"{case.id}.{judge}"] = lambda seen: case.fault.play(dialect, case.stream, seen)
    if stage.name == "kept":  # F6 begins with a connection that is kept
        primed = await _post(stage, f"{case.provider}:prime", False, {"x-fwd-fallback": "none"})
        assert primed.status == 200, primed.body
        assert stage.at.pool.idle


def _model(case: Case, stage: Stage, judge: str) -> str:
    return f"{case.provider}:{case.id}.{judge}"


async def _post(stage: Stage, model: str, stream: bool, headers: dict[str, str]) -> Answer:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": stage.question}]}
    own = {"Authorization": f"Bearer {CALLERS_KEY}", "Content-Type": "application/json"}
    return await wire.post(stage.at.url, json.dumps(body).encode(), {**own, **headers})


def _line(log: leaks.LogKeeper, raw: Answer) -> dict[str, Any]:
    """The log line of a call."""
    wanted = f'"id":"{raw.headers["x-request-id"]}"'
    found = next(line for line in reversed(log.lines) if wanted in line and '"fwd.access"' in line)
    line: dict[str, Any] = json.loads(found)
    return line


def formatters() -> tuple[JsonLines, Words]:
    """Both ways in which the gateway writes its log."""
    return JsonLines(), Words()


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
    found += _of_every_answer(case, result)
    return found


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
        attempts=(len(error.get("attempts", [])), expected.tries if expected.tries > 1 else 0),
        tries=(raw.headers.get("x-fwd-attempts"), str(expected.tries)),
        should_retry=(raw.headers.get("x-should-retry"), None if should is None else str(should).lower()),
        sdk=(verdict.raised, judges.class_for(expected.status)),
        sdk_status=(verdict.status, expected.status),
        sdk_code=(verdict.code, expected.code),
        logged=(result.line.get("error"), expected.code or error["type"]),
        logged_tries=(len(result.line.get("attempts", [])), expected.tries),
    )
    return found + _of_retry_after(expected, raw)


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
    )


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
    if case.fault.seconds is not None:
        wanted_s = case.fault.seconds(DIALECTS[case.provider])[case.cell]
        late = result.seconds - wanted_s
        found += [] if -0.01 <= late <= ON_TIME_S else [f"after {result.seconds:.2f} s instead of {wanted_s:g} s"]
    if case.fault.stage.startswith(("early", "tls")):
        return found
    once = case.fault.requests
    wanted = (1 if case.fallback else expected.tries) + case.fault.silent if once is None else once
    return found + _differ(requests=(result.asked, (wanted, wanted)))


def shown(result: Result) -> str:
    """What came, for the table of results."""
    raw = result.raw
    if raw.status != 200:
        code = raw.error["code"]
        return f"{raw.status} `{code}`" if code else str(raw.status)
    if raw.streamed and "[DONE]" not in raw.events:
        return f"EV `{raw.error['code']}`"
    told = raw.headers.get("x-fwd-provider") or _from_comment(raw)
    return "B" if told == "spare" else "own"


__all__ = ["ALL", "KEYS", "LONG", "PROMPT", "Case", "Result", "cases", "differences", "perform", "shown"]


async def settle(stage: Stage) -> tuple[int, int]:
    """The connections and handlers that are still busy a moment after the last answer."""
    for _ in range(300):
        left = (stage.at.pool.open - stage.at.pool.idle, len(stage.at.app.application.running))
        if not any(left):
            break
        await asyncio.sleep(0.01)
    return left
