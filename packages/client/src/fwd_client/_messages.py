"""The messages of a conversation, typed: a misspelled name is an error before the program runs.

Plain dicts at run time, in OpenAI's form. The `message` of an answer can be used among them as it is.
https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict

from fwd_client._values import Message


class _Text(TypedDict):
    type: Literal["text"]
    text: str


class TextPart(_Text, total=False):
    """A piece of text."""

    cache_control: Mapping[str, Any]
    """Marks the end of a prefix that Anthropic caches, as `{"type": "ephemeral"}`."""


class _ImageUrl(TypedDict):
    url: str


class ImageUrl(_ImageUrl, total=False):
    """Where an image is: an https URL, or a `data:` URL with its bytes."""

    detail: Literal["auto", "low", "high"]
    """How closely the model looks; more detail costs more tokens."""


class ImagePart(TypedDict):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(TypedDict):
    """Audio as base64, and its format."""

    data: str
    format: Literal["wav", "mp3"]


class AudioPart(TypedDict):
    """A sound."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class FileData(TypedDict, total=False):
    """A file: its bytes as a `data:` URL with its name, or the id it was uploaded under."""

    filename: str
    file_data: str
    file_id: str


class FilePart(TypedDict):
    """A file, such as a PDF."""

    type: Literal["file"]
    file: FileData


class RefusalPart(TypedDict):
    """What a model answered instead of an answer."""

    type: Literal["refusal"]
    refusal: str


ContentPart = TextPart | ImagePart | AudioPart | FilePart


class _System(TypedDict):
    role: Literal["system", "developer"]
    content: str | Iterable[TextPart]


class SystemMessage(_System, total=False):
    """Instructions for the whole conversation; `developer` is OpenAI's newer name for them."""

    name: str


class _User(TypedDict):
    role: Literal["user"]
    content: str | Iterable[ContentPart]


class UserMessage(_User, total=False):
    """What the user says, as text or in parts."""

    name: str


class _CalledFunction(TypedDict):
    name: str
    arguments: str


class CalledTool(TypedDict):
    """A tool call of an earlier answer."""

    id: str
    type: Literal["function"]
    function: _CalledFunction


class _Assistant(TypedDict):
    role: Literal["assistant"]


class AssistantMessage(_Assistant, total=False):
    """An earlier answer. One that calls tools may have no content."""

    content: str | Iterable[TextPart | RefusalPart] | None
    name: str
    refusal: str | None
    reasoning_content: str | None
    tool_calls: Iterable[CalledTool]
    function_call: Mapping[str, Any] | None
    audio: Mapping[str, Any] | None


class ToolMessage(TypedDict):
    """What a tool returned; `tool_call_id` is the `id` of the call."""

    role: Literal["tool"]
    tool_call_id: str
    content: str | Iterable[TextPart]


class FunctionMessage(TypedDict):
    """What a function returned, in the deprecated form without ids."""

    role: Literal["function"]
    name: str
    content: str | None


MessageParam = SystemMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
"""One message of a request."""

Messages = str | Iterable[MessageParam | Message]
"""The conversation so far; a text is one user message."""
