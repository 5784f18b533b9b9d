"""The caller's object, edited for one OpenAI-compatible provider. Nothing of it is changed in place."""

from __future__ import annotations

from typing import Any

from fwd_server.providers.compatible.profile import ProviderProfile, RequestDraft
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused


def edit(profile: ProviderProfile, draft: RequestDraft) -> None:
    """Make the body what ``row`` takes. Raises Refused for what cannot be dropped without changing the answer."""
    body = draft.body
    body["model"] = draft.model
    if profile.one_choice and (body.get("n") or 1) > 1:
        raise Refused("'n' must be 1 for this model.", param="n")
    draft.leave_out(*profile.drops)
    body["messages"] = [_message(profile, message) for message in body["messages"]]
    if body.get("tools"):
        body["tools"] = [_without(tool, profile.removed) for tool in body["tools"]]
    if profile.edit:
        profile.edit(draft)
    _cap(profile, body)
    if body.get("stream"):
        _stream_options(profile, draft)


def rename(body: Json, old: str, new: str) -> None:
    """Give a field its other name; where both are there, the new one wins."""
    value = body.pop(old, None)
    if value is not None and body.get(new) is None:
        body[new] = value


def _cap(profile: ProviderProfile, body: Json) -> None:
    """One cap on tokens, the newer one where both are given, under the name the provider reads."""
    if body.get("max_completion_tokens") is not None:
        body.pop("max_tokens", None)
    for name in {"max_completion_tokens", "max_tokens"} - {profile.cap_field}:
        if profile.cap_field:
            rename(body, name, profile.cap_field)


def _stream_options(profile: ProviderProfile, draft: RequestDraft) -> None:
    """Usage is always asked for, so that it can be metered; padding against onlookers is OpenAI's alone."""
    options = dict(draft.body.pop("stream_options", None) or {})
    if not profile.exact and options.pop("include_obfuscation", None) is not None:
        draft.dropped.append("stream_options.include_obfuscation")
    options.pop("include_usage", None)
    if profile.ask_usage:
        options["include_usage"] = True
    if options:
        draft.body["stream_options"] = options


def _message(profile: ProviderProfile, message: Json) -> Json:
    """One message as ``row`` takes it; the very same object where nothing is to be changed."""
    changes: Json = {}
    role = profile.roles.get(message["role"])
    if role:
        changes["role"] = role
    if isinstance(message.get("content"), list):
        changes["content"] = [_without(part, profile.removed) for part in message["content"]]
    if message.get("tool_calls"):
        changes["tool_calls"] = [_without(call, profile.removed) for call in message["tool_calls"]]
    if profile.reasoning_in and isinstance(message.get("reasoning_content"), str):
        changes[profile.reasoning_in] = message["reasoning_content"]
    kept = _kept(profile, message)
    return {**kept, **changes} if changes else kept


def _kept(profile: ProviderProfile, message: Json) -> Json:
    if profile.message_fields is not None:
        # Null is refused too: https://console.groq.com/docs/openai
        allowed = profile.message_fields
        return {k: v for k, v in message.items() if k in allowed and (v is not None or k == "content")}
    rest: Json = _without(message, profile.removed)
    return rest


def _without(item: Any, names: frozenset[str]) -> Any:
    if names.isdisjoint(item):
        return item
    return {key: value for key, value in item.items() if key not in names}
