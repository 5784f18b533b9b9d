"""Calls through a gateway that has a ``fwd.toml``: what each name of the file does to a call."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson
import pytest
from kit.fakeup import STREAM_HEAD, Fakeup, Seen, Step, completion, error_answer, event, json_answer, stream
from kit.gateways import Listening, gateway

from fwd_server.settings.config_file import ConfigText

T = TypeVar("T")
KEY = "fwd_" + "c" * 43
PATH = "/v1/chat/completions"
ASK = [{"role": "user", "content": "Hi"}]
KEYS = {"OPENAI_API_KEY": "sk-one-canary", "OPENAI_API_KEY_2": "sk-two-canary", "GROQ_API_KEY": "gsk-canary"}


def good(seen: Seen) -> list[Step]:
    """An answer, streamed where that was asked for."""
    if b'"stream":true' in seen.body:
        return stream("Hel", "lo")
    return [json_answer(completion("Hello"))]


def run(folder: Path, text: str, act: Callable[[httpx.AsyncClient, Listening], Awaitable[T]], **env: str) -> T:
    """Run ``act`` with a client of a gateway that has this file."""

    async def main() -> T:
        file = ConfigText(text, "fwd.toml", folder)
        async with gateway(folder, KEY, config=file, **{**KEYS, **env}) as at:
            headers = {"authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(base_url=at.url, headers=headers) as client:
                return await act(client, at)

    return asyncio.run(main())


def ask(folder: Path, text: str, model: str | None = "smart", **body: Any) -> httpx.Response:
    """One call; ``headers`` and ``env`` are not of its body."""
    headers, env = body.pop("headers", {}), body.pop("env", {})

    async def act(client: httpx.AsyncClient, at: Listening) -> httpx.Response:
        given = {"model": model, "messages": ASK, **body}
        return await client.post(PATH, json={k: v for k, v in given.items() if v is not None}, headers=headers)

    return run(folder, text, act, **env)


def providers(**urls: str) -> str:
    return "".join(f'[providers.{name}]\nbase_url = "{url}"\n' for name, url in urls.items())


# -- names


def test_an_alias_a_pattern_and_a_deployment_by_its_prefix(tmp_path: Path) -> None:
    """Section 4: each leads to the model that the file names; the receipt says which one answered."""
    with Fakeup(good) as up:
        text = providers(openai=up.url) + '[models.smart]\naliases = ["gpt-4o"]\ndeployments = ["openai:gpt-6"]\n'
        text += '[models."my-*"]\ndeployments = ["openai:gpt-*"]\n'
        for name in ("smart", "gpt-4o", "my-6", "openai:gpt-6"):
            answer = ask(tmp_path, text, name)
            assert (answer.status_code, answer.headers["x-fwd-model"]) == (200, "gpt-6"), name
    assert {seen.json["model"] for seen in up.seen} == {"gpt-6"}


def test_only_listed_names_are_served(tmp_path: Path) -> None:
    """Section 4: a prefix leads nowhere then, and the nearest public name is suggested."""
    with Fakeup(good) as up:
        text = "[routing]\nonly_listed = true\n" + providers(openai=up.url) + '[models]\nsmart = "openai:gpt-6"\n'
        assert ask(tmp_path, text).status_code == 200
        refused = ask(tmp_path, text, "openai:gpt-6")
        near = ask(tmp_path, text, "smrt")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert "'smart'" in near.json()["error"]["message"]


def test_the_list_begins_with_the_public_names(tmp_path: Path) -> None:
    """Section 4: owned by fwd; a hidden model is in no list, one that is not revealed shows nothing behind it."""
    text = """
