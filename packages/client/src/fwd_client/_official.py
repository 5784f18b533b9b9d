"""The official clients, set up for the gateway."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fwd_client._errors import ConfigurationError
from fwd_client._options import Secret, missing_key, resolve_options

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI


def openai(*, base_url: str | None = None, api_key: str | None = None, **options: Any) -> OpenAI:
    """`openai.OpenAI` for the gateway, from the arguments and variables of `Client`; needs `pip install openai`."""
    client: OpenAI = _make_client("openai", "OpenAI", "/v1", base_url, api_key, options)
    return client


def async_openai(*, base_url: str | None = None, api_key: str | None = None, **options: Any) -> AsyncOpenAI:
    """`openai.AsyncOpenAI` for the gateway."""
    client: AsyncOpenAI = _make_client("openai", "AsyncOpenAI", "/v1", base_url, api_key, options)
    return client


def anthropic(*, base_url: str | None = None, api_key: str | None = None, **options: Any) -> Any:
    """`anthropic.Anthropic` for the gateway, which must serve `/v1/messages`; needs `pip install anthropic`."""
    return _make_client("anthropic", "Anthropic", "", base_url, api_key, options)


def async_anthropic(*, base_url: str | None = None, api_key: str | None = None, **options: Any) -> Any:
    """`anthropic.AsyncAnthropic` for the gateway."""
    return _make_client("anthropic", "AsyncAnthropic", "", base_url, api_key, options)


def _make_client(
    module: str, name: str, path: str, base_url: str | None, api_key: str | None, options: Mapping[str, Any]
) -> Any:
    found = resolve_options(os.environ, base_url=base_url, api_key=api_key)
    if not isinstance(found.key, Secret):
        raise missing_key(found)
    cls = getattr(_import_library(module), name)
    return cls(base_url=found.base_url + path, api_key=found.key.reveal(), **options)


def _import_library(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(f"The package {module} is not installed.", hint=f"pip install {module}") from error
