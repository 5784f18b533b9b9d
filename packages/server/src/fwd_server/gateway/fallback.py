"""Walks a plan until one attempt commits. Before the commit a failure may move on; after it, never (contract 3a, G2).

Refused             the deployment is skipped: nothing was sent, and no attempt is counted (G11)
the caller's fault  ends at once; so does a missing model or a full context, unless we chose the model (F17)
anything else       moves on to the next deployment; a lone one is tried once more where that may help (G1)
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar, cast

from attrs import frozen

from fwd_server.clock import Clock
from fwd_server.gateway.relay import Stream
from fwd_server.providers.base import (
    AmendedRequest,
    Decoder,
    EmbeddingsExchange,
    Exchange,
    NewId,
    Provider,
    UpstreamRequest,
)
from fwd_server.routing.health import Health
from fwd_server.upstream.deadline import Deadline
from fwd_server.upstream.images import STAND_IN, Images, links_in, with_images
from fwd_server.upstream.send import Upstream, UpstreamResponse, read_all
from fwd_server.values.chat import ChatRequest, ChatResponse, End, StreamEvent, unfold
from fwd_server.values.deployment import Deployment
from fwd_server.values.embeddings import EmbeddingsRequest, EmbeddingsResponse
from fwd_server.values.errors import (
    CALLERS_FAULT,
    MODELS_FAULT,
    ProviderNotAvailable,
    Refused,
    UpstreamError,
    upstream_failure,
)
from fwd_server.values.record import CallRecord
from fwd_server.values.timeouts import Timeouts

T = TypeVar("T")

RETRY_WAIT_S: Final = (0.2, 0.5)  # before a lone deployment is tried again: anywhere between
_WORTH_A_RETRY: Final = frozenset({500, 502, 503, 504, 529})
_LONGEST_ERROR: Final = 1 << 20
_JSON: Final = frozenset({"application/json", ""})
_STREAMS: Final = frozenset({"text/event-stream", "application/x-ndjson", ""})
_PLAIN: Final = re.compile(r"[!-~]{1,200}")
# Which of an attempt's times may have been over.
_ENDED: Final[Mapping[str | None, tuple[str, ...]]] = {
    "connect_timeout": ("connect_s",),
    "dns_failed": ("connect_s",),
    "upstream_timeout": ("first_byte_s", "first_event_s"),
    "upstream_stalled": ("idle_s",),
}
_NO_IMAGES: Final[Mapping[str, str]] = {}
_UPSTREAM_IDS: Final = ("x-request-id", "request-id", "x-generation-id")


@frozen
class RetryPolicy:
    """How often, how long and how much, whoever is asked: attempts of one call in all (G1), bytes of an answer.

    ``stream_s`` are seconds from the commit; those before it are by provider (``Endpoint.timeouts``).
    """

    attempts: int = 3
    stream_s: float = 1800.0
    answer_bytes: int = 64 << 20


AnyExchange = Exchange | EmbeddingsExchange
_Read = Callable[[UpstreamResponse, AnyExchange], Awaitable[T]]


class Coordinator:
    """Runs calls over their plans."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        upstream: Upstream,
        clock: Clock,
        new_id: NewId,
        patience: RetryPolicy | None = None,
        rand: Callable[[], float] = random.random,
        health: Health | None = None,
        images: Images | None = None,
    ) -> None:
        self._providers = providers
        self._upstream = upstream
        self._clock = clock
        self._new_id = new_id
        self._retry_policy = patience or RetryPolicy()
        self._rand = rand
        self._health = health or Health()
        self._images = images

    async def complete(self, record: CallRecord, plan: tuple[Deployment, ...]) -> ChatResponse:
        """A whole answer. Raises GatewayError when no attempt gives one."""
        return cast("ChatResponse", await self._answer(record, plan))

    async def embed(self, record: CallRecord, plan: tuple[Deployment, ...]) -> EmbeddingsResponse:
        """Vectors. Raises GatewayError when no attempt gives them."""
        return cast("EmbeddingsResponse", await self._answer(record, plan))

    async def _answer(self, record: CallRecord, plan: tuple[Deployment, ...]) -> ChatResponse | EmbeddingsResponse:
        answer = await self._walk(record, plan, self._whole)
        self._health.note_success(_committed(record))
        return answer

    async def stream(self, record: CallRecord, plan: tuple[Deployment, ...]) -> Stream:
        """A stream that has its first content. Raises GatewayError when no attempt gets there."""
        stream = await self._walk(record, plan, self._first_content)
        stream.ended = functools.partial(self._judge, record, _committed(record))
        return stream

    def _judge(self, record: CallRecord, deployment: Deployment, error: UpstreamError | None) -> None:
        """A committed stream has ended: its deployment's health knows only now (G8)."""
        if error is None:
            self._health.note_success(deployment)
        else:
            self._failed(record, deployment, error)

    def _failed(self, record: CallRecord, deployment: Deployment, error: UpstreamError) -> None:
        """Tell the deployment's health, unless the caller was in a greater hurry than the operator."""
        if not _is_callers_timeout(error, record, deployment):
            self._health.note_failure(deployment, error, self._clock.monotonic())

    async def _walk(self, record: CallRecord, plan: tuple[Deployment, ...], read: _Read[T]) -> T:
        most = self._retry_policy.attempts
        refusal: Refused | None = None
        failure: UpstreamError | None = None
        for deployment in self._health.order_by_health(plan, self._clock.monotonic()):
            if failure is not None and (len(record.attempts) >= most or _is_final(failure, record)):
                break
            selected = deployment.provider == plan[0].provider
            try:
                images = await self._fetched(record, deployment)
                exchange, behind = self.open(record, deployment, selected=selected, images=images)
            except Refused as error:
                refusal = refusal or error
                continue
            result = await self._serve(exchange, deployment, record, read, most, lone=len(plan) == 1)
            if not isinstance(result, UpstreamError):
                record.note_commit(deployment, record.dropped + behind, self._clock.monotonic())
                return result
            failure = result
        if failure is not None:
            raise _final(failure, record)
        raise refusal or upstream_failure("provider_error")

    async def _fetched(self, record: CallRecord, deployment: Deployment) -> Mapping[str, str]:
        """What the call's image links lead to, where the provider needs the bytes. Raises Refused."""
        links = self._links(record, deployment)
        if self._images is None or not links:
            return {}
        try:
            with Deadline(_remaining_s(record, self._clock.monotonic()), "deadline"):
                return await self._images.fetch(links)
        except UpstreamError as error:
            raise _final(error, record) from None

    def stand_ins(self, record: CallRecord, deployment: Deployment) -> Mapping[str, str]:
        """What stands in a dry run for the images that would be fetched."""
        return dict.fromkeys(self._links(record, deployment), STAND_IN)

    def _links(self, record: CallRecord, deployment: Deployment) -> Mapping[str, str]:
        """The links the gateway would open for this provider: none, unless it is set to (contract T20)."""
        request = record.call.request
        if self._images is None or not isinstance(request, ChatRequest):
            return {}
        return links_in(request, self._providers[deployment.provider].needs_bytes)

    def open(
        self, record: CallRecord, deployment: Deployment, *, selected: bool, images: Mapping[str, str] = _NO_IMAGES
    ) -> tuple[AnyExchange, tuple[str, ...]]:
        """Translate the call; the names are those of what stays behind, besides what the exchange drops.

        Raises Refused when the provider cannot take the call, or in strict mode not without a loss. ``extra_body`` is
        for the provider the call was meant for; elsewhere it stays behind, and that is said. ``images`` take the places
        of their links.
        """
        request = record.call.request if selected else record.call.request.without_extra_body()
        if isinstance(request, ChatRequest):
            request = with_images(request, images)
        exchange = self._translate(request, deployment)
        behind = () if selected or not record.call.request.extra_body else ("extra_body",)
        dropped = tuple(exchange.dropped) + behind
        if dropped and record.call.strict:
            raise Refused(
                f"The provider {deployment.provider} cannot take {', '.join(map(repr, dropped))} with this model. "
                "Leave it out, or send the call without 'x-fwd-strict: true' to have it dropped.",
                param=dropped[0],
            )
        return exchange, behind

    def _translate(self, request: ChatRequest | EmbeddingsRequest, deployment: Deployment) -> AnyExchange:
        provider = self._providers[deployment.provider]
        if isinstance(request, ChatRequest):
            if provider.chat is not None:
                return provider.chat.open(request, deployment, int(self._clock.now()), self._new_id)
        elif provider.embeddings is not None:
            return provider.embeddings.open(request, deployment)
        operation = "chat completions" if isinstance(request, ChatRequest) else "embeddings"
        raise ProviderNotAvailable(f"The provider {deployment.provider} has no {operation}.")

    async def _serve(
        self,
        exchange: AnyExchange,
        deployment: Deployment,
        record: CallRecord,
        read: _Read[T],
        most: int,
        *,
        lone: bool,
    ) -> T | UpstreamError:
        """One deployment: an attempt, an amended one where the codec asks for it, and for a lone one a second."""
        result = await self._attempt(exchange, deployment, record, read)
        if (
            isinstance(result, AmendedRequest)
            and len(record.attempts) < most
            and not _loses_more(result, exchange, record)
        ):
            exchange = result.exchange
            result = await self._attempt(exchange, deployment, record, read)
        if isinstance(result, UpstreamError) and lone and len(record.attempts) < most and _may_help(result):
            low, high = RETRY_WAIT_S
            wait_s = low + (high - low) * self._rand()
            if wait_s < _remaining_s(record, self._clock.monotonic()):
                await self._clock.sleep(wait_s)
                result = await self._attempt(exchange, deployment, record, read)
        return result.error if isinstance(result, AmendedRequest) else result

    async def _attempt(
        self, exchange: AnyExchange, deployment: Deployment, record: CallRecord, read: _Read[T]
    ) -> T | AmendedRequest | UpstreamError:
        began = self._clock.monotonic()
        seconds, code = self._limit(record, deployment, began)
        self._health.note_attempt(deployment, began)
        try:
            with Deadline(seconds, code):
                result = await self._exchange(exchange, deployment, record, read)
        except UpstreamError as error:
            record.note_attempt(deployment, began, self._clock.monotonic(), error)
            self._failed(record, deployment, error)
            return error
        finally:
            self._health.release_probe(deployment)
        failed = result.error if isinstance(result, AmendedRequest) else None
        record.dropped = tuple(exchange.dropped)
        record.note_attempt(deployment, began, self._clock.monotonic(), failed)
        return result

    def _limit(self, record: CallRecord, deployment: Deployment, now: float) -> tuple[float, str]:
        """Seconds for an attempt, and what it is called when they are over."""
        left, times = _remaining_s(record, now), _timeouts(record, deployment)
        own = min(times.first_event_s, times.total_s) if record.call.request.stream else times.total_s
        return (own, "upstream_timeout") if own < left else (left, "deadline")

    async def _exchange(
        self, exchange: AnyExchange, deployment: Deployment, record: CallRecord, read: _Read[T]
    ) -> T | AmendedRequest:
        times = _timeouts(record, deployment)
        response = await self._upstream.send(deployment.endpoint, exchange.request, record.call.via, times)
        try:
            record.upstream_request_id = _upstream_request_id(response.headers)
            if 200 <= response.status < 300:
                limits = self._providers[deployment.provider].limits(response.headers, int(self._clock.now()))
                record.passed_headers = tuple((name, value) for name, value in limits if _PLAIN.fullmatch(value))
                return await read(response, exchange)
            body = await read_all(response, _LONGEST_ERROR)
            found = exchange.error(response.status, response.headers, body)
        except BaseException:
            response.close()
            raise
        response.close()
        if isinstance(found, AmendedRequest):
            return found
        raise found

    async def _whole(self, response: UpstreamResponse, exchange: AnyExchange) -> ChatResponse | EmbeddingsResponse:
        # A codec may ask for a stream by itself, where a provider wants that for long answers, and fold it.
        folds = isinstance(exchange.request, UpstreamRequest) and exchange.request.stream
        if media_type(response) not in (_JSON | _STREAMS if folds else _JSON):
            raise upstream_failure("bad_content_type")
        answer = exchange.answer(await read_all(response, self._retry_policy.answer_bytes))
        response.close()
        return answer

    async def _first_content(self, response: UpstreamResponse, chat: AnyExchange) -> Stream:
        exchange = cast("Exchange", chat)  # only a chat call streams
        if media_type(response) == "application/json":
            answer = cast("ChatResponse", await self._whole(response, exchange))
            return Stream(response, None, [*unfold(answer), End(answer.usage)])
        if media_type(response) not in _STREAMS:
            raise upstream_failure("bad_content_type")
        decoder = exchange.decoder()
        stream = Stream(response, decoder, await self._head(response, decoder))
        stream.expire_in(self._retry_policy.stream_s)
        return stream

    async def _head(self, response: UpstreamResponse, decoder: Decoder) -> list[StreamEvent]:
        """The events up to the first content; until then they are all held, so they are bounded (F26)."""
        head: list[StreamEvent] = []
        left = self._retry_policy.answer_bytes
        while True:
            data = await response.read()
            left -= len(data)
            if left < 0:
                raise upstream_failure("too_large")
            found = decoder.feed(data) if data else (decoder.close() or [upstream_failure("upstream_truncated")])
            head += found
            if _has_content(found):
                return head


