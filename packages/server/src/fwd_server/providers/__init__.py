"""Every provider fwd knows: the rows of ``values/provider_info.py`` with the codec of each one's language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import evolve

from fwd_server.providers import compatible, echo, listing, media
from fwd_server.providers.anthropic import AnthropicChat
from fwd_server.providers.anthropic import parts as anthropic
from fwd_server.providers.anthropic.failure import rate_limits
from fwd_server.providers.anthropic.native import NativeMessages
from fwd_server.providers.base import Provider
from fwd_server.providers.counts import AnthropicCount, GoogleCount
from fwd_server.providers.google import GoogleChat
from fwd_server.providers.google import parts as google
from fwd_server.providers.google.embeddings import GoogleEmbeddings
from fwd_server.providers.ollama import OllamaChat
from fwd_server.providers.ollama.embeddings import OllamaEmbeddings
from fwd_server.values.provider_info import PROVIDER_TABLE, ProviderInfo, provider_info


def _anthropic(name: str) -> Provider:
    return Provider(
        name,
        AnthropicChat(),
        models=listing.ModelList(),
        native={"anthropic-messages": NativeMessages()},
        count=AnthropicCount(),
        limits=rate_limits,
        needs_bytes=anthropic.needs_bytes,
    )


def _google(name: str) -> Provider:
    return Provider(
        name, GoogleChat(), GoogleEmbeddings(), listing.GOOGLE, count=GoogleCount(), needs_bytes=google.needs_bytes
    )


def _vertex(name: str) -> Provider:
    # Gemini's chat alone: embeddings are another call there, and there is no list of models.
    return Provider(name, GoogleChat(), needs_bytes=google.needs_bytes)


def _ollama(name: str) -> Provider:
    return Provider(name, OllamaChat(), OllamaEmbeddings(), listing.OLLAMA, needs_bytes=media.is_link)


# A language is one line here; its providers are rows of the table.
LANGUAGES: Final[Mapping[str, Callable[[str], Provider]]] = {
    "openai": compatible.provider,
    "anthropic": _anthropic,
    "google": _google,
    "vertex": _vertex,
    "ollama": _ollama,
    "echo": lambda name: echo.provider(),
}


def build_provider(name: str, info: ProviderInfo | None = None) -> Provider:
    """The provider of that name with its codecs; ``info`` is its row, where that has another name (an instance).

    A name without a row speaks OpenAI's language.
    """
    info = info or provider_info(name)
    return evolve(LANGUAGES[info.language](info.name), name=name)


PROVIDERS: Final[dict[str, Provider]] = {name: build_provider(name) for name in PROVIDER_TABLE}
