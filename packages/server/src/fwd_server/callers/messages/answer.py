"""An answer in the chat shape as a message of Anthropic's. https://platform.claude.com/docs/en/api/messages/create"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from fwd_server.callers.messages.request import MessagesRequest
from fwd_server.values.chat import ChatResponse, Json, calls_in
from fwd_server.values.errors import upstream_failure
from fwd_server.values.foreign import NativeResponse
from fwd_server.values.ids import new_id
from fwd_server.values.record import CallRecord
from fwd_server.values.usage import Usage, parse_usage
from fwd_server.wire import jsontext
from fwd_server.wire.capsule import Capsule, seal

STOP_REASONS: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def render_response(response: ChatResponse, request: MessagesRequest, record: CallRecord) -> bytes:
    """A whole answer: Anthropic's own bytes where they are. Raises UpstreamError for a call that cannot be read."""
    if isinstance(response, NativeResponse) and response.raw is not None:
        return response.raw
    data = response.data
    choice: Json = next(iter(data.get("choices") or ()), {})
    message: Json = choice.get("message") or {}
    finish = choice.get("finish_reason") or "stop"
    blocks = _blocks(message, request, record, cut=finish == "length")
    refusal = message.get("refusal")
    usage = parse_usage(data.get("usage")) or Usage(prompt=request.estimate, completion=record.sent_tokens)
    return jsontext.dumps(
        {
            "id": new_id("msg_"),
            "type": "message",
            "role": "assistant",
            "model": data.get("model") or request.model,
            "content": blocks,
            "stop_reason": stop_reason(finish, has_calls=bool(calls_in(message)), refused=bool(refusal)),
            "stop_sequence": None,
            "usage": usage_object(usage),
            **({"stop_details": stop_details(refusal)} if refusal or finish == "content_filter" else {}),
        }
    )


def stop_reason(finish: str, *, has_calls: bool, refused: bool) -> str:
    """Why the answer ended. Calls decide where the provider says that it merely stopped: clients run them only then."""
    if finish == "stop":
        return "tool_use" if has_calls else "refusal" if refused else "end_turn"
    return STOP_REASONS.get(finish, "end_turn")


def stop_details(explanation: object) -> Json:
    """The details of a refusal."""
    return {"type": "refusal", "category": None, "explanation": explanation or None}


def usage_object(usage: Usage) -> Json:
    """Anthropic counts what was read from and written to a cache beside the input, the chat shape within it."""
    counts: Json = {
        # Never below zero, even where a provider's parts add up to more than its whole (contract T30).
        "input_tokens": max(0, usage.prompt - usage.cached - usage.cache_write),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    }
    return {**counts, "output_tokens_details": {"thinking_tokens": usage.reasoning}} if usage.reasoning else counts


def capsule_of(record: CallRecord, details: list[Json], signatures: Mapping[str, str]) -> str:
    """The signed reasoning of whoever answers, for the way back; empty where there is none."""
    deployment = record.deployment
    if deployment is None or not (details or signatures):
        return ""
    return seal(Capsule(deployment.endpoint.info.name, deployment.model, details, signatures))


def signature_of(call: Json) -> str | None:
    """Gemini's signature of a call."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else None


def _blocks(message: Json, request: MessagesRequest, record: CallRecord, *, cut: bool) -> list[Json]:
    calls = calls_in(message)
    details = message.get("reasoning_details")
    entries = [entry for entry in details if isinstance(entry, dict)] if isinstance(details, list) else []
    signatures = {str(call.get("id")): found for call in calls if (found := signature_of(call))}
    held = capsule_of(record, entries, signatures)
    thought = message.get("reasoning_content") or message.get("reasoning")
    blocks: list[Json] = []
    if isinstance(thought, str) and thought:
        blocks.append({"type": "thinking", "thinking": thought, "signature": held})
    # Signed reasoning must come back to its provider, also where nothing of it can be read.
    elif held:
        blocks.append({"type": "redacted_thinking", "data": held})
    texts = (message.get("content"), message.get("refusal"))
    blocks += [{"type": "text", "text": text} for text in texts if isinstance(text, str) and text]
    return [*blocks, *(_tool_use(call, request, cut=cut) for call in calls)]


def _tool_use(call: Json, request: MessagesRequest, *, cut: bool) -> Json:
    function = call.get("function")
    named: Json = function if isinstance(function, dict) else {}
    given = _input(named.get("arguments"), cut=cut)
    return {
        "type": "tool_use",
        "id": call.get("id") or new_id("call_"),
        "name": request.caller_name(str(named.get("name") or "")),
        "input": given,
    }


def _input(arguments: Any, *, cut: bool) -> Json:
    """The arguments as an object; those that the limit of tokens cut are empty, so that no client runs them."""
    if not isinstance(arguments, str) or not arguments.strip():
        return {}
    try:
        value = jsontext.loads(arguments)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict):
        return value
    if cut:
        return {}
    raise upstream_failure("bad_payload", "The provider's answer calls a tool with arguments that are no JSON object.")