def _remaining_s(record: CallRecord, now: float) -> float:
    """Seconds that are left of a call's time; exact where none has passed."""
    return record.call.deadline_s - (now - record.started)


def _committed(record: CallRecord) -> Deployment:
    """Who answers a call that has committed."""
    return cast("Deployment", record.deployment)


def _has_content(found: list[StreamEvent]) -> bool:
    """Whether the answer has begun with these events; raises the failure that came before it (F8, F9, F21, F22)."""
    for event in found:
        if isinstance(event, UpstreamError):
            raise event
        if isinstance(event, End):
            raise upstream_failure("bad_payload", "The provider's stream ended without any content.")
        if event.commits:
            return True
    return False


def _is_final(error: UpstreamError, record: CallRecord) -> bool:
    """Whether no other provider is asked after ``error``."""
    if error.code == "deadline" or error.kind in CALLERS_FAULT:
        return True
    return error.kind in MODELS_FAULT and record.call.request.model is not None


def _timeouts(record: CallRecord, deployment: Deployment) -> Timeouts:
    """The deployment's times, or what the caller asked for where that is shorter."""
    return deployment.endpoint.timeouts.within(record.call.requested_timeouts)


def _is_callers_timeout(error: UpstreamError, record: CallRecord, deployment: Deployment) -> bool:
    """Whether a time was over that the caller had made shorter: that says nothing about the provider."""
    own, asked = deployment.endpoint.timeouts, _timeouts(record, deployment)
    ended = () if error.upstream_status else _ENDED.get(error.code, ())
    return any(getattr(asked, name) != getattr(own, name) for name in ended)


