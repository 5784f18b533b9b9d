"""What a caller may know of its own key, over HTTP: its limits, its usage, its calls, and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from kit.gateways import gateway

from fwd_server.clock import SystemClock
from fwd_server.store.accounts import Accounts
from fwd_server.store.ledger import Ledger

KEY, OTHER = "fwd_" + "u" * 43, "fwd_" + "v" * 43
PRICES = {
    "schema": 2, "as_of": "2026-12-01", "currency": "USD",
    "models": [{"provider": "echo", "id": "*", "max_output": 1000, "rates": [{"input": 1000, "output": 2000}]}],
}  # fmt: skip
HELLO = {"model": "echo:", "messages": [{"role": "user", "content": "a b c d e f g h"}]}


@contextlib.asynccontextmanager
async def served(folder: Path, options: str = "", *, ledger: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with a ledger, a key with ``options``, and another key."""
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in (KEY, OTHER)]
    (folder / "keys.txt").write_text(f"sha256:{digests[0]} name=web {options}\nsha256:{digests[1]} name=other\n")
    (folder / "keys.txt").chmod(0o600)
    (folder / "own-prices.json").write_text(json.dumps(PRICES))
    accounts = Accounts(ledger=Ledger(folder, SystemClock()) if ledger else None)
    if accounts.ledger is not None:
        accounts.ledger.start()
    async with gateway(folder, KEY, seams={"accounts": accounts}, FWD_DATA=str(folder)) as listening:
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=listening.url, headers=headers, timeout=20) as client:
            yield client
    await accounts.aclose()


def run(folder: Path, act: Callable[[httpx.AsyncClient], Awaitable[None]], options: str = "", **more: Any) -> None:
    async def main() -> None:
        async with served(folder, options, **more) as client:
            await act(client)

    asyncio.run(main())


