"""The asyncio client: `_sync`, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from fwd_client import _operations, logging
from fwd_client._client import AsyncHttpClient, ClientBase, TransportBase, headers_of, request_of
from fwd_client._errors import APIConnectionError, ToolError
from fwd_client._events import RunEvent, StepStarted, StreamEvent, ToolFinished, ToolStarted
from fwd_client._exchange import Outcome, Send, Step, run_exchange, too_late, transport_errors
from fwd_client._messages import Messages
from fwd_client._operations import Operation, Reply, Texts
from fwd_client._options import Options, for_call
from fwd_client._params import ChatParams, EmbeddingParams, TalkParams
from fwd_client._parse import AsyncParsedStream, Parsed, parsed, response_format
from fwd_client._stream import Reader, StreamFacts
from fwd_client._tools import Ask, Reject, Run, ToolRun, ToolStep, finished, tool_loop
from fwd_client._values import Chat, Chunk, Embeddings, Health, Model, Models, Plan

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = TypeVar("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class AsyncTransport(TransportBase[AsyncHttpClient]):
    """Sends requests through an `httpx.AsyncClient`."""

    def _current_place(self) -> object:
        return asyncio.get_running_loop()

    def _new_client(self, settings: Mapping[str, Any]) -> AsyncHttpClient:
        import httpx  # takes half of a program's start-up time, and nothing before the first call needs it

        return httpx.AsyncClient(**settings)

    async def send(self, send: Send, key: str | None) -> Reply | APIConnectionError:
        """Send a request; a broken connection is returned, not raised."""
        http = self.http()
        try:
            with transport_errors(send.url):
                response = await http.send(request_of(http, send, key), stream=True)
                body = _read_body(response, send)
                await anext(body)
                if send.stream and response.status_code == 200:
                    return Reply(response.status_code, headers_of(response), source=body)
                return Reply(response.status_code, headers_of(response), b"".join([data async for data in body]))
        except APIConnectionError as error:
            return error

    async def close(self) -> None:
        """Close the HTTP client if it was made here."""
        http = self.own()
        if http is not None:
            await http.aclose()


async def _read_body(response: Any, send: Send) -> AsyncGenerator[bytes, None]:
    """The bytes of a response, which is always closed at the end.

    The first item is empty, because only a generator that has begun runs its `finally` when it is dropped.
    """
    try:
        yield b""
        with transport_errors(send.url):
            async for data in response.aiter_bytes():
                if time.monotonic() > send.deadline:
                    raise too_late(send.url)
                yield data
    finally:
        await response.aclose()


async def _chunks(source: AsyncGenerator[bytes, None], reader: Reader) -> AsyncGenerator[Chunk, None]:
    """The chunks of a stream; read to the end of the body, so that the connection can serve again."""
    cause: APIConnectionError | None = None
    try:
        async for data in source:
            for chunk in reader.feed(data):
                yield chunk
    except APIConnectionError as error:
        cause = error
    finally:
        await source.aclose()
    reader.close(cause)


class AsyncStream(StreamFacts):
    """A streamed answer: iterate over its chunks, its `text` or its `events`. Leaving its `with` block closes it."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self._source: AsyncGenerator[bytes, None] = reply.source
        self._chunks = _chunks(self._source, self._reader)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        return self._take_chunk(await anext(self._chunks))

    @property
    def text(self) -> AsyncIterator[str]:
        """The text of the first choice, piece by piece."""
        return (chunk.text async for chunk in self if chunk.text)

    @property
    def events(self) -> AsyncIterator[StreamEvent]:
        """What happens, event by event."""
        return (event async for _ in self for event in self._happened)

    async def final(self) -> Chat:
        """Read to the end and return the whole answer."""
        async for _ in self:
            pass
        return self._whole_answer()

    async def close(self) -> None:
        """End the call; the gateway then ends its call to the provider."""
        await self._chunks.aclose()
        await self._source.aclose()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def drive_steps(steps: Generator[S, R | None, T], perform: Callable[[S], Awaitable[R]]) -> T:
    """Run a generator of steps to its end: perform each step, and send the outcome back."""
    outcome: R | None = None
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration as done:
            result: T = done.value
            return result
        outcome = await perform(step)


