"""An answer in OpenAI's shape, brought to OpenAI's rules: what whole answers and streams have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fwd_server.providers.base import NewId
from fwd_server.providers.call_ids import AnswerIds
from fwd_server.providers.compatible.profile import ProviderProfile
from fwd_server.providers.lenient import obj, objects, text
from fwd_server.values.chat import Json, calls_in
from fwd_server.values.usage import Usage, clean_count, parse_usage
from fwd_server.wire import jsontext

_FINISHES: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_NO_FINISHES: Final = frozenset({"", "null", "none"})
_OTHER_FINISHES: Final = {
    "max_tokens": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "safety": "content_filter",
}
_FAILED: Final = frozenset({"error", "insufficient_system_resource"})


def is_broken(choice: Json) -> bool:
    """Whether a choice ended because the provider failed."""
    return text(choice.get("finish_reason")) in _FAILED


def finish_reason(reason: object, called: bool) -> str | None:
    """A finish reason in OpenAI's words; anything unknown is "stop", and the word "null" is none."""
    if not isinstance(reason, str) or reason.lower() in _NO_FINISHES:
        return None
    word = reason if reason in _FINISHES else _OTHER_FINISHES.get(reason.lower(), "stop")
    return "tool_calls" if word == "stop" and called else word


def tidy_message(profile: ProviderProfile, message: Mapping[str, Any]) -> Json:
    """A message or delta without the provider's own fields, its reasoning under our name."""
    kept = {key: value for key, value in message.items() if key not in profile.extras}
    if isinstance(kept.get("content"), list):
        kept.update(_split_parts(objects(kept["content"])))
    reasoning = kept.pop("reasoning", None)
    # OpenRouter and Groq say "reasoning"; clients of OpenAI's language look for "reasoning_content".
    if isinstance(reasoning, str) and reasoning and not kept.get("reasoning_content"):
        kept["reasoning_content"] = reasoning
    # OpenAI's answers have no images, so no SDK would show them; every client shows Markdown.
    images = objects(kept.get("images"))
    if images:
        del kept["images"]
        kept["content"] = "\n\n".join(filter(None, [text(kept.get("content")), *map(_image_markdown, images)]))
    return kept


def _split_parts(parts: list[Json]) -> Json:
    """Content in parts, as Mistral's reasoning models send it, taken apart."""
    thoughts = [part for whole in parts for part in objects(whole.get("thinking"))]
    texts = {"content": parts, "reasoning": thoughts}
    return {name: "".join(text(part.get("text")) for part in items) for name, items in texts.items()}


def _image_markdown(image: Json) -> str:
    return f"![image]({text(obj(image.get('image_url')).get('url'))})"


def arguments_text(value: object) -> str:
    """The arguments of a call as text: some servers send the object itself."""
    if value is None:
        return ""
    return value if isinstance(value, str) else jsontext.dumps(value).decode()


def read_head(data: Json, default: Json, new_id: NewId) -> Json:
    """The provider's id, created and model; ``default`` has the last two for one that sends none."""
    created = data.get("created")
    return {
        "id": text(data.get("id")) or new_id("chatcmpl-"),
        "created": created if isinstance(created, int) and created else default["created"],
        "model": text(data.get("model")) or default["model"],
    }


def tidy_whole(profile: ProviderProfile, data: Json, default: Json, new_id: NewId) -> Json:
    """A whole answer that keeps OpenAI's rules; equal to ``data`` where it did already."""
    tidy = {key: value for key, value in data.items() if key not in profile.extras}
    tidy.update(read_head(data, default, new_id))
    ids = AnswerIds(new_id)
    tidy["choices"] = [_tidy_choice(profile, choice, ids) for choice in objects(data.get("choices"))]
    tidy["object"] = "chat.completion"
    if tidy.get("system_fingerprint", "") is None:
        del tidy["system_fingerprint"]
    if isinstance(data.get("usage"), dict):
        tidy["usage"] = tidy_usage(profile, data["usage"])
    tidy_tier(profile, tidy)
    return tidy


def are_call_ids_unique(data: Json) -> bool:
    """Whether all calls of a whole answer have an id, and no two of them the same."""
    messages = [obj(choice.get("message")) for choice in objects(data.get("choices"))]
    ids = [text(call.get("id")) for message in messages for call in calls_in(message)]
    # With two alike, the caller could not say which call a result belongs to.
    return "" not in ids and len(set(ids)) == len(ids)


def tidy_tier(profile: ProviderProfile, data: Json) -> None:
    """Rename the service tier to OpenAI's word for it."""
    tier = text(data.get("service_tier"))
    if tier in profile.tiers:
        data["service_tier"] = profile.tiers[tier]


def _tidy_choice(profile: ProviderProfile, choice: Json, ids: AnswerIds) -> Json:
    message = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        **tidy_message(profile, obj(choice.get("message"))),
    }
    calls = objects(message.pop("tool_calls", None))
    if calls:
        message["tool_calls"] = [_tidy_call(call, ids) for call in calls]
    # An answer that only thought must be legal input again, and a null content without anything beside it is not.
    elif message["content"] is None and message["refusal"] is None and message.get("audio") is None:
        message["content"] = ""
    kept = {key: value for key, value in choice.items() if key not in profile.extras}
    # OpenAI itself says "stop" where the caller named the function to call.
    called = bool(calls) and not profile.exact
    finish = finish_reason(choice.get("finish_reason"), called) or ("tool_calls" if calls else "stop")
    return {"index": 0, "logprobs": None, **kept, "message": message, "finish_reason": finish}


def _tidy_call(call: Json, ids: AnswerIds) -> Json:
    kept = {"type": "function", **call, "id": ids.claim_id(text(call.get("id")))}
    if isinstance(call.get("function"), dict):
        function = call["function"]
        kept["function"] = {**function, "arguments": arguments_text(function.get("arguments")) or "{}"}
    return kept


def tidy_usage(profile: ProviderProfile, usage: Mapping[str, Any]) -> Json:
    """Usage whose numbers are numbers and add up, without the provider's own fields (contract T30).

    Some providers count reasoning beside the completion instead of in it: their total says so.
    """
    kept = {key: value for key, value in usage.items() if key not in profile.usage_extras and key not in profile.extras}
    prompt, completion = clean_count(usage.get("prompt_tokens")), clean_count(usage.get("completion_tokens"))
    reasoning = clean_count(obj(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    if reasoning and clean_count(usage.get("total_tokens")) == prompt + completion + reasoning:
        completion += reasoning
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {**profile.usage_defaults, **kept, **counts}


def read_usage(profile: ProviderProfile, usage: object, tier: object) -> Usage | None:
    """The same as a value, with the tier that answered; None when there is none."""
    return parse_usage(tidy_usage(profile, usage), tier) if isinstance(usage, dict) else None
