"""The SQL of the ledger, in one place: what the fold writes, and the columns of a row."""

from __future__ import annotations

from typing import Final

CALL_COLUMNS: Final = (
    "id", "at", "ended_at", "key_id", "key_name", "project_id", "user_tag", "tags", "request_id", "surface", "asked",
    "provider", "model", "status", "state", "stream", "prompt", "cached", "cache_write", "cache_write_1h",
    "completion", "reasoning", "units", "tier", "cost", "cost_kind", "known_part", "saved", "bound", "over_bound",
    "price_id", "attempts", "first_ms", "total_ms", "error", "dropped", "replica", "budgets",
)  # fmt: skip
ATTEMPT_COLUMNS: Final = (
    "call_id", "n", "provider", "model", "at", "ms", "status", "code", "cost", "cost_kind", "prompt", "completion",
)  # fmt: skip
ROLLUP_SUMS: Final = (
    "calls", "failed", "prompt", "cached", "cache_write", "completion", "reasoning", "cost", "estimated", "unpriced",
    "ms",
)  # fmt: skip
ROLLUP_KEYS: Final = ("day", "key_id", "project_id", "provider", "model", "user_tag", "surface")
# The project is not part of the key: a key is in one project, and moving it must not split its past.
_ROLLUP_PRIMARY: Final = ("day", "key_id", "provider", "model", "user_tag", "surface")


def _marks(columns: tuple[str, ...]) -> str:
    return ", ".join("?" * len(columns))


INSERT_CALL: Final = (
    f"insert into calls({', '.join(CALL_COLUMNS)}) values({_marks(CALL_COLUMNS)}) on conflict do nothing"
)
INSERT_ATTEMPT: Final = (
    f"insert into attempts({', '.join(ATTEMPT_COLUMNS)}) values({_marks(ATTEMPT_COLUMNS)}) on conflict do nothing"
)
RAISE_ROLLUP: Final = (
    f"insert into rollups({', '.join(ROLLUP_KEYS + ROLLUP_SUMS)}) values({_marks(ROLLUP_KEYS + ROLLUP_SUMS)}) "
    f"on conflict({', '.join(_ROLLUP_PRIMARY)}) do update set "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in ROLLUP_SUMS)
)
RAISE_COUNTER: Final = (
    "insert into counters(rule_id, subject, period, spent, calls, adjusted, updated_at) values(?, ?, ?, ?, ?, ?, ?) "
    "on conflict(rule_id, subject, period) do update set spent = spent + excluded.spent, "
    "calls = calls + excluded.calls, adjusted = adjusted + excluded.adjusted, updated_at = excluded.updated_at"
)
INSERT_ADJUSTMENT: Final = (
    "insert into adjustments(id, at, rule_id, subject, period, amount, reason, actor) values(?, ?, ?, ?, ?, ?, ?, ?) "
    "on conflict do nothing"
)
READ_APPLIED: Final = "select seq from applied where journal = ?"
WRITE_APPLIED: Final = (
    "insert into applied(journal, seq) values(?, ?) on conflict(journal) do update set seq = excluded.seq"
)
READ_COUNTERS: Final = "select rule_id, subject, period, spent, calls, adjusted from counters"
LATEST_TIME: Final = (
    "select max(coalesce((select max(at) from calls), 0), coalesce((select max(at) from adjustments), 0))"
)
RECENT_CALLS: Final = (
    "select (? - at) / ? as age, model, user_tag, count(*), sum(coalesce(prompt, 0) + coalesce(completion, 0)) "
    "from calls where at > ?{where} group by age, model, user_tag"
)