class AsyncClient(ClientBase[AsyncHttpClient]):
    """A client of the gateway for asyncio programs.

    The address and the key come from the arguments, else from FORWARDER_URL and FORWARDER_KEY, else from the profile
    that `fwd login` stored; the address is http://127.0.0.1:8000 by default. `__init__` documents every argument.
    """

    def _open_transport(self, http: AsyncHttpClient | None) -> None:
        self._transport = AsyncTransport(http, self._options)

    @property
    def chat(self) -> AsyncChatCalls:
        """Calls under `/v1/chat`."""
        return AsyncChatCalls(self)

    @property
    def models(self) -> AsyncModelCalls:
        """Calls under `/v1/models`."""
        return AsyncModelCalls(self)

    @property
    def embeddings(self) -> AsyncEmbeddingCalls:
        """Calls under `/v1/embeddings`."""
        return AsyncEmbeddingCalls(self)

    async def ask(self, prompt: str, **params: Unpack[ChatParams]) -> str:
        """Ask one question and return the answer's text.

        Args:
            prompt: the user message.
            params: see `ChatParams`.
        """
        return (await self.chat.completions.create(messages=prompt, **params)).text

    async def health(self) -> Health:
        """Whether the gateway is running. Needs no key."""
        return await self._run_call(_operations.health())

    async def ready(self) -> Health:
        """Whether the gateway can answer calls, and what is degraded. Needs no key."""
        return await self._run_call(_operations.ready())

    async def close(self) -> None:
        """Close the connections. A client from `with_options()` leaves them open for the first one."""
        if not self._is_twin:
            await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        self._transport.http()  # loads the HTTP library now, so that the first call is not slower than the others
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run_call(self, operation: Operation[T], options: Options | None = None) -> T:
        return await drive_steps(run_exchange(operation, options or self._options, self._world), self._perform_step)

    async def _perform_step(self, step: Step) -> Outcome:
        if not isinstance(step, Send):
            self._report_retry(step)
            await asyncio.sleep(step.delay_s)
            return None
        logging.log_request(step)
        outcome = await self._transport.send(step, await self._current_key())
        logging.log_outcome(step, outcome)
        return outcome

    async def _current_key(self) -> str | None:
        key = self._options.ask_key()
        return await key if isinstance(key, Awaitable) else key


class AsyncChatCalls:
    """Calls under `/v1/chat`."""

    def __init__(self, client: AsyncClient) -> None:
        self.completions = AsyncCompletions(client)


class AsyncEmbeddingCalls:
    """Calls under `/v1/embeddings`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(self, *, input: Texts, **params: Unpack[EmbeddingParams]) -> Embeddings:
        """Turn texts into vectors.

        Args:
            input: one text, a list of texts, or lists of token ids.
            params: see `EmbeddingParams`.
        """
        return await self._client._run_call(_operations.embed(input, params), for_call(self._client.options, params))


class AsyncModelCalls:
    """Calls under `/v1/models`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(self) -> Models:
        """Every model that this key can use."""
        return await self._client._run_call(_operations.models())

    async def retrieve(self, model: str) -> Model:
        """One model.

        Args:
            model: its name. Raises `ModelNotFoundError` for an unknown one.
        """
        return await self._client._run_call(_operations.model(model))


