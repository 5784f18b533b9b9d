"""The ledger: journal, fold and store together, over restarts, locks, full disks and rows that nobody can take."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import stat
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.clock import FakeClock

from fwd_server.clock import SystemClock
from fwd_server.metering.book import Book
from fwd_server.metering.rules import Rule
from fwd_server.store.fold import Fold
from fwd_server.store.journal import JournalFile, JournalFull
from fwd_server.store.journal_writer import JournalWriter, StorageBusy
from fwd_server.store.ledger import Ledger, make_interrupted
from fwd_server.store.migrate import Migration, StoreError, find_pending, load_migrations, migrate, split_statements
from fwd_server.store.store_file import STORE_NAME, open_store, read_store
from fwd_server.store.upkeep import check_store, prune_calls, prune_counters

AT = 1_796_083_200_000_000  # 2026-12-01 in microseconds


async def written(waiting: Awaitable[bool] | None) -> bool:
    return waiting is not None and await waiting


def row(cost: int | None = 5, **more: Any) -> dict[str, Any]:
    return {
        "at": AT, "key_id": "key_a", "provider": "openai", "model": "openai:gpt", "state": "done", "prompt": 10,
        "completion": 20, "cost": cost, "cost_kind": "unknown" if cost is None else "exact", "total_ms": 12,
        "budgets": [["b", "key:key_a", "2026-12-01"]],
    } | more  # fmt: skip


def end(name: str, **more: Any) -> list[Any]:
    return ["e", name, row(**more), [{"provider": "openai", "code": "timeout"}]]


def dumps(*events: Any) -> list[bytes]:
    return [orjson.dumps(event) for event in events]


class Place:
    """A journal and a store in a directory, without threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open()

    def open(self) -> None:
        self.journal = JournalFile(self.path, lock_s=0.1)
        self.store = open_store(self.path / STORE_NAME, AT, busy_s=0.05)
        self.fold = Fold(self.journal, self.store, self.path / "rejected.jsonl")
        self.fold.start()

    def close(self) -> None:
        self.store.close()
        self.journal.close()

    def calls(self) -> list[tuple[Any, ...]]:
        return self.store.execute("select id, state, cost from calls order by id").fetchall()


@pytest.fixture
def place(tmp_path: Path) -> Any:
    place = Place(tmp_path / "data")
    yield place
    place.close()


def test_events_become_rows_sums_and_counters(place: Place) -> None:
    place.journal.append(
        dumps(["o", "1", row()], end("1"), end("2", cost=None, known_part=3), end("3", state="broken"))
    )
    place.fold.run_all()
    assert place.calls() == [("1", "done", 5), ("2", "done", None), ("3", "broken", 5)]
    assert place.store.execute("select spent, calls from counters").fetchall() == [(13, 3)]
    sums = place.store.execute("select calls, failed, prompt, cost, unpriced, ms from rollups").fetchall()
    assert sums == [(3, 1, 30, 13, 1, 36)]
    assert place.store.execute("select count(*) from attempts").fetchone() == (3,)
    assert check_store(place.store) == []


def test_files_are_the_owners_alone(place: Place) -> None:
    """T14: the directory 0700, every file in it 0600."""
    place.journal.append(dumps(end("1")))
    place.fold.run_all()
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in place.path.iterdir() if file.suffix != ""}
    assert set(modes.values()) == {0o600}, modes


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("o"), st.sampled_from("abcdef")),
        st.tuples(st.just("e"), st.sampled_from("abcdef"), st.integers(0, 9)),
        st.tuples(st.just("x"), st.sampled_from("abcdef")),
        st.tuples(st.just("a"), st.sampled_from("uvw"), st.integers(-5, 5)),
    ),
    max_size=20,
)


