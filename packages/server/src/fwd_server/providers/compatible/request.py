"""The caller's object, edited for one OpenAI-compatible provider. Nothing of it is changed in place."""

from __future__ import annotations

from fwd_server.providers.compatible.history import edit_messages, edit_tools
from fwd_server.providers.compatible.profile import ProviderProfile, RequestDraft
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused


def edit_request(profile: ProviderProfile, draft: RequestDraft) -> None:
    """Make the body what ``row`` takes. Raises Refused for what cannot be dropped without changing the answer."""
    body = draft.body
    body["model"] = draft.model
    if profile.one_choice and (body.get("n") or 1) > 1:
        raise Refused("'n' must be 1 for this model.", param="n")
    draft.leave_out(*profile.drops)
    body["messages"] = edit_messages(profile, draft, body["messages"])
    if body.get("tools"):
        body["tools"] = edit_tools(profile, draft, body["tools"])
    if profile.edit:
        profile.edit(draft)
    _edit_cap(profile, body)
    if body.get("stream"):
        _edit_stream_options(profile, draft)


def rename_field(body: Json, old: str, new: str) -> None:
    """Give a field its other name; where both are there, the new one wins."""
    value = body.pop(old, None)
    if value is not None and body.get(new) is None:
        body[new] = value


def _edit_cap(profile: ProviderProfile, body: Json) -> None:
    """One cap on tokens, the newer one where both are given, under the name the provider reads."""
    if body.get("max_completion_tokens") is not None:
        body.pop("max_tokens", None)
    for name in {"max_completion_tokens", "max_tokens"} - {profile.cap_field}:
        if profile.cap_field:
            rename_field(body, name, profile.cap_field)


def _edit_stream_options(profile: ProviderProfile, draft: RequestDraft) -> None:
    """Always request usage, because it is metered; only OpenAI pads chunks against eavesdroppers."""
    options = dict(draft.body.pop("stream_options", None) or {})
    if not profile.exact and options.pop("include_obfuscation", None) is not None:
        draft.dropped.append("stream_options.include_obfuscation")
    options.pop("include_usage", None)
    if profile.ask_usage:
        options["include_usage"] = True
    if options:
        draft.body["stream_options"] = options