def _loses_more(amend: AmendedRequest, exchange: AnyExchange, record: CallRecord) -> bool:
    """Whether a changed request would drop what strict mode does not allow to be dropped."""
    return record.call.strict and not set(amend.exchange.dropped) <= set(exchange.dropped)


def _may_help(error: UpstreamError) -> bool:
    """Whether the same deployment may be asked again: after a reset or a passing failure, soon (G1)."""
    soon = error.retry_after_s is None or error.retry_after_s <= RETRY_WAIT_S[1]
    return soon and (error.code == "upstream_reset" or error.upstream_status in _WORTH_A_RETRY)


def _final(error: UpstreamError, record: CallRecord) -> UpstreamError:
    """The failure the caller sees: the last one, with every attempt and no retry on top of ours (F33, G9)."""
    error.upstream_request_id = record.upstream_request_id
    if len(record.attempts) > 1:
        error.should_retry = False
        error.attempts = tuple(attempt.as_fields() for attempt in record.attempts)
    return error


def media_type(response: UpstreamResponse) -> str:
    """The content type without its parameters, in lower case."""
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _upstream_request_id(headers: Mapping[str, str]) -> str | None:
    found = (headers.get(name, "") for name in _UPSTREAM_IDS)
    return next((value for value in found if _PLAIN.fullmatch(value)), None)