def build(event: tuple[Any, ...]) -> list[Any]:
    if event[0] == "e":
        return end(event[1], cost=event[2])
    if event[0] == "a":
        names = {"id": event[1], "at": AT, "rule_id": "b", "subject": "key:key_a", "period": "2026-12-01"}
        return ["a", names | {"amount": event[2], "reason": "because", "actor": "ann"}]
    return ["o", event[1], row(likely=1)] if event[0] == "o" else ["x", event[1]]


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(EVENTS, max_size=8), data=st.data())
def test_any_prefix_folded_any_number_of_times_gives_the_same_store(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[Any, ...]]], data: st.DataObject
) -> None:
    """W3, W1: with crashes and trimmed journals in between; every call that ended has exactly one row."""
    place = Place(tmp_path_factory.mktemp("w3"))
    ended: dict[str, int] = {}
    for batch in batches:
        events = [build(event) for event in batch]
        for event in events:
            if event[0] == "e":
                ended.setdefault(event[1], event[2]["cost"])
        if events:
            place.journal.append(dumps(*events))
        for step in data.draw(st.lists(st.sampled_from(["fold", "again", "trim", "crash"]), max_size=4)):
            if step == "fold":
                place.fold.run_round()
            elif step == "again":  # as if the store had been restored from a moment before: everything comes again
                place.fold.applied = 0
                place.fold.run_all()
            elif step == "trim":
                place.fold.trim_journal()
            else:
                place.close()
                place.open()
    place.fold.run_all()
    assert {name: cost for name, _, cost in place.calls()} == ended
    assert check_store(place.store) == []
    place.close()


def test_a_call_that_ends_while_it_is_carried_is_not_open_again(place: Place) -> None:
    """Between the last round and a trim its end may come: then the carried beginning stands behind it."""
    place.journal.append(dumps(["o", "1", row()]))
    place.fold.run_all()
    place.journal.append(dumps(end("1")))
    place.fold.trim_journal()
    place.fold.run_all()
    assert place.fold.open_calls == {}
    place.fold.trim_journal()
    assert place.journal.read_after(0) == []
    place.close()
    place.open()
    place.fold.run_all()
    assert place.fold.open_calls == {}


def test_long_calls_survive_trims_and_restarts(place: Place) -> None:
    place.journal.append(dumps(["o", "long", row(likely=3)], ["h", "long", 77]))
    for _ in range(3):
        place.fold.run_all()
        place.fold.trim_journal()
        place.close()
        place.open()
        place.fold.run_all()
    (event,) = place.fold.open_calls.values()
    assert event[2]["bound"] == 77
    ended = make_interrupted(event, AT + 1)
    assert (ended[2]["state"], ended[2]["cost"], ended[2]["cost_kind"]) == ("interrupted", 3, "estimated")


def test_a_row_the_store_refuses_is_set_aside_and_the_others_go_on(place: Place) -> None:
    bad = [["e", "bad"], end("big", cost=1 << 70), ["?", "x"], ["e", "old", {"no": "at"}, []]]
    place.journal.append([json.dumps(event).encode() for event in (end("1"), *bad, end("2"))])
    place.fold.run_all()
    assert [name for name, *_ in place.calls()] == ["1", "2"]
    lines = [json.loads(line) for line in (place.path / "rejected.jsonl").read_text().splitlines()]
    assert len(lines) == place.fold.rejected_count == 4
    assert check_store(place.store) == []


def test_a_store_that_is_locked_leaves_everything_in_the_journal(place: Place) -> None:
    """D5."""
    place.journal.append(dumps(end("1")))
    other = sqlite3.connect(place.path / STORE_NAME, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        place.fold.run_all()
    assert place.journal.size > 0
    other.execute("commit")
    other.close()
    place.fold.run_all()
    assert len(place.calls()) == 1


def test_a_second_owner_is_told_who_has_the_directory(place: Place) -> None:
    import os

    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}; FWD_DATA names another directory"):
        JournalFile(place.path, lock_s=0.05)


def test_the_end_of_the_spool_is_kept_for_calls_that_run(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path, spool=70_000)
    journal.append([b"0" * 10_000])
    with pytest.raises(JournalFull):
        journal.check_room(100, opens=True)
    journal.check_room(100, opens=False)
    journal.close()


def test_numbers_of_batches_are_never_used_twice(place: Place) -> None:
    """Or the store would take a new batch for one it has."""
    first = place.journal.append(dumps(end("1")))
    place.fold.run_all()
    place.fold.trim_journal()
    place.close()
    place.open()
    assert place.journal.append(dumps(end("2"))) > first
    place.fold.run_all()
    assert len(place.calls()) == 2


