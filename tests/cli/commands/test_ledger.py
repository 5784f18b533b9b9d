"""``fwd usage``, ``spend``, ``logs``, ``explain``: over a real ledger, also one that a killed gateway left behind."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from tests.cli.conftest import Run

from fwd_server.clock import SystemClock
from fwd_server.metering.periods import find_utc_day
from fwd_server.store.journal import JournalFile

NOW = SystemClock().now()
AT = round(NOW * 1_000_000)
CALLS = {
    "a1": {"key_id": "file_a", "key_name": "web", "model": "openai:gpt-5-mini", "cost": 1_500_000, "prompt": 10},
    "a2": {"key_id": "file_a", "key_name": "web", "model": "openai:gpt-5", "cost": None, "prompt": 20},
    "b1": {"key_id": "file_b", "key_name": "lab", "model": "openai:gpt-5", "cost": 40_000_000, "prompt": 30},
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a journal whose gateway was killed: nothing of it is in the store yet."""
    monkeypatch.chdir(tmp_path)
    journal = JournalFile(tmp_path / "data")
    events = []
    for number, (name, given) in enumerate(CALLS.items()):
        cost = given["cost"]
        row = {
            "at": AT + number, "state": "done", "status": 200, "completion": 5, "asked": "gpt-5", "provider": "openai",
            "cost_kind": "unknown" if cost is None else "exact", "attempts": 2, "request_id": f"req_{name}",
            "budgets": [["file_a:budget:day", "key:file_a", find_utc_day(NOW)]] if name == "a1" else [], **given,
        }  # fmt: skip
        tries = [{"provider": "groq", "model": "groq:x", "code": "provider_error", "status": 500, "cost": 0}]
        events.append(orjson.dumps(["e", name, row, tries if name == "b1" else []]))
    journal.append(
        [*events, orjson.dumps(["o", "c1", {"at": AT + 9, "key_id": "file_b", "key_name": "lab", "likely": 7}])]
    )
    journal.close()
    return tmp_path


def test_usage_by_key_names_the_keys_and_says_what_is_unpriced(fwd: Run) -> None:
    run = fwd("usage")
    rows = [line.split("\t") for line in run.out.splitlines()]
    assert [(row[0], row[1], row[-1]) for row in rows] == [("web", "2", "0.0015"), ("lab", "2", "0.040000007")]
    assert "4 calls, 1 of them unpriced" in run.err


def test_usage_in_other_groups_and_forms(fwd: Run) -> None:
    rows = [json.loads(line) for line in fwd("usage", "--by", "model", "--key", "web", "--json").out.splitlines()]
    assert {row["model"]: (row["calls"], row["cost_nano"]) for row in rows} == {
        "openai:gpt-5": (1, 0),
        "openai:gpt-5-mini": (1, 1_500_000),
    }
    assert fwd("usage", "--by", "day,key", "--csv").out.startswith("day,key,calls,failed,")
    assert fwd("usage", "--by", "colour").code == 2
    assert fwd("usage", "--key", "nobody").code == 2
    assert fwd("usage", "--from", "yesterday").code == 2


def test_calls_are_listed_newest_first_and_an_interrupted_one_is_among_them(fwd: Run) -> None:
    """The gateway was killed in the middle of c1: what that probably cost is booked."""
    rows = [json.loads(line) for line in fwd("logs", "--json").out.splitlines()]
    assert [(row["id"], row["state"]) for row in rows] == [
        ("c1", "interrupted"), ("b1", "done"), ("a2", "done"), ("a1", "done")]  # fmt: skip
    assert (rows[0]["cost_nano"], rows[0]["cost_kind"]) == (7, "estimated")
    assert rows[2]["cost_usd"] is None
    assert len(fwd("logs", "--key", "web").out.splitlines()) == 2
    assert fwd("logs", "--min-cost", "0.01").out.count("\n") == 1
    assert fwd("logs", "--since", "1h", "--limit", "1").out.count("\n") == 1
    assert fwd("logs", "--since", "soon").code == 2
    assert "unknown" in fwd("logs", "--key", "web").out


def test_one_call_is_explained(fwd: Run) -> None:
    out = fwd("explain", "req_b1").out
    assert "cost\t0.04 USD, exact" in out
    assert "groq\tgroq:x\t\t500\tprovider_error\t0.00" in out
    assert json.loads(fwd("explain", "b1", "--json").out)["cost_nano"] == 40_000_000
    missing = fwd("explain", "nothing")
    assert missing.code == 1
    assert "fwd logs" in missing.err


def test_what_is_left_of_each_budget(fwd: Run, here: Path) -> None:
    assert fwd("generate-key", "--name", "web", "--budget", "5/day,50/month:soft", "--models", "gpt-5*").code == 0
    rows = [json.loads(line) for line in fwd("spend", "--json").out.splitlines()]
    assert [(row["window"], row["mode"], row["left_nano"]) for row in rows] == [
        ("day", "hard", 5 * 10**9), ("month", "soft", 50 * 10**9)]  # fmt: skip
    assert fwd("spend").out.splitlines()[0].startswith("key 'web', a day\t5.00\t0.00\t5.00\t0\t")


@pytest.mark.parametrize("option", ["--budget=5/fortnight", "--rpm=many", "--models=a b", "--project=a/b"])
def test_a_key_with_a_limit_that_cannot_be_used_is_not_made(fwd: Run, here: Path, option: str) -> None:
    """It says what is allowed, and the file is as it was."""
    run = fwd("generate-key", option)
    assert run.code == 2
    assert option[2:].partition("=")[0] in run.err or "key" in run.err
    assert not (here / "keys" / "forwarder_api_keys.txt").exists()


def test_without_a_ledger_the_commands_say_where_one_would_be(fwd: Run, tmp_path: Path) -> None:
    run = fwd("usage", "--data", str(tmp_path / "none"))
    assert run.code == 1
    assert "FWD_DATA" in run.err


def test_a_backup_is_a_whole_ledger_and_replaces_nothing(fwd: Run, here: Path) -> None:
    assert fwd("store", "backup", "copy.db").out == "copy.db: 4 calls.\n"
    assert fwd("store", "backup", "copy.db").code == 1
    (here / "restored").mkdir()
    (here / "copy.db").rename(here / "restored" / "fwd.db")
    assert fwd("usage", "--data", "restored").out == fwd("usage").out
    assert fwd("store", "check", "--data", "restored").code == 0


def test_a_wrong_sum_is_found(fwd: Run, here: Path) -> None:
    """W1, over any store."""
    fwd("usage")
    with closing(sqlite3.connect(here / "data" / "fwd.db")) as store:
        store.execute("update rollups set cost = cost + 1 where key_id = 'file_a'")
        store.commit()
    run = fwd("store", "check")
    assert run.code == 1
    assert "file_a" in run.out


def test_a_damaged_ledger_is_moved_aside_and_built_anew(fwd: Run, here: Path) -> None:
    """D7: from a backup, and without one from what the journal has; the damaged file stays for whoever can read it."""
    report = fwd("usage").out
    fwd("store", "backup", "copy.db")
    (here / "data" / "fwd.db").write_bytes(b"damaged!" * 1000)
    assert fwd("usage").code == 1
    run = fwd("store", "recover", "--from-backup", "copy.db")
    assert (run.code, "Moved aside" in run.out) == (0, True)
    assert fwd("usage").out == report
    assert len(list((here / "data").glob("fwd.db.damaged-*"))) == 1
    assert fwd("store", "recover").out == "No file is damaged.\n"
    assert fwd("store", "recover", "--from-backup", "copy.db").code == 1
