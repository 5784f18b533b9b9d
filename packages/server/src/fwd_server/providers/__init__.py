"""Every provider fwd knows, written out by hand. A provider without a codec is known and not spoken yet."""

from __future__ import annotations

from typing import Final

from fwd_server.providers import compatible, echo
from fwd_server.providers.anthropic import AnthropicChat
from fwd_server.providers.anthropic.failure import rate_limits
from fwd_server.providers.base import Provider
from fwd_server.providers.google import GoogleChat
from fwd_server.providers.google.embeddings import GoogleEmbeddings
from fwd_server.providers.ollama import OllamaChat, OllamaEmbeddings

PROVIDERS: Final[dict[str, Provider]] = {
    "openai": compatible.provider("openai"),
    "anthropic": Provider("anthropic", AnthropicChat(), limits=rate_limits),
    "google": Provider("google", GoogleChat(), GoogleEmbeddings()),
    "groq": compatible.provider("groq"),
    "openrouter": compatible.provider("openrouter"),
    "ollama": Provider("ollama", OllamaChat(), OllamaEmbeddings()),
    "echo": echo.provider(),
}
