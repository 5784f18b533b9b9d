"""A chat completion as values: the call, what comes back whole, and what comes back in pieces.

What travels is the caller's own JSON object (``ChatRequest.body``), so that a field nobody here knows survives
at any depth. The ``ChatBody`` classes are how we look at it: they validate at the door, name the bad field, and
are the source of ``/openapi.json``. A content part is one flat class with a ``type``.

Shapes: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import msgspec
from attrs import define, evolve, field, frozen

from fwd_server.values.errors import UpstreamError
from fwd_server.values.usage import Usage

if TYPE_CHECKING:
    from fwd_server.values.plain_chat import PlainChat

# Far beyond every context window, but a bound for the time validation takes.
MAX_MESSAGES = 10_000  # contract T5

Json = dict[str, Any]


def _field_doc(text: str, **limits: Any) -> Any:
    return msgspec.Meta(description=text, **limits)


@frozen
class ImageUrl:
    """An image: an ``https:`` link or a ``data:`` URL."""

    url: Annotated[str, _field_doc("`https:` link or `data:image/...;base64,...`")]
    detail: Annotated[str | None, _field_doc("`auto`, `low`, `high` or `original`")] = None


@frozen
class InputAudio:
    """Sound in base64."""

    data: str
    format: Annotated[str, _field_doc("`wav` or `mp3`")]


@frozen
class FileInput:
    """A file: inline as a ``data:`` URL, or the id of one the provider already has."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


@frozen
class Part:
    """One part of a message's content; ``type`` says which of the other fields is set."""

    type: Annotated[str, _field_doc("`text`, `image_url`, `input_audio`, `file` or `refusal`")]
    text: str | None = None
    image_url: ImageUrl | None = None
    input_audio: InputAudio | None = None
    file: FileInput | None = None
    refusal: str | None = None


@frozen
class FunctionCall:
    """A function the model wants called; ``arguments`` is JSON in a string."""

    name: str
    arguments: str = ""


@frozen
class ToolCall:
    """One call in an assistant message; the tool message that answers it has the same id."""

    id: str
    type: str = "function"
    function: FunctionCall | None = None
    custom: Json | None = None


Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


@frozen
class Message:
    """One message of the conversation."""

    role: Role
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    function_call: FunctionCall | None = None
    audio: Annotated[Json | None, _field_doc("The id of an earlier audio answer")] = None
    reasoning_content: Annotated[str | None, _field_doc("Readable reasoning of an earlier answer")] = None
    reasoning: Annotated[str | None, _field_doc("Another name of `reasoning_content`")] = None
    reasoning_details: Annotated[
        list[Json] | None, _field_doc("Signed reasoning of an earlier answer, sent back unchanged")
    ] = None


@frozen
class FunctionDef:
    """A function the model may call; ``parameters`` is a JSON Schema."""

    name: str
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


@frozen
class Tool:
    """A tool the model may call."""

    type: Annotated[str, _field_doc("`function` or `custom`")] = "function"
    function: FunctionDef | None = None
    custom: Json | None = None


@frozen
class JsonSchemaFormat:
    """A named JSON Schema the answer must fit."""

    name: str
    schema: Json | None = None
    description: str | None = None
    strict: bool | None = None


@frozen
class ResponseFormat:
    """The form of the answer."""

    type: Annotated[str, _field_doc("`text`, `json_object` or `json_schema`")]
    json_schema: JsonSchemaFormat | None = None


@frozen
class StreamOptions:
    """Options of a streamed answer."""

    include_usage: Annotated[bool | None, _field_doc("One more chunk before the end contains the usage")] = None
    include_obfuscation: bool | None = None


