"""Every provider fwd knows, written out by hand. A provider without a codec is known and not spoken yet."""

from __future__ import annotations

from typing import Final

from fwd_server.providers import compatible, echo, listing, media
from fwd_server.providers.anthropic import AnthropicChat
from fwd_server.providers.anthropic import parts as anthropic
from fwd_server.providers.anthropic.failure import rate_limits
from fwd_server.providers.base import Provider
from fwd_server.providers.google import GoogleChat
from fwd_server.providers.google import parts as google
from fwd_server.providers.google.embeddings import GoogleEmbeddings
from fwd_server.providers.ollama import OllamaChat
from fwd_server.providers.ollama.embeddings import OllamaEmbeddings

PROVIDERS: Final[dict[str, Provider]] = {
    "openai": compatible.provider("openai"),
    "anthropic": Provider(
        "anthropic",
        AnthropicChat(),
        models=listing.ANTHROPIC,
        limits=rate_limits,
        needs_bytes=anthropic.needs_bytes,
    ),
    "google": Provider("google", GoogleChat(), GoogleEmbeddings(), listing.GOOGLE, needs_bytes=google.needs_bytes),
    "groq": compatible.provider("groq"),
    "openrouter": compatible.provider("openrouter"),
    "ollama": Provider("ollama", OllamaChat(), OllamaEmbeddings(), listing.OLLAMA, needs_bytes=media.is_link),
    "echo": echo.provider(),
}
