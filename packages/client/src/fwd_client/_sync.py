"""The client that blocks."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from fwd_client import _operations, logging
from fwd_client._client import ClientBase, HttpClient, TransportBase, headers_of, request_of
from fwd_client._errors import APIConnectionError, ToolError
from fwd_client._events import RunEvent, StepStarted, StreamEvent, ToolFinished, ToolStarted
from fwd_client._exchange import Outcome, Send, Step, run_exchange, too_late, transport_errors
from fwd_client._messages import Messages
from fwd_client._operations import Operation, Reply, Texts
from fwd_client._options import Options, for_call
from fwd_client._params import ChatParams, EmbeddingParams, TalkParams
from fwd_client._parse import Parsed, ParsedStream, parsed, response_format
from fwd_client._stream import Reader, StreamFacts
from fwd_client._tools import Ask, Reject, Run, ToolRun, ToolStep, finished, tool_loop
from fwd_client._values import Chat, Chunk, Embeddings, Health, Model, Models, Plan

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = TypeVar("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class Transport(TransportBase[HttpClient]):
    """Sends requests through an `httpx.Client`."""

    def _current_place(self) -> object:
        return os.getpid()

    def _new_client(self, settings: Mapping[str, Any]) -> HttpClient:
        import httpx  # takes half of a program's start-up time, and nothing before the first call needs it

        return httpx.Client(**settings)

    def send(self, send: Send, key: str | None) -> Reply | APIConnectionError:
        """Send a request; a broken connection is returned, not raised."""
        http = self.http()
        try:
            with transport_errors(send.url):
                # Always as a stream: the deadline counts for the whole body, which `send` alone would not stop at.
                response = http.send(request_of(http, send, key), stream=True)
                body = _read_body(response, send)
                next(body)
                # An error that answers a stream call is read whole, as of any other call.
                if send.stream and response.status_code == 200:
                    return Reply(response.status_code, headers_of(response), source=body)
                return Reply(response.status_code, headers_of(response), b"".join(body))
        except APIConnectionError as error:
            return error

    def close(self) -> None:
        """Close the HTTP client if it was made here."""
        http = self.own()
        if http is not None:
            http.close()

    def __del__(self) -> None:
        self.close()


def _read_body(response: Any, send: Send) -> Generator[bytes, None, None]:
    """The bytes of a response, which is always closed at the end.

    The first item is empty, because only a generator that has begun runs its `finally` when it is dropped.
    """
    try:
        yield b""
        with transport_errors(send.url):
            for data in response.iter_bytes():
                # The library's own limit is for silence; an answer that drips would never end.
                if time.monotonic() > send.deadline:
                    raise too_late(send.url)
                yield data
    finally:
        response.close()


def _chunks(source: Generator[bytes, None, None], reader: Reader) -> Generator[Chunk, None, None]:
    """The chunks of a stream; read to the end of the body, so that the connection can serve again."""
    cause: APIConnectionError | None = None
    try:
        for data in source:
            yield from reader.feed(data)
    except APIConnectionError as error:
        cause = error
    finally:
        source.close()
    reader.close(cause)


class Stream(StreamFacts):
    """A streamed answer: iterate over its chunks, its `text` or its `events`. Leaving its `with` block closes it."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self._source: Generator[bytes, None, None] = reply.source
        self._chunks = _chunks(self._source, self._reader)

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        return self._take_chunk(next(self._chunks))

    @property
    def text(self) -> Iterator[str]:
        """The text of the first choice, piece by piece."""
        # The first chunk has a role and no text, the last a finish reason.
        return (chunk.text for chunk in self if chunk.text)

    @property
    def events(self) -> Iterator[StreamEvent]:
        """What happens, event by event."""
        return (event for _ in self for event in self._happened)

    def final(self) -> Chat:
        """Read to the end and return the whole answer."""
        for _ in self:
            pass
        return self._whole_answer()

    def close(self) -> None:
        """End the call; the gateway then ends its call to the provider."""
        self._chunks.close()
        self._source.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def drive_steps(steps: Generator[S, R | None, T], perform: Callable[[S], R]) -> T:
    """Run a generator of steps to its end: perform each step, and send the outcome back."""
    outcome: R | None = None
    while True:
        try:
            step = steps.send(outcome)
        # A generator returns its value in the exception that ends it.
        except StopIteration as done:
            result: T = done.value
            return result
        outcome = perform(step)


