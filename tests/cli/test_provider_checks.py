"""Providers and their keys, asked for the list of models."""

from __future__ import annotations

import httpx
import pytest

from fwd_cli import checks
from fwd_cli.provider_checks import instances, providers
from fwd_server.routing.table import Instance, ProviderKey
from fwd_server.settings import load_settings
from fwd_server.values.cloud_token import cloud_token
from fwd_server.values.deployment import Endpoint

SETTINGS = {
    "OPENAI_API_KEY": "sk-1",
    "ANTHROPIC_API_KEY": "sk-2",
    "GOOGLE_API_KEY": "sk-3",
    "OPENROUTER_API_KEY": "sk-4",
    "OLLAMA_MODEL": "x",
    "GROQ_MODEL": "no-key",
}


def asked(answer: httpx.Response | httpx.HTTPError, settings: dict[str, str]) -> tuple[list[httpx.Request], list[str]]:
    """What was asked, and what was found."""
    requests: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return answer

    found = list(providers(load_settings({}, settings).settings, httpx.MockTransport(handle)))
    return requests, [f"{finding.state} {finding.detail} {finding.fix}".strip() for finding in found]


def test_each_provider_is_asked_in_its_own_way() -> None:
    """Its list, its header, its own host; one without a key that it needs is not asked at all."""
    requests, found = asked(httpx.Response(200), SETTINGS)
    names = ("x-api-key", "x-goog-api-key", "authorization")
    keys = [next(filter(None, map(request.headers.get, names)), None) for request in requests]
    assert [str(request.url) for request in requests] == [
        "https://api.openai.com/v1/models",
        "https://api.anthropic.com/v1/models",
        "https://generativelanguage.googleapis.com/v1beta/models",
        "https://openrouter.ai/api/v1/key",
        "http://localhost:11434/api/tags",
    ]
    assert keys == ["Bearer sk-1", "sk-2", "sk-3", "Bearer sk-4", None]
    assert found == [*["ok it answers and accepts the key"] * 4, "ok it answers"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused(status: int) -> None:
    """With the name of the variable to correct."""
    _, found = asked(httpx.Response(status), {"OPENAI_API_KEY": "sk-1"})
    assert found == [f"bad it rejects the key ({status}) correct OPENAI_API_KEY"]


def test_another_answer_says_nothing_of_the_key() -> None:
    """A note, not a fault of the user's."""
    _, found = asked(httpx.Response(500), {"OPENAI_API_KEY": "sk-1"})
    assert found[0].startswith("note it answers 500")


def test_nobody_there() -> None:
    """What to do depends on where it would run."""
    _, found = asked(httpx.ConnectError("refused"), {"OPENAI_API_KEY": "sk-1", "OLLAMA_MODEL": "x"})
    assert [line.rpartition("refused ")[2] for line in found] == [
        "correct OPENAI_BASE_URL, or set HTTPS_PROXY",
        "ollama serve",
    ]


def test_the_doctor_asks_when_it_may(tmp_path: object) -> None:
    """Nobody there is a finding; without leave nobody is asked."""
    settings = {"FWD_COMPAT": "mine", "MINE_BASE_URL": "http://127.0.0.1:1/v1", "MINE_API_KEY": "k"}
    path = checks.Path("missing")
    assert [finding.state for finding in checks.settings(settings, path, ask=True)] == ["ok", "bad"]
    assert [finding.state for finding in checks.settings(settings, path)] == ["ok"]


def test_a_token_of_a_cloud_is_the_gateways_to_renew() -> None:
    """Nothing is sent: this process has no token, and a refusal would say nothing about the gateway's."""
    key = ProviderKey("entra", Endpoint("azure", "https://a.example/v1", cloud_token("entra", "azure", "x")), "azure")
    requests: list[httpx.Request] = []
    transport = httpx.MockTransport(lambda request: requests.append(request) or httpx.Response(200))  # type: ignore[func-returns-value]
    (finding,) = instances([Instance("azure", (key,))], transport)
    assert (finding.state, finding.name, requests) == ("note", "provider azure with entra", [])
    assert "/ready" in finding.detail
