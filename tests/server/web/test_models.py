"""GET /v1/models through the whole application, in front of scripted upstreams."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.fakeup import Fakeup, Seen, Step, error_answer, json_answer
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application

from fwd_server.app import App

from .conftest import KEY

pytestmark = pytest.mark.gen_test
Ask = Callable[..., Any]


def lists(seen: Seen) -> list[Step]:
    """OpenAI's and Ollama's lists; Anthropic has none today."""
    if seen.target == "/v1/models":
        return [json_answer({"data": [{"id": "gpt-5"}, {"id": "brand-new"}, {"id": "gpt-5-pro"}]})]
    if seen.target == "/v1/api/tags":
        return [json_answer({"models": [{"name": "mine:8b"}]})]
    return [error_answer(500)]


@pytest.fixture
def up() -> Iterator[Fakeup]:
    with Fakeup(lists) as up:
        yield up


@pytest.fixture
def app(make_app: Callable[..., App], up: Fakeup) -> Application:
    stems = ("OPENAI", "ANTHROPIC", "OLLAMA")
    urls = {f"{stem}_BASE_URL": up.url for stem in stems}
    keys = {f"{stem}_API_KEY": "k" for stem in stems}
    return make_app(**urls, **keys, OPENAI_MODEL="openai:my-own").application


@pytest.fixture
def ask(http_client: AsyncHTTPClient, base_url: str) -> Ask:
    async def get(path: str = "", status: int = 200) -> Any:
        headers = {"Authorization": f"Bearer {KEY}"}
        response = await http_client.fetch(f"{base_url}/v1/models{path}", headers=headers, raise_error=False)
        assert response.code == status
        return json.loads(response.body)

    return get


async def names(ask: Ask, listed: str, beginning: str = "") -> set[str]:
    found = (model for model in (await ask())["data"] if model["fwd"]["listed"] == listed)
    return {model["id"] for model in found if model["id"].startswith(beginning)}


async def test_every_entry_says_who_lists_it(ask: Ask) -> None:
    """The provider's own list, the table, or the settings."""
    echo = {"echo:", "echo:tools", "echo:json", "echo:slow"}
    assert await names(ask, "provider") == {"openai:gpt-5", "openai:brand-new", "ollama:mine:8b", *echo}
    assert await names(ask, "configured") == {"openai:my-own"}
    assert "openai:gpt-4.1" in await names(ask, "table", "openai:")


async def test_a_provider_without_a_list_has_the_table(ask: Ask) -> None:
    assert "anthropic:claude-opus-5-5" in await names(ask, "table", "anthropic:")


async def test_what_ollama_does_not_have_is_not_listed(ask: Ask) -> None:
    """A model of the table that nobody pulled cannot be called."""
    assert await names(ask, "table", "ollama:") == set()


async def test_models_for_embeddings_are_listed_and_say_so(ask: Ask) -> None:
    kinds = {model["id"]: model["fwd"].get("kind") for model in (await ask())["data"]}
    assert kinds["openai:text-embedding-3-small"] == "embedding"
    assert kinds["openai:gpt-5"] == "chat"
    assert kinds["openai:brand-new"] is None


async def test_what_no_endpoint_of_ours_serves_is_not_listed(ask: Ask) -> None:
    """Some of OpenAI's models answer on another of its endpoints only, whoever lists them."""
    assert "openai:gpt-5-pro" not in {model["id"] for model in (await ask())["data"]}


async def test_no_id_comes_twice_and_the_default_is_first(ask: Ask) -> None:
    ids = [model["id"] for model in (await ask())["data"]]
    assert len(ids) == len(set(ids))
    assert ids[0] == "openai:my-own"


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("gpt-4.1", "table"),
        ("openai:my-own", "configured"),
        ("openai:nobody-knows", None),
        ("echo:tools", "provider"),
        ("claude-haiku-4-5-20251001", "table"),
    ],
)
async def test_one_model_is_told_without_asking_anybody(ask: Ask, up: Fakeup, name: str, listed: str | None) -> None:
    assert (await ask(f"/{name}"))["fwd"]["listed"] == listed
    assert up.seen == []


async def test_a_model_of_a_provider_that_is_off_is_not_found(ask: Ask) -> None:
    assert "GOOGLE_API_KEY" in (await ask("/gemini-3.5-flash", 404))["error"]["message"]