class Client(ClientBase[HttpClient]):
    """A client of the gateway.

    The address and the key come from the arguments, else from FORWARDER_URL and FORWARDER_KEY, else from the profile
    that `fwd login` stored; the address is http://127.0.0.1:8000 by default. `__init__` documents every argument.
    """

    def _open_transport(self, http: HttpClient | None) -> None:
        self._transport = Transport(http, self._options)

    @property
    def chat(self) -> ChatCalls:
        """Calls under `/v1/chat`."""
        return ChatCalls(self)

    @property
    def models(self) -> ModelCalls:
        """Calls under `/v1/models`."""
        return ModelCalls(self)

    @property
    def embeddings(self) -> EmbeddingCalls:
        """Calls under `/v1/embeddings`."""
        return EmbeddingCalls(self)

    def ask(self, prompt: str, **params: Unpack[ChatParams]) -> str:
        """Ask one question and return the answer's text.

        Args:
            prompt: the user message.
            params: see `ChatParams`.
        """
        return self.chat.completions.create(messages=prompt, **params).text

    def health(self) -> Health:
        """Whether the gateway is running. Needs no key."""
        return self._run_call(_operations.health())

    def ready(self) -> Health:
        """Whether the gateway can answer calls, and what is degraded. Needs no key."""
        return self._run_call(_operations.ready())

    def close(self) -> None:
        """Close the connections. A client from `with_options()` leaves them open for the first one."""
        if not self._is_twin:
            self._transport.close()

    def __enter__(self) -> Client:
        self._transport.http()  # loads the HTTP library now, so that the first call is not slower than the others
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run_call(self, operation: Operation[T], options: Options | None = None) -> T:
        return drive_steps(run_exchange(operation, options or self._options, self._world), self._perform_step)

    def _perform_step(self, step: Step) -> Outcome:
        # Waiting is a step too, so that the rules of repeating need no clock of their own.
        if not isinstance(step, Send):
            self._report_retry(step)
            time.sleep(step.delay_s)
            return None
        logging.log_request(step)
        outcome = self._transport.send(step, self._current_key())
        logging.log_outcome(step, outcome)
        return outcome

    def _current_key(self) -> str | None:
        key = self._options.ask_key()
        if isinstance(key, Awaitable):
            raise TypeError("api_key must return a str here; an async callable works with AsyncClient")
        return key


class ChatCalls:
    """Calls under `/v1/chat`."""

    def __init__(self, client: Client) -> None:
        self.completions = Completions(client)


class EmbeddingCalls:
    """Calls under `/v1/embeddings`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, *, input: Texts, **params: Unpack[EmbeddingParams]) -> Embeddings:
        """Turn texts into vectors.

        Args:
            input: one text, a list of texts, or lists of token ids.
            params: see `EmbeddingParams`.
        """
        return self._client._run_call(_operations.embed(input, params), for_call(self._client.options, params))


class ModelCalls:
    """Calls under `/v1/models`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> Models:
        """Every model that this key can use."""
        return self._client._run_call(_operations.models())

    def retrieve(self, model: str) -> Model:
        """One model.

        Args:
            model: its name. Raises `ModelNotFoundError` for an unknown one.
        """
        return self._client._run_call(_operations.model(model))


