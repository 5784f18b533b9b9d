"""What a call costs, from the provider's answer to the caller's receipt, over real sockets."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from kit.fakeup import CLOSE, DONE, STREAM_END, STREAM_HEAD, completion, error_answer, event, json_answer, piece, stream
from kit.gateways import gateway
from kit.loopup import Upstream

KEY = "fwd_" + "m" * 43
PRICES = {
    "schema": 2, "as_of": "2026-12-01", "currency": "USD",
    "models": [
        {"provider": "openai", "id": "gpt-a", "rates": [
            {"input": 2, "output": 10, "cached_input": 0.2}, {"tier": "flex", "input": 1, "output": 5}]},
        {"provider": "groq", "id": "lo-k", "rates": [{"input": 1, "output": 1}]},
    ],
}  # fmt: skip


def ask(folder: Path, script: Any, *bodies: dict[str, Any], **env: str) -> list[httpx.Response]:
    """The answers to calls, one after the other, of a gateway with a price list of its own."""
    prices = folder / "prices.json"
    prices.write_text(json.dumps(PRICES))

    async def main() -> list[httpx.Response]:
        async with Upstream(script) as up:
            addresses = {f"{name}_BASE_URL": f"{up.url}/v1" for name in ("OPENAI", "GROQ")}
            given = {"OPENAI_API_KEY": "sk-x", "GROQ_API_KEY": "gsk-x", "FWD_PRICES": str(prices), **addresses, **env}
            async with gateway(folder, KEY, FWD_DATA=str(folder), **given) as listening:
                headers = {"authorization": f"Bearer {KEY}"}
                async with httpx.AsyncClient(base_url=listening.url, headers=headers, timeout=20) as client:
                    return [await client.post("/v1/chat/completions", json=call(**body)) for body in bodies]

    return asyncio.run(main())


def call(**more: Any) -> dict[str, Any]:
    return {"model": "openai:gpt-a", "messages": [{"role": "user", "content": "Hi"}], **more}


def answered(usage: dict[str, Any] | None, **more: Any) -> bytes:
    return json_answer({**completion(), "usage": usage, **more})


def cost_of(response: httpx.Response) -> tuple[str | None, str | None]:
    return response.headers.get("x-fwd-cost"), response.headers.get("x-fwd-cost-kind")


def comment_of(response: httpx.Response) -> dict[str, Any]:
    found = re.findall(r"^: fwd (\{.*\})$", response.text, re.MULTILINE)
    facts: dict[str, Any] = json.loads(found[-1])
    return facts


@pytest.mark.parametrize(
    ("usage", "more", "expected"),
    [
        ({"prompt_tokens": 1000, "completion_tokens": 500}, {}, ("0.007000000", "exact")),
        (
            {"prompt_tokens": 1000, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 1000}},
            {},
            ("0.000200000", "exact"),
        ),
        # The tier that answered counts, not the one that was asked for; one without a price is an estimate.
        ({"prompt_tokens": 1000, "completion_tokens": 500}, {"service_tier": "flex"}, ("0.003500000", "exact")),
        ({"prompt_tokens": 1000, "completion_tokens": 500}, {"service_tier": "default"}, ("0.007000000", "exact")),
        ({"prompt_tokens": 1000, "completion_tokens": 500}, {"service_tier": "priority"}, ("0.007000000", "estimated")),
        # The provider's own figure counts, where it states one.
        ({"prompt_tokens": 1000, "completion_tokens": 500, "cost": 0.25}, {}, ("0.250000000", "exact")),
        # Nobody counted: "Hi" is a token, and so are the two of "Hello".
        (None, {}, ("0.000022000", "estimated")),
    ],
)
def test_an_answer_says_what_it_cost(
    tmp_path: Path, usage: dict[str, Any] | None, more: dict[str, Any], expected: tuple[str, str]
) -> None:
    (response,) = ask(tmp_path, lambda seen: [answered(usage, **more)], {})
    assert cost_of(response) == expected


def test_an_unknown_price_is_no_cost_and_never_zero(tmp_path: Path) -> None:
    (response,) = ask(
        tmp_path, lambda seen: [answered({"prompt_tokens": 5, "completion_tokens": 5})], {"model": "openai:new"}
    )
    assert cost_of(response) == (None, "unknown")


def test_a_stream_says_it_before_its_end(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 500}
    end = piece(b"data: " + json.dumps({"id": "1", "choices": [], "usage": usage}).encode() + b"\n\n")
    steps = [STREAM_HEAD, event({"content": "Hello"}), event({}, "stop"), end, piece(DONE), STREAM_END]
    (response,) = ask(tmp_path, lambda seen: steps, {"stream": True})
    facts = comment_of(response)
    assert (facts["cost_usd"], facts["cost_nano"], facts["cost_kind"]) == (0.007, 7_000_000, "exact")
    assert response.text.rstrip().endswith("[DONE]")


def test_what_failed_before_it_was_made_costs_nothing(tmp_path: Path) -> None:
    """Money section 7: a 500 is free; the fallback's answer is all that is paid."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 500}

    def script(seen: Any) -> list[bytes]:
        return [error_answer(500)] if seen.json["model"] == "gpt-a" else [answered(usage)]

    more = {"PROVIDERS_PRIORITY": "openai,groq", "GROQ_MODEL": "lo-k", "OPENAI_MODEL": "gpt-a"}
    (response,) = ask(tmp_path, script, {}, **more)
    assert response.headers["x-fwd-provider"] == "groq"
    assert cost_of(response) == ("0.001500000", "exact")


def test_a_stream_that_breaks_costs_what_was_sent_of_it(tmp_path: Path) -> None:
    """S27: the receipt of a broken stream is in nobody's hands, so the record is looked at."""
    seen: list[Any] = []

    class Notes:
        def admit(self, record: Any) -> None: ...

        def settle(self, record: Any) -> None:
            seen.append(record.receipt)

    async def main() -> None:
        steps = [*stream("Hello", " you", " there")[:-3], CLOSE]
        async with Upstream(lambda _: steps) as up:
            (tmp_path / "prices.json").write_text(json.dumps(PRICES))
            env = {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": f"{up.url}/v1", "FWD_DATA": str(tmp_path)}
            async with gateway(tmp_path, KEY, seams={"policies": [Notes()]}, **env) as listening:
                headers = {"authorization": f"Bearer {KEY}"}
                async with httpx.AsyncClient(base_url=listening.url, headers=headers) as client:
                    response = await client.post("/v1/chat/completions", json=call(stream=True))
                    assert '"error"' in response.text

    asyncio.run(main())
    (receipt,) = seen
    assert (receipt.cost, receipt.kind) == (1 * 2000 + 3 * 10_000, "estimated")


def test_tags_are_checked(tmp_path: Path) -> None:
    async def main() -> list[int]:
        async with gateway(tmp_path, KEY, FWD_DATA=str(tmp_path)) as listening:
            headers = {"authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(base_url=listening.url, headers=headers) as client:
                tags = ["a=b,c=d", "a", "A=b", "a=" + "x" * 65, ",".join(f"t{n}=1" for n in range(9))]
                calls = [{"json": call(model="echo:"), "headers": {"x-fwd-tags": tag}} for tag in tags]
                return [(await client.post("/v1/chat/completions", **one)).status_code for one in calls]

    assert asyncio.run(main()) == [200, 400, 400, 400, 400]
