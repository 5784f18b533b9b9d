"""The messages of a conversation as one OpenAI-compatible provider takes them. Nothing is changed in place.

Whatever is left out is named by its path, as ``messages[2].name``, unless the rest says the same.
"""

from __future__ import annotations

from typing import Any, Final

from fwd_server.providers.compatible.profile import ProviderProfile, RequestDraft
from fwd_server.providers.lenient import obj, text
from fwd_server.providers.unread_fields import asks_nothing
from fwd_server.values.chat import Json

# Two names with one meaning: callers send back what some server or SDK gave them.
_REASONING: Final = ("reasoning_content", "reasoning")
# An SDK that adds a stream up leaves the index in a call; the order of the calls says the same.
_OF_A_CALL: Final = frozenset({"index"})
# The annotations of an answer tell its reader where its text comes from; the text itself has it all.
_OF_AN_ANSWER: Final = frozenset({"annotations"})
# What makes up for a content that is null.
_INSTEAD_OF_TEXT: Final = ("tool_calls", "function_call", "refusal", "audio")


def edit_messages(profile: ProviderProfile, draft: RequestDraft, messages: list[Json]) -> list[Json]:
    """The messages as the provider takes them; the very same objects where nothing is to be changed."""
    editor = _MessageEditor(profile, draft)
    return [editor.edit_message(message, f"messages[{place}]") for place, message in enumerate(messages)]


def edit_tools(profile: ProviderProfile, draft: RequestDraft, tools: list[Json]) -> list[Json]:
    """The tools without what fwd adds to OpenAI's shape."""
    editor = _MessageEditor(profile, draft)
    return editor.cut_items(tools, profile.removed, "tools")


class _MessageEditor:
    def __init__(self, profile: ProviderProfile, draft: RequestDraft) -> None:
        self._profile = profile
        self._draft = draft

    def edit_message(self, message: Json, where: str) -> Json:
        profile, content, calls = self._profile, message.get("content"), message.get("tool_calls")
        edited = self._kept_fields(message, where)
        role = profile.roles.get(message["role"])
        if role:
            edited["role"] = role
        if isinstance(content, list):
            edited["content"] = self.cut_items(content, profile.removed, f"{where}.content")
        if calls:
            edited["tool_calls"] = self.cut_items(calls, profile.removed | _OF_A_CALL, f"{where}.tool_calls")
        if not profile.has_refusal:
            _write_refusal(edited, message)
        self._name_reasoning(edited, message, where)
        if message["role"] == "assistant" and edited.get("content") is None:
            self._fill_content(edited)
        return message if edited == message else edited

    def cut_items(self, items: list[Json], names: frozenset[str], where: str) -> list[Json]:
        """Parts, calls or tools without the fields of those names."""
        edited = []
        for place, item in enumerate(items):
            cut = names.intersection(obj(item))
            lost = cut - _OF_A_CALL
            self._draft.dropped += [f"{where}[{place}].{name}" for name in sorted(lost) if not asks_nothing(item[name])]
            edited.append({name: value for name, value in item.items() if name not in cut} if cut else item)
        return edited

    def _kept_fields(self, message: Json, where: str) -> Json:
        allowed, removed = self._profile.message_fields, self._profile.removed
        if allowed is None:
            kept = {name: value for name, value in message.items() if name not in removed}
        else:
            # Null is refused there too: https://console.groq.com/docs/openai
            kept = {k: v for k, v in message.items() if k in allowed and (v is not None or k == "content")}
        # The reasoning and the refusal are handled below; the name of a result repeats that of its function.
        accounted = {*kept, *_REASONING, "refusal", *_OF_AN_ANSWER, *(("name",) if message["role"] == "tool" else ())}
        lost = [name for name, value in message.items() if name not in accounted and not asks_nothing(value)]
        self._draft.dropped += [f"{where}.{name}" for name in lost]
        return kept

    def _name_reasoning(self, edited: Json, message: Json, where: str) -> None:
        """Give the reasoning the name under which the provider reads it, or leave it out."""
        field_name = next((name for name in _REASONING if text(message.get(name))), "")
        for name in _REASONING:
            edited.pop(name, None)
        if field_name and self._draft.reasoning_name:
            edited[self._draft.reasoning_name] = message[field_name]
        elif field_name:
            self._draft.dropped.append(f"{where}.{field_name}")

    def _fill_content(self, edited: Json) -> None:
        """A turn with reasoning only gets an empty text, because null is rejected where nothing replaces the text."""
        if all(asks_nothing(edited.get(name)) for name in _INSTEAD_OF_TEXT):
            edited["content"] = ""


def _write_refusal(edited: Json, message: Json) -> None:
    """A provider without a field for it gets a refusal as text, after the text beside it if there is one."""
    refusal = text(message.get("refusal"))
    edited.pop("refusal", None)
    content: Any = edited.get("content")
    if isinstance(content, list):
        parts = [_text_part(part) for part in content]
        edited["content"] = [*parts, *([{"type": "text", "text": refusal}] if refusal else [])]
    elif refusal:
        edited["content"] = f"{content}\n\n{refusal}" if content else refusal


def _text_part(part: Json) -> Json:
    refused = text(obj(part).get("refusal"))
    return {"type": "text", "text": refused} if part.get("type") == "refusal" and refused else part
