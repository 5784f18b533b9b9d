"""Reports: sums, budgets and single calls, as they are in the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson
import pytest

from fwd_server.metering.rules import Rule
from fwd_server.store.fold import Fold
from fwd_server.store.journal import JournalFile
from fwd_server.store.reports import (
    CallQuery,
    ReportError,
    UsageQuery,
    export_events,
    find_call,
    iterate_calls,
    list_calls,
    report_spend,
    report_usage,
    sum_usage,
)
from fwd_server.store.store_file import STORE_NAME, open_store

DAY_US = 86_400_000_000
AT = 1_796_083_200_000_000  # 2026-12-01


def end(number: int, key: str, model: str, cost: int | None, **more: Any) -> list[Any]:
    row = {
        "at": AT + number * DAY_US // 2, "key_id": key, "model": model, "provider": "openai", "state": "done",
        "cost": cost, "cost_kind": "unknown" if cost is None else "exact", "prompt": 10, "completion": 5,
        "request_id": "req_same", "stream": True, "tags": {"team": "web"},
        "budgets": [[f"{key}:budget:day", f"key:{key}", "2026-12-01"]] if number < 2 else [],
    }  # fmt: skip
    return ["e", f"{number:032x}", row | more, [{"provider": "groq", "code": "timeout"}, {"provider": "openai"}]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    journal, store = JournalFile(tmp_path), open_store(tmp_path / STORE_NAME, AT)
    events = [end(0, "a", "gpt", 100), end(1, "a", "gpt", 200), end(2, "a", "claude", None), end(3, "b", "gpt", 50)]
    journal.append([orjson.dumps(event) for event in events])
    Fold(journal, store, tmp_path / "rejected.jsonl").run_all()
    yield store
    store.close()
    journal.close()


def usage(store: sqlite3.Connection, *by: str, **only: str) -> list[tuple[Any, ...]]:
    rows = report_usage(store, UsageQuery("2026-12-01", "2026-12-31", by, only))
    return [(*(row[name] for name in by), row["calls"], row["cost"], row["unpriced"]) for row in rows]


def test_usage_is_summed_by_any_group(store: sqlite3.Connection) -> None:
    assert usage(store, "key") == [("a", 3, 300, 1), ("b", 1, 50, 0)]
    assert usage(store, "day", "model") == [
        ("2026-12-01", "gpt", 2, 300, 0), ("2026-12-02", "claude", 1, 0, 1), ("2026-12-02", "gpt", 1, 50, 0),
    ]  # fmt: skip
    assert usage(store, "model", key_id="a") == [("claude", 1, 0, 1), ("gpt", 2, 300, 0)]
    assert usage(store) == [(4, 350, 1)]
    assert usage(store, key_id="nobody") == []
    rows = report_usage(store, UsageQuery("2026-12-02", "2026-12-02", ("key",)))
    assert sum_usage(rows)["prompt"] == 20


@pytest.mark.parametrize("query", [UsageQuery("a", "b", ("colour",)), UsageQuery("a", "b", (), {"1=1 or day": "x"})])
def test_what_cannot_be_grouped_by_is_refused(store: sqlite3.Connection, query: UsageQuery) -> None:
    """S26: nothing from outside becomes a part of a statement."""
    with pytest.raises(ReportError, match="cannot be grouped by"):
        report_usage(store, query)


def test_too_many_rows_are_refused(store: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fwd_server.store.reports.MOST_ROWS", 1)
    with pytest.raises(ReportError, match="select fewer"):
        usage(store, "key")


def test_spend_shows_each_budget_and_when_it_runs_out(store: sqlite3.Connection) -> None:
    noon = datetime(2026, 12, 1, 12, tzinfo=timezone.utc).timestamp()
    rules = [
        Rule("a:budget:day", "key:a", "budget", 400, "day"), Rule("b:budget", "key:b", "budget", 9, "all", soft=True),
        Rule("x", "key:a", "rpm", 5),
    ]  # fmt: skip
    first, second = report_spend(store, rules, noon)
    assert (first["spent"], first["left"], first["calls"], first["period"]) == (300, 100, 2, "2026-12-01")
    assert first["runs_out_at"] == pytest.approx(noon + 4 * 3600)
    assert (second["subject"], second["spent"], second["resets_at"], second["mode"]) == ("key:b", 0, None, "soft")
    late = noon + 11 * 3600
    assert report_spend(store, rules, late)[0]["runs_out_at"] is None


def test_calls_are_listed_newest_first_in_pages(store: sqlite3.Connection) -> None:
    first = list_calls(store, CallQuery(limit=3))
    assert [call["model"] for call in first] == ["gpt", "claude", "gpt"]
    assert [call["cost"] for call in list_calls(store, CallQuery(limit=3, before=first[-1]["id"]))] == [100]
    assert first[0]["tags"] == {"team": "web"}
    assert first[0]["stream"] is True


@pytest.mark.parametrize(
    ("query", "costs"),
    [(CallQuery(key_id="b"), [50]), (CallQuery(model="claude"), [None]), (CallQuery(min_cost=100), [200, 100]),
     (CallQuery(since=AT + DAY_US), [50, None]), (CallQuery(state="failed"), [])],
)  # fmt: skip
def test_calls_are_chosen(store: sqlite3.Connection, query: CallQuery, costs: list[int | None]) -> None:
    assert [call["cost"] for call in list_calls(store, query)] == costs


def test_a_call_is_found_by_its_id_or_request_id_and_only_by_its_owner(store: sqlite3.Connection) -> None:
    call = find_call(store, f"{1:032x}")
    assert call is not None
    assert [(try_["provider"], try_["code"]) for try_ in call["tries"]] == [("groq", "timeout"), ("openai", None)]
    newest = find_call(store, "req_same")
    assert newest is not None
    assert newest["key_id"] == "b"
    owned = find_call(store, "req_same", "a")
    assert owned is not None
    assert owned["cost"] is None
    assert find_call(store, f"{1:032x}", "b") is None
    assert find_call(store, "%' or 1=1") is None


def test_all_calls_are_read_in_pages(store: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fwd_server.store.reports.PAGE", 2)
    assert [call["cost"] for call in iterate_calls(store, AT, AT + 9 * DAY_US)] == [100, 200, None, 50]
    assert [call["cost"] for call in iterate_calls(store, AT + 1, AT + DAY_US)] == [200, None]


def test_an_export_imported_into_an_empty_store_gives_the_same_reports(
    store: sqlite3.Connection, tmp_path: Path
) -> None:
    """W12."""
    other = tmp_path / "other"
    journal, copy = JournalFile(other), open_store(other / STORE_NAME, AT)
    row = {"id": "x", "at": AT, "rule_id": "a:budget:day", "subject": "key:a", "period": "2026-12-01", "amount": 5}
    here = JournalFile(tmp_path / "here")
    here.append([orjson.dumps(["a", row | {"reason": "more", "actor": "ann"}])])
    Fold(here, store, tmp_path / "rejected.jsonl").run_all()
    journal.append([orjson.dumps(event) for event in export_events(store, 0, AT * 2)])
    Fold(journal, copy, other / "rejected.jsonl").run_all()
    for table in ("calls", "attempts", "rollups", "adjustments"):
        assert copy.execute(f"select * from {table}").fetchall() == store.execute(f"select * from {table}").fetchall()
    columns = "rule_id, subject, period, spent, calls, adjusted"
    assert (
        copy.execute(f"select {columns} from counters").fetchall()
        == store.execute(f"select {columns} from counters").fetchall()
    )
    for file in (here, journal, copy):
        file.close()
