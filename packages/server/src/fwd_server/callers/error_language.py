"""In which language a failure is told that belongs to no call: as its path or its headers suggest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fwd_server.callers.base import Dialect
from fwd_server.callers.messages import MESSAGES
from fwd_server.callers.openai_chat import OPENAI_CHAT


def speaks_anthropic(headers: Mapping[str, Any]) -> bool:
    """Whether a request comes from a client of Anthropic's: all of them state the version."""
    return "anthropic-version" in headers


def language_of(path: str, headers: Mapping[str, Any]) -> Dialect[Any, Any]:
    """The language for failures at ``path``; OpenAI's where nothing suggests another."""
    return MESSAGES if path.startswith("/v1/messages") or speaks_anthropic(headers) else OPENAI_CHAT