class AsyncCompletions:
    """Calls of `/v1/chat/completions`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @overload
    async def create(
        self, *, messages: Messages, stream: Literal[False] = False, **params: Unpack[ChatParams]
    ) -> Chat: ...
    @overload
    async def create(
        self, *, messages: Messages, stream: Literal[True], **params: Unpack[ChatParams]
    ) -> AsyncStream: ...
    @overload
    async def create(self, *, messages: Messages, stream: bool, **params: Unpack[ChatParams]) -> Chat | AsyncStream: ...
    async def create(
        self, *, messages: Messages, stream: bool = False, **params: Unpack[ChatParams]
    ) -> Chat | AsyncStream:
        """Ask the model for an answer.

        Args:
            messages: the conversation, or a text for one user message.
            stream: True: return a `AsyncStream` that yields the answer as it is written.
            params: see `ChatParams`.

        Raises `APIError` and its subclasses.
        """
        options = for_call(self._client.options, params)
        if stream:
            return AsyncStream(await self._client._run_call(_operations.chat_stream(messages, params), options))
        return await self._client._run_call(_operations.chat(messages, params), options)

    @asynccontextmanager
    async def stream(self, *, messages: Messages, **params: Unpack[ChatParams]) -> AsyncIterator[AsyncStream]:
        """A stream as a context manager, with its usage: `async with ...stream(messages="hi") as stream: ...`.

        Args:
            messages: the conversation, or a text for one user message.
            params: see `ChatParams`.
        """
        params.setdefault("stream_options", {"include_usage": True})
        async with await self.create(messages=messages, stream=True, **params) as stream:
            yield stream

    async def explain(self, *, messages: Messages, **params: Unpack[ChatParams]) -> Plan:
        """What the gateway would send to which provider for this call, and what it would drop. Nothing is sent.

        Args:
            messages: the conversation, or a text for one user message.
            params: see `ChatParams`.
        """
        return await self._client._run_call(
            _operations.explain(messages, params), for_call(self._client.options, params)
        )

    async def parse(self, *, messages: Messages, into: type[P], **params: Unpack[ChatParams]) -> Parsed[P]:
        """An answer in the shape of a class.

        Args:
            messages: the conversation, or a text for one user message.
            into: the class: attrs, dataclass, msgspec or pydantic.
            params: see `ChatParams`.

        Raises `ParseError` when the model's text does not fit the class.
        """
        params["response_format"] = response_format(into)
        return parsed(into, await self.create(messages=messages, **params))

    @asynccontextmanager
    async def parse_stream(
        self, *, messages: Messages, into: type[P], **params: Unpack[ChatParams]
    ) -> AsyncIterator[AsyncParsedStream[P]]:
        """A streamed answer in the shape of a class, as a context manager.

        Args:
            messages: the conversation, or a text for one user message.
            into: the class: attrs, dataclass, msgspec or pydantic.
            params: see `ChatParams`.
        """
        params["response_format"] = response_format(into)
        async with self.stream(messages=messages, **params) as stream:
            yield AsyncParsedStream(into, stream)

    async def run_tools(
        self,
        *,
        messages: Messages,
        tools: Iterable[Callable[..., Any]],
        max_steps: int = 10,
        on_event: Callable[[RunEvent], object] | None = None,
        **params: Unpack[TalkParams],
    ) -> ToolRun:
        """Let the model call these functions, async or not, until it answers.

        Args:
            messages: the conversation, or a text for one user message.
            tools: the functions; name, types and docstring of each are what the model sees.
            max_steps: how many answers the model may give.
            on_event: called with every event as it happens; the answers are then streamed.

        Raises `ToolStepsExceeded` after `max_steps` answers. A `ToolError` and arguments that do not fit go back to the
        model; any other exception of a function passes through.
        """

        async def perform(step: ToolStep) -> Chat | str:
            if isinstance(step, Ask):
                return await self._ask_step(step, on_event, params)
            if isinstance(step, Reject):
                event = finished(step.call, step.error)
            else:
                event = await _run_tool(step, on_event)
            if on_event:
                on_event(event)
            return event.result

        return await drive_steps(tool_loop(messages, tools, max_steps), perform)

    async def _ask_step(self, step: Ask, on_event: Callable[[RunEvent], object] | None, params: TalkParams) -> Chat:
        if on_event is None:
            return await self.create(messages=step.messages, tools=step.tools, **params)
        on_event(StepStarted(step.number))
        async with self.stream(messages=step.messages, tools=step.tools, **params) as stream:
            async for event in stream.events:
                on_event(event)
            return await stream.final()


async def _run_tool(step: Run, on_event: Callable[[RunEvent], object] | None) -> ToolFinished:
    if on_event:
        on_event(ToolStarted(step.call, step.arguments))
    try:
        result = step.tool.function(**step.arguments)
        return finished(step.call, await result if isawaitable(result) else result)
    except ToolError as error:
        return finished(step.call, error)
