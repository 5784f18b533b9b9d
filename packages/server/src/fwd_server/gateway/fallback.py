"""Walks a plan until one attempt commits. Before the commit a failure may move on; after it, never (contract 3a, G2).

Refused             the deployment is skipped: nothing was sent, and no attempt is counted (G11)
a failure           ``routing/walk.py`` says what follows; an only candidate is retried once where that may help (G1)
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
from fwd_server.gateway.retry_policy import RetryPolicy, may_pass, retry_wait
from fwd_server.gateway.translation import AS_MEANT, NO_IMAGES, Aim, AnyExchange, Translation, Translator, aim_of
from fwd_server.providers.base import AmendedRequest, ChatExchange, UpstreamRequest
from fwd_server.routing.plan import Plan
from fwd_server.routing.state import RoutingState, RunningAttempt
from fwd_server.routing.table import Lane, Seat
from fwd_server.routing.walk import PlanWalk, Step
from fwd_server.upstream.deadline import Deadline
from fwd_server.upstream.images import ImageFetcher
from fwd_server.upstream.send import UpstreamResponse
from fwd_server.values.chat import ChatResponse
from fwd_server.values.deployment import Deployment
from fwd_server.values.embeddings import EmbeddingsResponse
from fwd_server.values.errors import GatewayError, Refused, UpstreamError, upstream_failure
from fwd_server.values.foreign import ForeignRequest
from fwd_server.values.record import CallRecord

T = TypeVar("T")


class FallbackRunner:
    """Runs calls over their plans. ``rand`` gives numbers from 0 to 1, to spread retries."""

    def __init__(
        self,
        translator: Translator,
        attempts: AttemptRunner,
        state: RoutingState,
        clock: Clock,
        retry_policy: RetryPolicy,
        images: ImageFetcher | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self.translator = translator
        self._attempts = attempts
        self._state = state
        self._clock = clock
        self._retry_policy = retry_policy
        self._images = images
        self._rand = rand

    async def answer_call(self, record: CallRecord, plan: Plan) -> ChatResponse | EmbeddingsResponse:
        """A whole answer. Raises GatewayError when no attempt gives one."""
        answer, running = await self._walk_plan(record, plan, self._read_whole)
        usage = answer.usage
        self._note_answer(record, running, 0 if usage is None else usage.completion)
        self._state.note_good_end(running.seat)
        self._state.end_attempt(running, None if usage is None else usage.total, record.first_content_at or 0.0)
        return answer

    async def open_stream(self, record: CallRecord, plan: Plan) -> CommittedStream:
        """A stream that has its first content. Raises GatewayError when no attempt gets there."""
        stream, running = await self._walk_plan(record, plan, self._read_first_content)
        self._note_answer(record, running, 0)
        stream.ended = functools.partial(self._judge_stream, record, running.seat)
        stream.closed = functools.partial(self._end_stream, record, running)
        # FWD_STREAM_TIMEOUT starts here, with the commit; the time before it belongs to the attempt.
        if stream.decoder is not None:  # a whole answer has nothing to wait for
            stream.end_after(self._retry_policy.stream_s)
        return stream

    # -- the walk

    async def _walk_plan(self, record: CallRecord, plan: Plan, read: ReadAnswer[T]) -> tuple[T, RunningAttempt]:
        walk = PlanWalk(plan, self._retry_policy.attempts)
        refusal: GatewayError | None = None
        failure: UpstreamError | None = None
        refused: list[tuple[str, str]] = []
        while (step := walk.next_step()) is not None:
            seat = step.seat
            target = seat.target
            barred = record.barred.get((target.provider, target.display_name)) if record.barred else None
            if barred is not None:  # this key may not use it, or a budget has no price for it (S22)
                refusal = refusal or barred
                refused.append((target.provider, barred.code or barred.type))
                continue
            try:
                images = await self._fetch_images(self._images, record, target) if self._images else NO_IMAGES
                translation = self.translator.translate_call(record.call, seat, _aim(record, plan, target), images)
            except Refused as error:
                # The first refusal is kept: it is about the provider the caller chose, so it is the one that helps.
                refusal = refusal or error
                refused.append((seat.target.provider, error.code or error.type))
                continue
            made = len(record.attempts)
            result = await self._try_seat(translation, step, record, walk, read)
            if not isinstance(result, UpstreamError):
                if refused or not plan.is_clear:
                    _note_skipped(record, plan, seat.lane, refused)
                return result
            failure = result
            if failure.code == "deadline" or not _may_continue(record):  # no time is left for anybody, or no money
                break
            if not walk.is_over:
                walk.note_failure(failure.kind, len(record.attempts) - made)
        _note_skipped(record, plan, None, refused)
        # A provider's failure tells the caller more than a refusal, with which nothing was sent.
        if failure is not None:
            raise _as_final(failure, record)
        raise refusal or upstream_failure("provider_error")

    async def _try_seat(
        self, translation: Translation, step: Step, record: CallRecord, walk: PlanWalk, read: ReadAnswer[T]
    ) -> tuple[T, RunningAttempt] | UpstreamError:
        """One seat: an attempt, an amended one where the codec asks for it, a retry where that may help."""
        exchange, needs = translation.exchange, walk.plan.ask
        most = len(record.attempts) + walk.attempts_left
        amended = retried = False
        while True:
            result = await self._attempts.run_attempt(exchange, step, needs, record, read)
            left = most - len(record.attempts)
            if isinstance(result, AmendedRequest):
                # One change per deployment: a provider that refuses one field after another would use up every attempt.
                if not amended and left > 0 and _may_amend(result, exchange, record):
                    exchange, amended = result.exchange, True
                    continue
                result = result.error
            if not isinstance(result, UpstreamError):
                dropped = translation.dropped_by(exchange)
                changed = translation.changed_by(exchange)
                record.commit(step.seat.target, dropped, self._clock.monotonic(), changed)
                return result
            may_help = not retried and left > 0 and may_pass(result)
            if not may_help or not walk.may_repeat(result.kind) or not _may_continue(record):
                return result
            wait_s = retry_wait(self._rand())
            # A retry that cannot begin before the deadline would replace the provider's error by our own timeout.
            if wait_s >= remaining_s(record, self._clock.monotonic()):
                return result
            retried = True
            await self._clock.sleep(wait_s)

    # -- what the gateway remembers

    def _note_answer(self, record: CallRecord, running: RunningAttempt, tokens: int) -> None:
        """The call has committed."""
        seat, stream = running.seat, record.call.request.stream
        now = record.first_content_at or 0.0
        self._state.note_answer(seat, record.attempts[-1].ms / 1000, now, stream=stream, tokens=tokens)
        if record.passed_headers:
            self._attempts.note_exhausted(seat, dict(record.passed_headers))

    def _judge_stream(self, record: CallRecord, seat: Seat, error: UpstreamError | None) -> None:
        """A committed stream has ended: its deployment's health knows only now (G8)."""
        if error is None:
            self._state.note_good_end(seat)
        else:
            self._attempts.note_failure(record, seat, error)

    def _end_stream(self, record: CallRecord, running: RunningAttempt) -> None:
        """Nobody reads a stream any more: its attempt is over."""
        usage = record.settled_usage() if running.reservations else None
        self._state.end_attempt(running, None if usage is None else usage.total, self._clock.monotonic())

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

    # -- images

    async def _fetch_images(
        self, images: ImageFetcher, record: CallRecord, deployment: Deployment
    ) -> Mapping[str, str]:
        """Fetch the images that the call links to, if the provider needs the bytes. Raises Refused."""
        links = self.translator.image_links(record.call, deployment)
        if not links:
            return NO_IMAGES
        try:
            with Deadline(remaining_s(record, self._clock.monotonic()), "deadline"):
                return await images.fetch_images(links)
        except UpstreamError as error:
            raise _as_final(error, record) from None