[models.smart]
description = "Best answers"
deployments = ["openai:gpt-6"]
[models.quiet]
hidden = true
deployments = ["openai:gpt-6"]
[models.veiled]
reveal = false
deployments = ["openai:gpt-6"]
"""

    async def act(client: httpx.AsyncClient, at: Listening) -> tuple[Any, Any, int]:
        listed = (await client.get("/v1/models")).json()["data"]
        one = (await client.get("/v1/models/smart")).json()
        return listed, one, (await client.get("/v1/models/quiet")).status_code

    listed, one, hidden = run(tmp_path, text, act)
    assert [entry["id"] for entry in listed[:2]] == ["smart", "veiled"]
    assert listed[0] == one
    assert (one["owned_by"], one["fwd"]["description"]) == ("fwd", "Best answers")
    assert one["fwd"]["deployments"] == ["openai:gpt-6"]
    assert "deployments" not in listed[1]["fwd"]
    assert hidden == 200
    assert "quiet" not in {entry["id"] for entry in listed}


# -- parameters


CHANGES = """
[models.smart]
deployments = ["openai:gpt-4.1"]
defaults = { temperature = 0.2 }
force = { store = false, max_completion_tokens = 50 }
deny = ["logit_bias"]
drop = ["user"]
"""


def test_parameters_are_set_left_out_and_refused(tmp_path: Path) -> None:
    """Section 2a: defaults, force, drop and deny; the receipt names what was changed and what was left out."""
    with Fakeup(good) as up:
        text = providers(openai=up.url) + CHANGES
        answer = ask(tmp_path, text, user="me", store=True, max_tokens=9000)
        own = ask(tmp_path, text, temperature=1)
        denied = ask(tmp_path, text, logit_bias={"1": 1})
        smuggled = ask(tmp_path, text, extra_body={"store": True})
    sent = up.seen[0].json
    assert (sent["temperature"], sent["store"], sent["max_completion_tokens"]) == (0.2, False, 50)
    assert not {"user", "max_tokens"} & sent.keys()
    assert answer.headers["x-fwd-changed"] == "temperature,store,max_completion_tokens"
    assert answer.headers["x-fwd-dropped"] == "user"
    assert up.seen[1].json["temperature"] == 1
    assert own.headers["x-fwd-changed"] == "store,max_completion_tokens"
    for refused, param in ((denied, "logit_bias"), (smuggled, "extra_body.store")):
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["param"]) == (400, "parameter_not_allowed", param)
    assert len(up.seen) == 2


def test_a_default_that_a_model_does_not_take_is_no_fault_of_the_caller(tmp_path: Path) -> None:
    """Strict mode is about what the caller sent; a model that thinks takes no temperature."""
    with Fakeup(good) as up:
        text = providers(openai=up.url) + CHANGES.replace("gpt-4.1", "gpt-6")
        answer = ask(tmp_path, text, headers={"x-fwd-strict": "true"})
    assert (answer.status_code, "temperature" in up.seen[0].json) == (200, False)
    assert answer.headers["x-fwd-changed"] == "store,max_completion_tokens"


def test_what_a_model_denies_its_fallbacks_do_not_take(tmp_path: Path) -> None:
    """A bound that a fallback passes by would be none."""
    with Fakeup(good) as up:
        text = providers(openai=up.url) + CHANGES + 'fallback = ["openai:other"]\n'
        assert ask(tmp_path, text, logit_bias={"1": 1}).status_code == 400
    assert up.seen == []


def test_strict_refuses_what_the_file_would_drop(tmp_path: Path) -> None:
    """Design section 2.3: nothing is lost in strict mode, whoever would leave it out."""
    with Fakeup(good) as up:
        answer = ask(tmp_path, providers(openai=up.url) + CHANGES, user="me", headers={"x-fwd-strict": "true"})
    assert (answer.status_code, answer.json()["error"]["param"], up.seen) == (400, "user", [])


# -- where a call goes on


def test_a_public_model_moves_on_where_a_provider_has_no_such_model(tmp_path: Path) -> None:
    """5d, F17: we chose what the name means; who names the provider's model hears of it."""
    with Fakeup(lambda seen: [error_answer(404)]) as bad, Fakeup(good) as up:
        text = providers(openai=bad.url, groq=up.url)
        text += '[models.smart]\nbalance = "order"\ndeployments = ["openai:gpt-6", "groq:llama"]\n'
        moved, named = ask(tmp_path, text), ask(tmp_path, text, "openai:gpt-6")
    assert (moved.status_code, moved.headers["x-fwd-provider"], moved.headers["x-fwd-attempts"]) == (200, "groq", "2")
    assert named.status_code == 404


