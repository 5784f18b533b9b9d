"""Walks a plan until one attempt commits. Before the commit a failure may move on; after it, never (contract 3a, G2).

Refused             the deployment is skipped: nothing was sent, and no attempt is counted (G11)
the caller's fault  ends at once; so does a missing model or a full context, unless we chose the model (F17)
anything else       moves on to the next deployment; an only candidate is retried once where that may help (G1)
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from fwd_server.clock import Clock
from fwd_server.gateway.attempt import AttemptRunner, ReadAnswer, remaining_s
from fwd_server.gateway.reading import read_first_content, read_whole
from fwd_server.gateway.relay import CommittedStream
from fwd_server.gateway.retry_policy import NextStep, RetryPolicy, next_step, retry_wait
from fwd_server.gateway.translation import NO_IMAGES, AnyExchange, Translation, Translator
from fwd_server.providers.base import AmendedRequest, ChatExchange, UpstreamRequest
from fwd_server.routing.health import Health
from fwd_server.upstream.deadline import Deadline
from fwd_server.upstream.images import ImageFetcher
from fwd_server.upstream.send import UpstreamResponse
from fwd_server.values.chat import ChatResponse
from fwd_server.values.deployment import Deployment
from fwd_server.values.embeddings import EmbeddingsResponse
from fwd_server.values.errors import GatewayError, Refused, UpstreamError, upstream_failure
from fwd_server.values.record import CallRecord

T = TypeVar("T")


class FallbackRunner:
    """Runs calls over their plans. ``rand`` gives numbers from 0 to 1, to spread retries."""

    def __init__(
        self,
        translator: Translator,
        attempts: AttemptRunner,
        health: Health,
        clock: Clock,
        retry_policy: RetryPolicy,
        images: ImageFetcher | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self.translator = translator
        self._attempts = attempts
        self._health = health
        self._clock = clock
        self._retry_policy = retry_policy
        self._images = images
        self._rand = rand

    async def answer_call(self, record: CallRecord, plan: tuple[Deployment, ...]) -> ChatResponse | EmbeddingsResponse:
        """A whole answer. Raises GatewayError when no attempt gives one."""
        answer = await self._walk_plan(record, plan, self._read_whole)
        self._health.note_success(_committed_deployment(record))
        return answer

    async def open_stream(self, record: CallRecord, plan: tuple[Deployment, ...]) -> CommittedStream:
        """A stream that has its first content. Raises GatewayError when no attempt gets there."""
        stream = await self._walk_plan(record, plan, self._read_first_content)
        stream.ended = functools.partial(self._judge_stream, record)
        # FWD_STREAM_TIMEOUT starts here, with the commit; the time before it belongs to the attempt.
        if stream.decoder is not None:  # a whole answer has nothing to wait for
            stream.end_after(self._retry_policy.stream_s)
        return stream

    # -- the walk

    async def _walk_plan(self, record: CallRecord, plan: tuple[Deployment, ...], read: ReadAnswer[T]) -> T:
        only_candidate = len(plan) == 1
        refusal: GatewayError | None = None
        failure: UpstreamError | None = None
        # Deployments that cool down come last instead of being skipped: when all of them do, one is still tried.
        for deployment in self._health.order_by_health(plan, self._clock.monotonic()):
            barred = record.barred.get((deployment.provider, deployment.display_name)) if record.barred else None
            if barred is not None:  # this key may not use it, or a budget has no price for it (S22)
                refusal = refusal or barred
                continue
            try:
                images = await self._fetch_images(record, deployment)
                selected = deployment.provider == plan[0].provider
                translation = self.translator.translate_call(
                    record.call, deployment, selected=selected, images=images, moved=deployment.model != plan[0].model
                )
            except Refused as error:
                # The first refusal is kept: it is about the provider the caller chose, so it is the one that helps.
                refusal = refusal or error
                continue
            result = await self._try_deployment(translation, deployment, record, read, only_candidate=only_candidate)
            if not isinstance(result, UpstreamError):
                return result
            failure = result
            if self._next_step(failure, record, only_candidate=only_candidate, retried=True) is NextStep.GIVE_UP:
                break
        # A failure at a provider tells the caller more than a refusal, for which nothing was sent.
        if failure is not None:
            raise _as_final(failure, record)
        raise refusal or upstream_failure("provider_error")

    async def _try_deployment(
        self,
        translation: Translation,
        deployment: Deployment,
        record: CallRecord,
        read: ReadAnswer[T],
        *,
        only_candidate: bool,
    ) -> T | UpstreamError:
        """One deployment: an attempt, an amended one where the codec asks for it, a retry where that may help."""
        exchange = translation.exchange
        amended = retried = False
        while True:
            result = await self._attempts.run_attempt(exchange, deployment, record, read)
            if isinstance(result, AmendedRequest):
                # One change per deployment: a provider that refuses one field after another would use up every attempt.
                if not amended and self._may_amend(result, exchange, record):
                    exchange, amended = result.exchange, True
                    continue
                result = result.error
            if not isinstance(result, UpstreamError):
                record.commit(deployment, translation.dropped_by(exchange), self._clock.monotonic())
                return result
            if self._next_step(result, record, only_candidate=only_candidate, retried=retried) is not NextStep.RETRY:
                return result
            wait_s = retry_wait(self._rand())
            # A retry that cannot begin before the deadline would replace the provider's error by our own timeout.
            if wait_s >= remaining_s(record, self._clock.monotonic()):
                return result
            retried = True
            await self._clock.sleep(wait_s)

    def _next_step(self, error: UpstreamError, record: CallRecord, *, only_candidate: bool, retried: bool) -> NextStep:
        step = next_step(
            error,
            attempts_left=self._retry_policy.attempts - len(record.attempts),
            only_candidate=only_candidate,
            retried=retried,
            model_named=record.call.request.model is not None,
        )
        if step is NextStep.GIVE_UP or record.may_continue is None or record.may_continue():
            return step
        return NextStep.GIVE_UP  # the failed attempts may be billed, and a budget has no room for another one

    def _may_amend(self, result: AmendedRequest, exchange: AnyExchange, record: CallRecord) -> bool:
        """Whether a changed request may be sent: an attempt is left, and strict mode allows what it drops."""
        if len(record.attempts) >= self._retry_policy.attempts:
            return False
        return not record.call.strict or set(result.exchange.dropped) <= set(exchange.dropped)

    # -- reading

    async def _read_whole(
        self, response: UpstreamResponse, exchange: AnyExchange, limit: Deadline
    ) -> ChatResponse | EmbeddingsResponse:
        return await read_whole(response, exchange, self._retry_policy.answer_bytes)

    async def _read_first_content(
        self, response: UpstreamResponse, exchange: AnyExchange, limit: Deadline
    ) -> CommittedStream:
        chat = cast("ChatExchange", exchange)  # only a chat call streams
        lines = isinstance(chat.request, UpstreamRequest) and chat.request.json_lines
        most = self._retry_policy.answer_bytes
        return await read_first_content(response, chat, most, limit.restart, json_lines=lines)

    def _judge_stream(self, record: CallRecord, error: UpstreamError | None) -> None:
        """A committed stream has ended: its deployment's health knows only now (G8)."""
        if error is None:
            self._health.note_success(_committed_deployment(record))
        else:
            self._attempts.note_failure(record, _committed_deployment(record), error)

    # -- images

    async def _fetch_images(self, record: CallRecord, deployment: Deployment) -> Mapping[str, str]:
        """What the call's image links lead to, where the provider needs the bytes. Raises Refused."""
        if self._images is None:
            return NO_IMAGES
        links = self.translator.image_links(record.call, deployment)
        if not links:
            return NO_IMAGES
        try:
            with Deadline(remaining_s(record, self._clock.monotonic()), "deadline"):
                return await self._images.fetch_images(links)
        except UpstreamError as error:
            raise _as_final(error, record) from None


def _committed_deployment(record: CallRecord) -> Deployment:
    """Who answers a call that has committed."""
    return cast("Deployment", record.deployment)


def _as_final(error: UpstreamError, record: CallRecord) -> UpstreamError:
    """The failure the caller sees: the last one, with every attempt and no retry on top of ours (F33, G9)."""
    error.upstream_request_id = record.upstream_request_id
    if len(record.attempts) > 1:
        # The SDKs retry twice by themselves. On top of our own attempts that would triple the load on a provider
        # that is failing already.
        error.should_retry = False
        error.attempts = tuple(attempt.as_fields() for attempt in record.attempts)
    return error