@pytest.mark.parametrize("name", ["journal.db", STORE_NAME])
def test_a_corrupt_file_stops_the_start_and_says_what_to_do(tmp_path: Path, name: str) -> None:
    """D7."""
    (tmp_path / name).write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreError, match=f"{name} is corrupt .*fwd store recover"):
        Ledger(tmp_path, FakeClock())


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_a_call_is_recorded_and_folded(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = Ledger(tmp_path, FakeClock())
        ledger.start()
        name = ledger.new_id()
        await ledger.record_open(name, orjson.dumps(row(likely=1)))
        ledger.record_hold(name, 9)
        assert await written(ledger.record_end(name, orjson.dumps(row())))
        ledger.record_adjustment(build(("a", "u", 3))[1])
        assert ledger.describe_state()["journal_failure"] == ""
        await ledger.close()
        store = read_store(tmp_path / STORE_NAME)
        assert store.execute("select id, cost from calls").fetchall() == [(name, 5)]
        assert store.execute("select spent, adjusted from counters").fetchall() == [(5, 3)]
        store.close()

    run(test)


def test_calls_of_a_dead_run_become_interrupted_and_the_book_gets_its_counters(tmp_path: Path) -> None:
    clock = FakeClock()
    journal = JournalFile(tmp_path)
    at = round(clock.now() * 1_000_000)
    from fwd_server.metering.periods import find_utc_day

    key = ["b", "key:key_a", find_utc_day(clock.now())]
    journal.append(dumps(["o", "1", row(at=at, likely=4, budgets=[key])], ["o", "2", row(at=at, budgets=[key])]))
    journal.append(dumps(end("2", at=at, budgets=[key])))
    journal.close()
    ledger = Ledger(tmp_path, clock)
    assert ledger.interrupted == 1
    book = Book([Rule("b", "key:key_a", "budget", 100, "day")])
    ledger.restore_book(book, {rule.id for rule in book.rules})
    (state,) = book.list_budgets(book.find_rules("key_a", "", ("m",)), clock.now())
    assert (state.spent, state.held) == (9, 0)
    asyncio.run(ledger.close())


def test_a_full_disk_refuses_new_calls_and_keeps_the_ends_of_running_ones(tmp_path: Path) -> None:
    """D6: no record, no call; what runs ends, waits in memory, and is written when there is room."""

    async def test() -> None:
        file = JournalFile(tmp_path)
        writer = JournalWriter(file, asyncio.get_running_loop())
        await writer.write_open(b'["o","1",{}]', b'["x","1"]', 2.0)
        (pages,) = file._connection.execute("pragma page_count").fetchone()
        file._connection.execute(f"pragma max_page_count = {pages}")
        big = b'["o","2",{"x":"' + b"x" * 20_000 + b'"}]'
        with pytest.raises(StorageBusy, match="full"):
            await writer.write_open(big, b'["x","2"]', 2.0)
        assert not await writer.write_end(b'["e","1",{"x":"' + b"x" * 20_000 + b'"},[]]', 0.05)
        assert writer.kept == 1
        assert "full" in writer.failure
        file._connection.execute("pragma max_page_count = 100000")
        await writer.close()
        assert writer.kept == 0
        assert writer.failure == ""
        bodies = b"".join(body for _, body in file.read_after(0))
        assert bodies.count(b'["e","1"') == 1
        assert b'["o","2"' not in bodies
        file.close()

    run(test)


def test_calls_do_not_notice_a_locked_store_and_the_fold_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D5: what was recorded meanwhile is folded as soon as the lock is gone."""
    monkeypatch.setattr("fwd_server.store.ledger.FOLD_S", 0.01)
    monkeypatch.setattr("fwd_server.store.ledger.TRIM_S", 0.0)

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20) if hasattr(asyncio, "timeout") else contextlib.nullcontext():
            while not holds():
                await asyncio.sleep(0.005)

    async def test() -> None:
        ledger = Ledger(tmp_path, SystemClock())
        other = sqlite3.connect(tmp_path / STORE_NAME, isolation_level=None)
        other.execute("begin immediate")
        ledger.start()
        await ledger.record_open("1", orjson.dumps(row(likely=1)))
        assert await written(ledger.record_end("1", orjson.dumps(row())))
        await until(lambda: "locked" in ledger.describe_state()["fold_failure"])
        assert ledger.describe_state()["spool_bytes"] > 0
        other.execute("rollback")
        await until(lambda: ledger.describe_state()["spool_bytes"] == 0)
        assert other.execute("select count(*) from calls").fetchone() == (1,)
        assert ledger.describe_state()["fold_failure"] == ""
        other.close()
        await ledger.close()

    run(test)


def test_an_open_that_comes_too_late_is_withdrawn(tmp_path: Path) -> None:
    """The caller was told 503: a restart must not take that call for one that was interrupted."""

    async def test() -> None:
        file = JournalFile(tmp_path)
        writer = JournalWriter(file, asyncio.get_running_loop())
        with file._lock, pytest.raises(StorageBusy, match=r"0\.01 s"):
            await writer.write_open(b'["o","1",{}]', b'["x","1"]', 0.01)
        await writer.close()
        bodies = b"".join(body for _, body in file.read_after(0))
        assert bodies.index(b'["o","1"') < bodies.index(b'["x","1"]')
        file.close()

    run(test)


def test_whatever_comes_while_a_commit_runs_is_one_batch(tmp_path: Path) -> None:
    async def test() -> None:
        file = JournalFile(tmp_path)
        writer = JournalWriter(file, asyncio.get_running_loop())
        with file._lock:
            waits = [asyncio.ensure_future(writer.write_end(b'["e","%d"]' % n, 5.0)) for n in range(300)]
            await asyncio.sleep(0)
        assert all(await asyncio.gather(*waits))
        assert len(file.read_after(0)) <= 4
        await writer.close()
        file.close()

    run(test)


def test_ids_are_ordered_by_time_and_do_not_repeat(tmp_path: Path) -> None:
    clock = FakeClock()
    ledger = Ledger(tmp_path, clock)
    names = [ledger.new_id() for _ in range(1000)]
    assert len({*names}) == 1000
    assert {len(name) for name in names} == {32}
    assert len({name[:12] for name in names}) == 1
    asyncio.run(ledger.close())


def test_old_calls_go_in_steps_and_sums_stay(place: Place) -> None:
    place.journal.append(dumps(*(end(f"{n:03}", at=AT + n) for n in range(12))))
    place.fold.run_all()
    assert [prune_calls(place.store, AT + 10, 4) for _ in range(4)] == [4, 4, 2, 0]
    assert [name for name, *_ in place.calls()] == ["010", "011"]
    assert place.store.execute("select count(*) from attempts").fetchone() == (2,)
    assert place.store.execute("select calls from rollups").fetchone() == (12,)
    assert prune_counters(place.store, AT) == 0
    assert prune_counters(place.store, AT + 100) == 1


def test_a_wrong_sum_is_found(place: Place) -> None:
    place.journal.append(dumps(end("1"), build(("a", "u", 1))))
    place.fold.run_all()
    place.store.execute("update counters set spent = spent + 1")
    place.store.execute("update rollups set cost = cost + 1")
    assert len(check_store(place.store)) == 2
    place.store.execute("delete from counters")
    place.store.execute("delete from rollups")
    assert [problem.rpartition(" ")[2] for problem in check_store(place.store)] == ["missing", "missing"]


def test_migrations_are_applied_once_and_a_changed_or_newer_store_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s.db", AT)
    steps = load_migrations()
    assert find_pending(store, steps) == []
    assert migrate(store, AT) == []
    with pytest.raises(StoreError, match="newer version"):
        find_pending(store, [])
    with pytest.raises(StoreError, match="reinstall"):
        find_pending(store, [Migration(1, "base", "select 1;")])
    broken = Migration(2, "more", "create table t(a int);\ncreate table t(a int);")
    with pytest.raises(sqlite3.OperationalError):
        migrate(store, AT, [*steps, broken])
    assert store.execute("select 1 from sqlite_master where name = 't'").fetchone() is None
    assert migrate(store, AT, [*steps, Migration(2, "more", "create table t(a int);")]) == ["more"]
    store.close()


def test_gateways_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    """D17: one applies the steps, the others wait for it; 50 starts, none fails."""
    for start in range(50):
        path, line = tmp_path / f"{start}.db", threading.Barrier(2)

        def begin(path: Path = path, line: threading.Barrier = line) -> int:
            line.wait()
            store = open_store(path, AT, busy_s=30.0)
            (count,) = store.execute("select count(*) from schema_version").fetchone()
            store.close()
            return int(count)

        with ThreadPoolExecutor(2) as pool:
            ends = [pool.submit(begin) for _ in range(2)]
            assert [end.result() for end in ends] == [len(load_migrations())] * 2


def test_a_half_statement_is_no_step() -> None:
    assert split_statements("-- why\nselect 1;\nselect\n 2;\n") == ["select 1;", "select\n 2;"]
    with pytest.raises(StoreError, match="middle"):
        split_statements("select 1")


def test_there_is_nothing_to_read_before_the_first_call(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no ledger"):
        read_store(tmp_path / STORE_NAME)