@frozen
class ChatBody:
    """The body of ``POST /v1/chat/completions``. Fields that are not listed travel on as they are."""

    messages: Annotated[list[Message], _field_doc("The conversation so far", min_length=1, max_length=MAX_MESSAGES)]
    model: Annotated[
        str | None, _field_doc("`provider:model`, or a bare name of a known family; null: the gateway's own list")
    ] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: Annotated[int | None, _field_doc("Maximum number of visible and reasoning tokens")] = None
    max_tokens: Annotated[int | None, _field_doc("Older name of `max_completion_tokens`, which takes precedence")] = (
        None
    )
    temperature: Annotated[float | None, _field_doc("0 to 2")] = None
    top_p: Annotated[float | None, _field_doc("0 to 1")] = None
    n: Annotated[Annotated[int, msgspec.Meta(ge=1, le=128)] | None, _field_doc("Number of choices")] = None
    stop: str | list[str] | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    tools: list[Tool] | None = None
    tool_choice: Annotated[str | Json | None, _field_doc("`none`, `auto`, `required` or the tool to call")] = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[FunctionDef] | None, _field_doc("Older name of `tools`")] = None
    function_call: Annotated[str | Json | None, _field_doc("Older name of `tool_choice`")] = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Annotated[
        str | None, _field_doc("`none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`")
    ] = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    audio: Json | None = None
    prediction: Json | None = None
    service_tier: str | None = None
    store: bool | None = None
    metadata: Json | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Json | None = None
    prompt_cache_retention: str | None = None
    moderation: Json | None = None
    web_search_options: Json | None = None
    extra_body: Annotated[
        Json | None, _field_doc("Merged last into the body sent to the selected provider, whatever its language")
    ] = None


@define(eq=False)
class ChatRequest:
    """A validated call: the caller's own object, and the view on it.

    ``body`` is never changed in place: who must change something copies what it changes. It no longer has
    ``extra_body``, and the deprecated ``functions`` have become ``tools`` (``legacy_functions`` says so, for
    the way back).

    A plain call (``plain``, ``values/plain_chat.py``) comes with its bytes (``raw``); its ``body`` and ``view`` are
    read when somebody asks for them, which a provider that speaks OpenAI's language never does.
    """

    _body: Json | None
    _view: ChatBody | None
    extra_body: Json | None = None
    legacy_functions: bool = False
    plain: PlainChat | None = None
    raw: bytes | None = field(default=None, repr=False)
    _read: Callable[[bytes], ChatRequest] | None = field(default=None, repr=False)
    # The three that every call is asked for, several times.
    model: str | None = field(init=False)
    stream: bool = field(init=False)
    include_usage: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        view = self.plain or self.view
        self.model, self.stream = view.model, bool(view.stream)
        self.include_usage = bool(view.stream_options and view.stream_options.include_usage)

    @classmethod
    def from_plain(cls, plain: PlainChat, raw: bytes, read: Callable[[bytes], ChatRequest]) -> ChatRequest:
        """A plain call; ``read`` reads its bytes exactly."""
        return cls(None, None, plain=plain, raw=raw, read=read)

    @property
    def body(self) -> Json:
        """The caller's own object."""
        if self._body is None:
            self._read_exactly()
        return cast("Json", self._body)

    @property
    def view(self) -> ChatBody:
        """The view on it."""
        if self._view is None:
            self._read_exactly()
        return cast("ChatBody", self._view)

    def _read_exactly(self) -> None:
        exact = cast("Callable[[bytes], ChatRequest]", self._read)(self.raw or b"")
        self._body, self._view = exact.body, exact.view

    def texts(self) -> Iterator[str]:
        """Every text of the conversation, for estimates."""
        if self.plain is not None:
            yield from self.plain.texts()
            return
        for message in self.view.messages:
            if isinstance(message.content, str):
                yield message.content
            else:
                # Pictures and files have no text; their tokens are not part of an estimate of the prompt.
                yield from (part.text for part in message.content or () if part.text)

    def with_messages(self, messages: list[Json]) -> ChatRequest:
        """The same call with other messages, which nobody has to validate again."""
        return ChatRequest({**self.body, "messages": messages}, self.view, self.extra_body, self.legacy_functions)

    def without_extra_body(self) -> ChatRequest:
        """The same call for a provider that ``extra_body`` was not meant for."""
        return evolve(self, extra_body=None)


