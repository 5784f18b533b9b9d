"""The official clients, set up for the gateway."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

import fwd_client
from fwd_client import ConfigurationError

from .conftest import KEY


def test_openai() -> None:
    """Sync and async, with `/v1` and what else was given."""
    for make in (fwd_client.openai, fwd_client.async_openai):
        client = make(base_url="http://gw", api_key=KEY, max_retries=7)
        assert (str(client.base_url), client.api_key, client.max_retries) == ("http://gw/v1/", KEY, 7)


def test_anthropic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anthropic's client adds `/v1` by itself."""
    module = ModuleType("anthropic")
    module.__dict__.update(Anthropic=SimpleNamespace, AsyncAnthropic=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "anthropic", module)
    monkeypatch.setenv("FORWARDER_KEY", KEY)
    for make in (fwd_client.anthropic, fwd_client.async_anthropic):
        assert make(timeout=3) == SimpleNamespace(base_url="http://127.0.0.1:8000", api_key=KEY, timeout=3)


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is not there is said with how to get it."""
    monkeypatch.setitem(sys.modules, "anthropic", None)
    with pytest.raises(ConfigurationError, match="pip install anthropic"):
        fwd_client.anthropic(api_key=KEY)


def test_no_key() -> None:
    """Without a key there is nothing to set up."""
    with pytest.raises(ConfigurationError, match="FORWARDER_KEY"):
        fwd_client.openai()