class Completions:
    """Calls of `/v1/chat/completions`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @overload
    def create(self, *, messages: Messages, stream: Literal[False] = False, **params: Unpack[ChatParams]) -> Chat: ...
    @overload
    def create(self, *, messages: Messages, stream: Literal[True], **params: Unpack[ChatParams]) -> Stream: ...
    @overload
    def create(self, *, messages: Messages, stream: bool, **params: Unpack[ChatParams]) -> Chat | Stream: ...
    def create(self, *, messages: Messages, stream: bool = False, **params: Unpack[ChatParams]) -> Chat | Stream:
        """Ask the model for an answer.

        Args:
            messages: the conversation, or a text for one user message.
            stream: True: return a `Stream` that yields the answer as it is written.
            params: see `ChatParams`.

        Raises `APIError` and its subclasses.
        """
        options = for_call(self._client.options, params)
        if stream:
            return Stream(self._client._run_call(_operations.chat_stream(messages, params), options))
        return self._client._run_call(_operations.chat(messages, params), options)

    @contextmanager
    def stream(self, *, messages: Messages, **params: Unpack[ChatParams]) -> Iterator[Stream]:
        """A stream as a context manager, with its usage: `with ...stream(messages="hi") as stream: ...`.

        Args:
            messages: the conversation, or a text for one user message.
            params: see `ChatParams`.
        """
        params.setdefault("stream_options", {"include_usage": True})
        with self.create(messages=messages, stream=True, **params) as stream:
            yield stream

    def explain(self, *, messages: Messages, **params: Unpack[ChatParams]) -> Plan:
        """What the gateway would send to which provider for this call, and what it would drop. Nothing is sent.

        Args:
            messages: the conversation, or a text for one user message.
            params: see `ChatParams`.
        """
        return self._client._run_call(_operations.explain(messages, params), for_call(self._client.options, params))

    def parse(self, *, messages: Messages, into: type[P], **params: Unpack[ChatParams]) -> Parsed[P]:
        """An answer in the shape of a class.

        Args:
            messages: the conversation, or a text for one user message.
            into: the class: attrs, dataclass, msgspec or pydantic.
            params: see `ChatParams`.

        Raises `ParseError` when the model's text does not fit the class.
        """
        params["response_format"] = response_format(into)
        return parsed(into, self.create(messages=messages, **params))

    @contextmanager
    def parse_stream(
        self, *, messages: Messages, into: type[P], **params: Unpack[ChatParams]
    ) -> Iterator[ParsedStream[P]]:
        """A streamed answer in the shape of a class, as a context manager.

        Args:
            messages: the conversation, or a text for one user message.
            into: the class: attrs, dataclass, msgspec or pydantic.
            params: see `ChatParams`.
        """
        params["response_format"] = response_format(into)
        with self.stream(messages=messages, **params) as stream:
            yield ParsedStream(into, stream)

    def run_tools(
        self,
        *,
        messages: Messages,
        tools: Iterable[Callable[..., Any]],
        max_steps: int = 10,
        on_event: Callable[[RunEvent], object] | None = None,
        **params: Unpack[TalkParams],
    ) -> ToolRun:
        """Let the model call these functions until it answers.

        Args:
            messages: the conversation, or a text for one user message.
            tools: the functions; name, types and docstring of each are what the model sees.
            max_steps: how many answers the model may give.
            on_event: called with every event as it happens; the answers are then streamed.

        Raises `ToolStepsExceeded` after `max_steps` answers. A `ToolError` and arguments that do not fit go back to the
        model; any other exception of a function passes through.
        """

        def perform(step: ToolStep) -> Chat | str:
            if isinstance(step, Ask):
                return self._ask_step(step, on_event, params)
            event = finished(step.call, step.error) if isinstance(step, Reject) else _run_tool(step, on_event)
            if on_event:
                on_event(event)
            return event.result

        return drive_steps(tool_loop(messages, tools, max_steps), perform)

    def _ask_step(self, step: Ask, on_event: Callable[[RunEvent], object] | None, params: TalkParams) -> Chat:
        if on_event is None:
            return self.create(messages=step.messages, tools=step.tools, **params)
        on_event(StepStarted(step.number))
        with self.stream(messages=step.messages, tools=step.tools, **params) as stream:
            for event in stream.events:
                on_event(event)
            return stream.final()


def _run_tool(step: Run, on_event: Callable[[RunEvent], object] | None) -> ToolFinished:
    if on_event:
        on_event(ToolStarted(step.call, step.arguments))
    try:
        return finished(step.call, step.tool.function(**step.arguments))
    except ToolError as error:
        return finished(step.call, error)
