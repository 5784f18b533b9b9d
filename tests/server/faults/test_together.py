"""What must hold of all the cases together: no secret anywhere, nothing left open, and the table in the documents."""

from __future__ import annotations

import json
import os

from kit.leaks import Aviary

from .conftest import Run
from .judging import Result
from .stage import CALLERS_KEY, KEYS, LONG, PROMPT
from .table import PATH, written
from .test_matrix import CASES


def played(run: Run) -> list[Result]:
    """The results of what was played; a case that raised fails its own test."""
    return [result for result in run.results.values() if isinstance(result, Result)]


def test_no_secret_anywhere(run: Run) -> None:
    """T16, S12 to S14: every error quotes the provider's key; none is in an answer, an exception or a log line."""
    aviary = Aviary((*KEYS.values(), CALLERS_KEY, "10.1.2.3"))
    for result in played(run):
        aviary.look("an answer", result.raw.raw)
        aviary.look("an exception of OpenAI's SDK", result.verdict.shown)
        aviary.look("an exception of fwd's SDK", result.own.shown if result.own else "")
    for line in run.lines:
        aviary.look("the log", line)
    assert aviary.found == []


def test_no_content_in_the_log(run: Run) -> None:
    """T26: what callers ask is never logged, at DEBUG neither."""
    aviary = Aviary((PROMPT, "x" * 100))
    for line in run.lines:
        aviary.look("the log", line)
    assert aviary.found == []


def test_one_line_a_call(run: Run) -> None:
    """T37: every call has one line of JSON, and nothing is a bug."""
    lines = [json.loads(line) for line in run.lines if line.startswith("{")]
    ids = [line["id"] for line in lines if line["logger"] == "fwd.access"]
    assert len(ids) == len(set(ids))
    assert [line for line in lines if line["level"] == "error" and line["logger"] != "fwd.upstream"] == []


def test_nothing_is_left(run: Run) -> None:
    """G7, S28: after a fault no connection is in use, no handler runs, no task is left."""
    assert {name: left for name, left in run.left.items() if any(left)} == {}
    assert run.tasks == set()


def test_uploads_stop(run: Run) -> None:
    """F31: a provider that answers before it has read is not sent the rest."""
    assert all(late < LONG for late in run.late)


def test_nothing_is_sent_to_strangers(run: Run) -> None:
    """F4, T39: of six bad servers, five by their certificate or age and one without TLS, none reads a byte of ours."""
    assert {name: told for name, told in run.told.items() if told} == {}


def test_loud_alarms(run: Run) -> None:
    """F4, F18: a certificate nobody trusts and a refused key are somebody's to fix; the log says whose."""
    lines = [json.loads(line) for line in run.lines if line.startswith("{")]
    loud = [line for line in lines if line["logger"] == "fwd.upstream"]
    alarms = {(line["code"], line["provider"]) for line in loud if "code" in line}
    # An empty account is told once for each cooldown, by its key and not by a call (F12).
    assert {line["message"].rpartition(" is ")[2] for line in loud if "code" not in line} <= {"out of credit"}
    tried = (attempt for result in played(run) for attempt in result.line["attempts"])
    pairs = {(attempt["code"], attempt["provider"]) for attempt in tried}
    assert alarms == {pair for pair in pairs if pair[0] in ("tls_failed", "provider_auth")}


def test_the_table(run: Run) -> None:
    """The documents say what was seen: rewritten by a run of everything, compared by CI."""
    results = {case: found for case in CASES if isinstance(found := run.results.get(case.id), Result)}
    if len(results) < len(CASES):
        return
    table = written(results)
    if not os.environ.get("CI"):
        PATH.write_text(table, encoding="utf-8")
    assert PATH.read_text(encoding="utf-8") == table