def _aim(record: CallRecord, plan: Plan, target: Deployment) -> Aim:
    """How a deployment relates to the one that the call was meant for; most calls are the same for all of them."""
    request = record.call.request
    if not request.extra_body and not isinstance(request, ForeignRequest):
        return AS_MEANT
    return aim_of(plan, target)


def _may_continue(record: CallRecord) -> bool:
    """Whether another attempt may be made: failed ones may be billed, and a budget must have room for the next."""
    return record.may_continue is None or record.may_continue()


def _may_amend(result: AmendedRequest, exchange: AnyExchange, record: CallRecord) -> bool:
    """Whether a changed request may be sent: strict mode must allow what it drops."""
    return not record.call.strict or set(result.exchange.dropped) <= set(exchange.dropped)


def _note_skipped(record: CallRecord, plan: Plan, answered: Lane | None, refused: list[tuple[str, str]]) -> None:
    """Say which providers were passed over on the way to this deployment, or to the failure (None)."""
    tried = [attempt.provider for attempt in record.attempts]
    skipped = plan.skipped(answered, tried)
    if skipped or refused:
        record.note_skipped(tuple(dict((*skipped, *refused)).items()))


def _as_final(error: UpstreamError, record: CallRecord) -> UpstreamError:
    """The failure the caller sees: the last one, with every attempt and no retry on top of ours (F33, G9)."""
    error.upstream_request_id = record.upstream_request_id
    if len(record.attempts) > 1:
        # The SDKs retry twice on their own. On top of our own attempts that would triple the load on a provider
        # that is failing already.
        error.should_retry = False
        error.attempts = tuple(attempt.as_fields() for attempt in record.attempts)
    return error
