"""Every provider fwd knows, written out by hand. A provider without a codec is known and not spoken yet."""

from __future__ import annotations

from typing import Final

from fwd_server.providers import compatible, echo
from fwd_server.providers.anthropic import AnthropicChat
from fwd_server.providers.base import Provider
from fwd_server.providers.google import GoogleChat
from fwd_server.providers.ollama import OllamaChat

PROVIDERS: Final[dict[str, Provider]] = {
    "openai": compatible.provider("openai"),
    "anthropic": Provider("anthropic", AnthropicChat()),
    "google": Provider("google", GoogleChat()),
    "groq": compatible.provider("groq"),
    "openrouter": compatible.provider("openrouter"),
    "ollama": Provider("ollama", OllamaChat()),
    "echo": echo.provider(),
}