def test_on_a_kind_of_failure_the_file_leads_elsewhere(tmp_path: Path) -> None:
    """5d: on.KIND replaces what is left of the plan; other kinds go the usual way."""
    with Fakeup(lambda seen: [error_answer(503)]) as bad, Fakeup(good) as up, Fakeup(good) as other:
        text = providers(openai=bad.url, groq=up.url, mistral=other.url)
        text += '[models.smart]\ndeployments = ["openai:gpt-6"]\nfallback = ["groq:llama"]\n'
        text += 'on.overloaded = ["mistral:large"]\n'
        answer = ask(tmp_path, text, env={"MISTRAL_API_KEY": "m-canary"})
    assert (answer.headers["x-fwd-provider"], len(up.seen), len(other.seen)) == ("mistral", 0, 1)


def test_no_fallback_keeps_to_the_deployments_of_the_model(tmp_path: Path) -> None:
    """5d: they are the same model; the others are not."""
    with Fakeup(lambda seen: [error_answer(500)]) as bad, Fakeup(good) as up:
        text = providers(openai=bad.url, groq=up.url)
        text += '[models.smart]\nbalance = "order"\ndeployments = ["openai:a", "openai:b"]\nfallback = ["groq:llama"]\n'
        answer = ask(tmp_path, text, headers={"x-fwd-fallback": "none"}, env={"OPENAI_API_KEY_2": ""})
    assert (answer.status_code, len(bad.seen), up.seen) == (502, 2, [])


def test_a_model_may_have_attempts_of_its_own(tmp_path: Path) -> None:
    with Fakeup(lambda seen: [error_answer(500)]) as bad:
        text = providers(openai=bad.url)
        text += '[models.smart]\nattempts = 1\ndeployments = ["openai:a", "openai:b"]\n'
        assert ask(tmp_path, text).headers["x-fwd-attempts"] == "1"


# -- what is skipped is said


@pytest.mark.parametrize("streamed", [False, True])
def test_a_provider_without_key_is_said_to_be_skipped(tmp_path: Path, streamed: bool) -> None:
    """A named model is not silently replaced: header, comment of the stream and dry run name the provider."""
    with Fakeup(good) as up:
        text = providers(openai=up.url)
        env = {"PROVIDERS_PRIORITY": "openai,echo", "OPENAI_MODEL": "gpt-6"}
        answer = ask(tmp_path, text, "claude-opus-4-8", stream=streamed, env=env)
        dry = ask(tmp_path, text, "claude-opus-4-8", env=env, headers={"x-fwd-dry-run": "true"})
        direct = ask(tmp_path, text, None, env=env)
    assert answer.headers["x-fwd-skipped"] == "anthropic=provider_not_configured"
    if streamed:
        assert '"skipped":{"anthropic":"provider_not_configured"}' in answer.text
    assert dry.json()["skipped"] == {"anthropic": "provider_not_configured"}
    assert [entry["provider"] for entry in dry.json()["plan"]] == ["openai", "openai"]
    assert "x-fwd-skipped" not in direct.headers


