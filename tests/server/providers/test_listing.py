"""The providers' own lists of models."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.server.providers import golden

from fwd_server.providers import PROVIDERS
from fwd_server.providers.base import ModelsCodec
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import UpstreamError
from fwd_server.values.secret import Secret


def codec(provider: str) -> ModelsCodec:
    found = PROVIDERS[provider].models
    assert found is not None
    return found


def read(provider: str, said: Any) -> tuple[str, ...]:
    return codec(provider).read(orjson.dumps(said))


@pytest.mark.parametrize(
    ("provider", "path", "headers"),
    [
        ("openai", "/models", {"authorization": "Bearer $API_KEY"}),
        ("openrouter", "/models", {"authorization": "Bearer $API_KEY", "http-referer": "https://example.com"}),
        ("anthropic", "/models?limit=1000", {"x-api-key": "$ANTHROPIC_API_KEY", "anthropic-version": "2023-06-01"}),
        ("google", "/models?pageSize=1000", {"x-goog-api-key": "$GOOGLE_API_KEY"}),
        ("ollama", "/api/tags", {"authorization": "Bearer $API_KEY"}),
    ],
)
def test_how_it_is_asked_for(provider: str, path: str, headers: dict[str, str]) -> None:
    """The key is in a header, as in every call (contract S13)."""
    request = codec(provider).request(golden.deployment(provider, "").endpoint)
    shown = {name: value.display_text() if isinstance(value, Secret) else value for name, value in request.headers}
    assert (request.method, request.path, request.body) == ("GET", path, b"")
    assert shown.items() >= {"accept": "application/json", **headers}.items()


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "ollama"])
def test_without_a_key_none_is_sent(provider: str) -> None:
    names = {name for name, _ in codec(provider).request(Endpoint(provider)).headers}
    assert names <= {"accept", "anthropic-version"}


LISTS = {
    "openai": {"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b/c:free"}]},
    "anthropic": {"data": [{"type": "model", "id": "a"}, {"id": "b/c:free"}], "has_more": False},
    "google": {
        "models": [{"name": "models/a", "supportedGenerationMethods": ["generateContent"]}, {"name": "b/c:free"}]
    },
    "ollama": {"models": [{"name": "a", "model": "a"}, {"name": "b/c:free"}]},
}


@pytest.mark.parametrize("provider", LISTS)
def test_the_names_in_it(provider: str) -> None:
    assert read(provider, LISTS[provider]) == ("a", "b/c:free")
    assert codec(provider).live is (provider == "ollama")


def test_a_bare_list_is_one_too() -> None:
    """As Together answers; a name that comes twice, or is none, counts once or not."""
    assert read("openai", [{"id": "a"}, {"id": "a"}, {"id": 5}, {}, "x"]) == ("a",)


@pytest.mark.parametrize(
    ("methods", "names"),
    [(["embedContent"], ("a",)), (["batchEmbedContents", "x"], ("a",)), (["predict"], ()), (None, ("a",)), ([], ())],
)
def test_of_geminis_models_those_that_can_be_called(methods: Any, names: tuple[str, ...]) -> None:
    assert read("google", {"models": [{"name": "models/a", "supportedGenerationMethods": methods}]}) == names


@pytest.mark.parametrize("body", [b"", b"<html>", b"5", b"{}", b'{"data": 5}', b'{"error": {"message": "no"}}'])
def test_what_is_no_list_is_a_failure(body: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        codec("openai").read(body)
    assert caught.value.code == "bad_payload"


def test_a_list_without_end_is_cut() -> None:
    assert len(read("openai", {"data": [{"id": str(number)} for number in range(6000)]})) == 5000