async def call(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await client.post("/v1/chat/completions", json={**HELLO, "max_tokens": 100, **more})


async def folded(client: httpx.AsyncClient, calls: int) -> dict[str, Any]:
    """The report, once it has so many calls."""
    for _ in range(100):
        report: dict[str, Any] = (await client.get("/v1/usage")).json()
        if report["total"]["calls"] == calls:
            return report
        await asyncio.sleep(0.1)
    raise AssertionError(f"never {calls} calls: {report}")


def test_a_key_sees_its_limits_and_what_is_left_of_its_budgets(tmp_path: Path) -> None:
    async def act(client: httpx.AsyncClient) -> None:
        answer = await call(client)
        cost = int(answer.headers["x-fwd-cost"].replace(".", ""))
        facts = (await client.get("/v1/key")).json()
        assert (facts["name"], facts["project"], facts["models"]) == ("web", "shop", ["echo:*"])
        assert facts["expires"] == "2030-01-02T00:00:00.000Z"
        assert facts["limits"] == {"rpm": {"limit": 60, "used": 1, "reset_s": 0}}
        (day,) = facts["budgets"]
        assert (day["window"], day["mode"], day["limit_nano"], day["used_nano"]) == ("day", "hard", 5 * 10**9, cost)
        assert day["left_nano"] == 5 * 10**9 - cost
        assert day["resets_at"].endswith("T00:00:00.000Z")
        assert answer.headers["x-fwd-budget-left"] == f"{day['left_usd']:.9f}"

    run(tmp_path, act, "project=shop rpm=60 budget=5/day models=echo:* expires=2030-01-01")


def test_usage_is_summed_up_and_calls_are_found(tmp_path: Path) -> None:
    async def act(client: httpx.AsyncClient) -> None:
        costs = []
        for text in ("a", "a b c d e"):
            answer = await call(client, messages=[{"role": "user", "content": text}], user="ann")
            costs.append(int(answer.headers["x-fwd-cost"].replace(".", "")))
        await client.post("/v1/chat/completions", json=HELLO, headers={"authorization": f"Bearer {OTHER}"})
        report = await folded(client, 2)
        (row,) = report["data"]
        assert (row["model"], row["calls"], row["cost_nano"]) == ("echo:", 2, sum(costs))
        (by_user,) = (await client.get("/v1/usage", params={"by": "user"})).json()["data"]
        assert by_user["user"] == "ann"
        lines = (await client.get("/v1/usage", params={"format": "csv"})).text.splitlines()
        assert lines[0].startswith("day,model,calls,")
        assert len(lines) == 2

        for name in (answer.headers["x-fwd-call-id"], answer.headers["x-request-id"]):
            receipt = (await client.get(f"/v1/requests/{name}")).json()
            assert (receipt["id"], receipt["cost_nano"]) == (answer.headers["x-fwd-call-id"], costs[1])
        theirs = {"authorization": f"Bearer {OTHER}"}
        assert (await client.get(f"/v1/requests/{name}", headers=theirs)).status_code == 404

    run(tmp_path, act)


@pytest.mark.parametrize(
    ("params", "param"),
    [({"from": "yesterday"}, "from"), ({"from": "2026-12-02", "to": "2026-12-01"}, "from"), ({"by": "key"}, "by"),
     ({"from": "2020-01-01", "to": "2026-12-01"}, "from"), ({"by": "day,day"}, "by"), ({"format": "xml"}, "format")],
)  # fmt: skip
def test_a_question_without_an_answer_is_refused(tmp_path: Path, params: dict[str, str], param: str) -> None:
    async def act(client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/usage", params=params)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)

    run(tmp_path, act)


def test_without_a_ledger_there_is_no_report_and_no_call_of_a_key_with_a_budget(tmp_path: Path) -> None:
    """FWD_LEDGER=off: limits work, and a budget that nobody can count refuses."""

    async def act(client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/usage")).status_code == 501
        refused = await call(client)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_busy")
        theirs = {"authorization": f"Bearer {OTHER}"}
        served = await client.post("/v1/chat/completions", json=HELLO, headers=theirs)
        assert served.status_code == 200
        assert "x-fwd-call-id" not in served.headers

    run(tmp_path, act, "budget=5/day", ledger=False)


def test_two_hundred_calls_at_once_on_a_budget_for_ten(tmp_path: Path) -> None:
    """M6: never a nano-dollar over, nothing held afterwards, and the last call that fits is served."""

    async def act(client: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(*(call(client) for _ in range(200)))
        served = [answer for answer in answers if answer.status_code == 200]
        codes = {answer.json()["error"]["code"] for answer in answers if answer.status_code != 200}
        assert codes <= {"budget_busy", "budget_exceeded"}
        while (last := await call(client)).status_code == 200:
            served.append(last)
        assert last.json()["error"]["code"] == "budget_exceeded"
        assert last.headers["x-should-retry"] == "false"
        (budget,) = (await client.get("/v1/key")).json()["budgets"]
        spent = sum(int(answer.headers["x-fwd-cost"].replace(".", "")) for answer in served)
        assert (budget["used_nano"], budget["held_nano"]) == (spent, 0)
        assert spent <= budget["limit_nano"]
        # What the message says would fit, fits.
        fits = int(last.json()["error"]["message"].partition("max_tokens <= ")[2].partition(" ")[0])
        assert (await call(client, max_tokens=fits + 1)).status_code == 429
        assert (await call(client, max_tokens=fits)).status_code == 200

    # A call of this size is bound by 77 tokens in and 100 out: 0.277 dollars.
    run(tmp_path, act, "budget=2.77")


def test_a_thousand_calls_at_once_on_sixty_a_minute(tmp_path: Path) -> None:
    """M4 in one process: exactly sixty are admitted, and each refusal says when to come back."""

    async def act(client: httpx.AsyncClient) -> None:
        answers = [answer for _ in range(5) for answer in await asyncio.gather(*(call(client) for _ in range(200)))]
        assert sum(answer.status_code == 200 for answer in answers) == 60
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert 0 < int(refused.headers["retry-after"]) <= 61

    run(tmp_path, act, "rpm=60")


def test_a_model_that_the_key_may_not_use_is_refused_and_no_fallback_leads_to_one(tmp_path: Path) -> None:
    """S22: the asked name and every deployment of the plan are looked at."""

    async def act(client: httpx.AsyncClient) -> None:
        refused = await call(client)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
        assert refused.headers["x-should-retry"] == "false"

    run(tmp_path, act, "models=gpt-5*")


def test_a_key_of_another_network_is_no_key(tmp_path: Path) -> None:
    """S15: the constant 401, to the byte."""

    async def act(client: httpx.AsyncClient) -> None:
        wrong = await client.get("/v1/key", headers={"authorization": "Bearer fwd_" + "x" * 43})
        elsewhere = await client.get("/v1/key")
        assert (elsewhere.status_code, elsewhere.content) == (401, wrong.content)

    run(tmp_path, act, "ips=10.0.0.0/8")