@define
class ChatResponse:
    """A whole answer: a ``chat.completion`` object, and ``raw``, its bytes as they came, if none had to change.

    Where only the bytes are given, ``data`` is read from them with ``read`` when somebody asks for it.
    """

    _data: Json | None
    usage: Usage | None = None
    raw: bytes | None = field(default=None, repr=False)
    _read: Callable[[bytes], Json] | None = field(default=None, repr=False, eq=False)

    @property
    def data(self) -> Json:
        """The object."""
        if self._data is None:
            self._data = cast("Callable[[bytes], Json]", self._read)(self.raw or b"")
        return self._data

    @property
    def model(self) -> str:
        """The model that answered, as the provider names it."""
        return str(self.data.get("model") or "")


class Chunk(msgspec.Struct, frozen=True):
    """One event of a streamed answer.

    ``frame`` is set where the upstream's own JSON can go out as the bytes it came in, unframed; else ``data`` is the
    ``chat.completion.chunk`` object to render. ``commits`` says that from here on the answer is the caller's:
    a text, reasoning, refusal or tool delta, or a finish reason (contract 3a).
    """

    commits: bool
    data: Json | None = None
    frame: bytes | None = None

    # A Struct's own shows every field, and what a model says to a caller is not for logs and tracebacks.
    def __repr__(self) -> str:
        return f"{type(self).__name__}(commits={self.commits})"


@frozen(slots=True)
class End:
    """The true end of a stream, as the provider marked it; ``usage`` as it counted, or None."""

    usage: Usage | None = None


# What a decoder gives: chunks, and at the last either the true end or the failure that took its place.
StreamEvent = Chunk | End | UpstreamError


def chunk_object(head: Mapping[str, Any], choices: list[Json], **more: Any) -> Json:
    """A ``chat.completion.chunk`` object; ``head`` holds id, created and model, the same in every chunk."""
    return {
        "id": head["id"],
        "object": "chat.completion.chunk",
        "created": head["created"],
        "model": head["model"],
        "choices": choices,
        **more,
    }


def choice_delta(delta: Json, index: int = 0, finish_reason: str | None = None, logprobs: Json | None = None) -> Json:
    """One choice of a chunk."""
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def calls_in(message: Mapping[str, Any]) -> list[Json]:
    """The tool calls in a provider's message or delta; what is none is left out."""
    calls = message.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


_OWN_FIELDS = frozenset({"id", "object", "created", "model", "choices", "usage"})


def unfold_response(response: ChatResponse) -> list[Chunk]:
    """A whole answer as the chunks of a stream, for a provider that answers a stream call with JSON (F24).

    Each choice's message comes first, its finish reason alone and later: clients stop reading at the finish. The usage
    has a chunk of its own.
    """
    data = response.data
    more = {name: value for name, value in data.items() if name not in _OWN_FIELDS}
    head = {"id": data.get("id"), "created": data.get("created"), "model": data.get("model")}
    choices = [choice for choice in data.get("choices") or [] if isinstance(choice, dict)]
    parts = [*map(_message_part, choices), *map(_finish_part, choices)]
    chunks = [Chunk(True, chunk_object(head, [part], **more)) for part in parts]
    # Without choices, as OpenAI sends it; whether the caller gets it is the dialect's decision.
    if data.get("usage"):
        chunks.append(Chunk(False, chunk_object(head, [], usage=data["usage"])))
    return chunks


def _message_part(choice: Json) -> Json:
    message = {"role": "assistant", "content": "", **(choice.get("message") or {})}
    calls = calls_in(message)
    # Put back below with an index in each entry; the whole answer has none.
    message.pop("tool_calls", None)
    for name in ("tool_calls", "reasoning_details"):
        # Clients add up lists by the index of their entries.
        entries = calls if name == "tool_calls" else message.get(name)
        if isinstance(entries, list) and entries:
            message[name] = [{"index": i, **entry} for i, entry in enumerate(entries) if isinstance(entry, dict)]
    return choice_delta(message, choice.get("index") or 0, None, choice.get("logprobs"))


def _finish_part(choice: Json) -> Json:
    return choice_delta({}, choice.get("index") or 0, choice.get("finish_reason") or "stop")