def test_an_echo_does_not_stand_in_for_a_model_that_was_named(tmp_path: Path) -> None:
    """The first example without keys would print the question back."""
    answer = ask(tmp_path, "", "claude-opus-4-8", env={"PROVIDERS_PRIORITY": "echo"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_not_configured")
    assert "ANTHROPIC_API_KEY" in answer.json()["error"]["message"]
    assert ask(tmp_path, "", None, env={"PROVIDERS_PRIORITY": "echo"}).headers["x-fwd-provider"] == "echo"


def test_a_provider_that_cools_down_is_said_to_be_skipped(tmp_path: Path) -> None:
    """The second call goes straight to the fallback, and says why."""
    with Fakeup(lambda seen: [error_answer(429)]) as bad, Fakeup(good) as up:
        text = providers(groq=bad.url, openai=up.url)

        async def act(client: httpx.AsyncClient, at: Listening) -> list[httpx.Response]:
            return [await client.post(PATH, json={"model": "groq:llama", "messages": ASK}) for _ in range(2)]

        first, second = run(tmp_path, text, act, PROVIDERS_PRIORITY="openai", OPENAI_MODEL="gpt-6")
    assert (first.headers["x-fwd-attempts"], "x-fwd-skipped" in first.headers) == ("2", False)
    assert (second.headers["x-fwd-attempts"], second.headers["x-fwd-skipped"]) == ("1", "groq=cooling_down")


# -- what is not revealed


VEILED = '[models.smart]\nreveal = false\ndeployments = ["openai:gpt-6-secret"]\n'


@pytest.mark.parametrize("streamed", [False, True])
def test_a_model_that_is_not_revealed_shows_its_name_alone(tmp_path: Path, streamed: bool) -> None:
    """Section 2a, reveal: body, headers, receipt and dry run name the model and nothing behind it."""
    with Fakeup(good) as up:
        text = providers(openai=up.url) + VEILED
        answer = ask(tmp_path, text, stream=streamed)
        dry = ask(tmp_path, text, headers={"x-fwd-dry-run": "true"})
    for seen in (answer, dry):
        shown = f"{seen.headers} {seen.text}"
        assert "secret" not in shown
        assert "openai" not in shown.lower().replace("openai-", "")
    assert answer.headers["x-fwd-model"] == "smart"
    assert '"model":"smart"' in answer.text
    assert "Hel" in answer.text


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_a_failure_of_a_model_that_is_not_revealed_tells_no_more(tmp_path: Path, status: int) -> None:
    with Fakeup(lambda seen: [error_answer(status, "gpt-6-secret is not well")]) as up:
        answer = ask(tmp_path, providers(openai=up.url) + VEILED)
    assert answer.status_code >= 400
    assert not {"secret", "OPENAI_API_KEY", "openai"} & set(answer.text.replace('"', " ").split())
    assert "gpt-6-secret" not in answer.text
    assert "attempts" not in answer.json()["error"]


def test_a_model_that_will_go_says_so(tmp_path: Path) -> None:
    """Section 2a, deprecated: RFC 9745 and RFC 8594."""
    with Fakeup(good) as up:
        text = providers(openai=up.url) + '[models.smart]\ndeployments = ["openai:gpt-6"]\n'
        text += 'deprecated = { replacement = "smarter", sunset = 2027-01-31 }\n'
        headers = ask(tmp_path, text).headers
    assert (headers["deprecation"], headers["x-fwd-replacement"]) == ("@0", "smarter")
    assert headers["sunset"] == "Sun, 31 Jan 2027 00:00:00 GMT"


# -- keys


def bearer(seen: Seen) -> str:
    return seen.headers["authorization"].removeprefix("Bearer ")


def test_with_two_keys_callers_see_nothing_of_a_limit_of_one(tmp_path: Path) -> None:
    """5c: the next key of the same deployment is tried first; then the limited one cools down, and /ready says so."""

    def limited(seen: Seen) -> list[Step]:
        return [error_answer(429, retry_after="30")] if bearer(seen) == "sk-one-canary" else good(seen)

    with Fakeup(limited) as up:
        text = providers(openai=up.url)

        async def act(client: httpx.AsyncClient, at: Listening) -> tuple[list[httpx.Response], Any]:
            body = {"model": "openai:gpt-6", "messages": ASK}
            return [await client.post(PATH, json=body) for _ in range(5)], (await client.get("/ready")).json()

        answers, ready = run(tmp_path, text, act)
    assert {answer.status_code for answer in answers} == {200}
    assert Counter(map(bearer, up.seen)) == {"sk-one-canary": 1, "sk-two-canary": 5}
    (rest,) = ready["cooling_down"]
    assert (rest["provider"], rest["model"], rest["key"]) == ("openai", "gpt-6", "OPENAI_API_KEY")
    assert 25 < rest["seconds"] <= 30


def test_a_key_with_nothing_left_is_not_asked_before_its_reset(tmp_path: Path) -> None:
    """5c: a good answer whose headers say 0 left."""
    spent = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "6m0s"}
    with Fakeup(lambda seen: [json_answer(completion(), **spent)]) as up:
        text = providers(openai=up.url)

        async def act(client: httpx.AsyncClient, at: Listening) -> Any:
            for _ in range(2):
                await client.post(PATH, json={"model": "openai:gpt-6", "messages": ASK})
            return (await client.get("/ready")).json()["cooling_down"]

        rests = run(tmp_path, text, act)
    assert [bearer(seen) for seen in up.seen] == ["sk-one-canary", "sk-two-canary"]
    assert all(55 < rest["seconds"] <= 60 for rest in rests)


def test_own_limits_keep_calls_away_and_say_when_again(tmp_path: Path) -> None:
    """RT9, section 7: a deployment at its limit is not asked; with nothing else left it is 429, and nothing is sent."""
    with Fakeup(good) as up, Fakeup(good) as other:
        text = providers(openai=up.url, groq=other.url)
        text += '[models.smart]\nbalance = "order"\n[[models.smart.deployments]]\nto = "openai:gpt-6"\nrpm = 2\n'
        text += '[[models.smart.deployments]]\nto = "groq:llama"\nrpm = 1\n'

        async def act(client: httpx.AsyncClient, at: Listening) -> list[httpx.Response]:
            return [await client.post(PATH, json={"model": "smart", "messages": ASK}) for _ in range(4)]

        answers = run(tmp_path, text, act)
    assert [answer.headers.get("x-fwd-provider") for answer in answers] == ["openai", "openai", "groq", None]
    assert answers[2].headers["x-fwd-skipped"] == "openai=own_limit"
    last = answers[3]
    assert (last.status_code, last.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(last.headers["retry-after"]) <= 61
    assert (len(up.seen), len(other.seen)) == (2, 1)


# -- balance


def test_a_session_stays_at_its_deployment(tmp_path: Path) -> None:
    """RT12: one conversation, one deployment, and the header goes no further."""
    with Fakeup(good) as up:
        text = providers(openai=up.url)
        text += '[models.smart]\nsticky = "session"\ndeployments = ["openai:a", "openai:b", "openai:c"]\n'

        async def act(client: httpx.AsyncClient, at: Listening) -> dict[str, set[str]]:
            found: dict[str, set[str]] = {}
            for number in range(60):
                session = f"s{number % 12}"
                answer = await client.post(
                    PATH, json={"model": "smart", "messages": ASK}, headers={"x-fwd-session": session}
                )
                found.setdefault(session, set()).add(answer.headers["x-fwd-model"])
            return found

        found = run(tmp_path, text, act)
    assert all(len(models) == 1 for models in found.values())
    assert len(set().union(*found.values())) > 1
    assert not any("x-fwd-session" in seen.headers for seen in up.seen)


def test_least_busy_counts_streams_until_their_end(tmp_path: Path) -> None:
    """5a: a stream is in flight until it is over, not until its commit; a caller that leaves ends it."""
    with Fakeup(lambda seen: [STREAM_HEAD, event({"content": "x"}), 3.0]) as up:
        text = providers(openai=up.url)
        text += '[models.smart]\nbalance = "least-busy"\ndeployments = ["openai:a", "openai:b"]\n'

        async def act(client: httpx.AsyncClient, at: Listening) -> tuple[list[str], Mapping[Any, int]]:
            used = []
            for _ in range(4):
                request = client.build_request("POST", PATH, json={"model": "smart", "messages": ASK, "stream": True})
                answer = await client.send(request, stream=True)
                used.append(answer.headers["x-fwd-model"])
            running = dict(at.app.runtime.routing._inflight)
            return used, running

        used, running = run(tmp_path, text, act)
    assert Counter(used) == {"a": 2, "b": 2}
    assert sorted(running.values()) == [2, 2]


def test_the_dry_run_shows_the_plan_with_its_keys(tmp_path: Path) -> None:
    """Each seat with the request it would get; keys by name."""
    text = '[models.smart]\nbalance = "order"\ndeployments = ["openai:gpt-6"]\nfallback = ["groq:llama"]\n'
    dry = ask(tmp_path, text, headers={"x-fwd-dry-run": "true"}).json()
    shown = [(entry["provider"], entry["model"], entry.get("key")) for entry in dry["plan"]]
    assert shown == [
        ("openai", "gpt-6", "OPENAI_API_KEY"),
        ("openai", "gpt-6", "OPENAI_API_KEY_2"),
        ("groq", "llama", None),
    ]
    assert "canary" not in orjson.dumps(dry).decode()
