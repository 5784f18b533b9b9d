"""What keeps the calls of one conversation at one deployment, so that its prompt cache is read.

Nothing is remembered: the id is hashed, and the hash decides as a random number would. So every worker and every
replica agrees, and when a deployment goes only its own conversations move.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from fwd_server.routing.hashing import hash64

SESSION_HEADER: Final = "x-fwd-session"  # never sent on
LONGEST_PREFIX: Final = 4096
_PREFIX_ROLES: Final = frozenset({"system", "developer"})


def read_sticky_id(sticky: str, caller: str, header: str | None, body: Mapping[str, Any]) -> str:
    """What the call sticks by, for a model with this setting (off, session, key, prefix); "": it does not."""
    if sticky == "session":
        return _session_id(header, body)
    if sticky == "key":
        return caller
    return _prefix_id(body) if sticky == "prefix" else ""


def sticky_seed(model: str, sticky_id: str) -> int:
    """The seed of a conversation; another model's conversations are spread in another way."""
    return hash64("sticky", model, sticky_id)


def _session_id(header: str | None, body: Mapping[str, Any]) -> str:
    """The first id there is, from the one meant for us to those that say much the same."""
    metadata = body.get("metadata")
    inner: Mapping[str, Any] = metadata if isinstance(metadata, dict) else {}
    candidates = (
        header,
        body.get("prompt_cache_key"),
        body.get("session_id"),
        inner.get("session_id"),
        inner.get("user_id"),
    )
    return next((text for text in candidates if isinstance(text, str) and text), "")


def _prefix_id(body: Mapping[str, Any]) -> str:
    """The beginning of a conversation: tools, system messages, the first user message; what a provider would cache."""
    messages = body.get("messages") or ()
    first = next((message for message in messages if message.get("role") == "user"), None)
    system = [message.get("content") for message in messages if message.get("role") in _PREFIX_ROLES]
    beginning = [body.get("tools"), system, first and first.get("content")]
    return orjson.dumps(beginning)[:LONGEST_PREFIX].hex()
