"""The running record of a call: written by its own methods alone, frozen as an ``Outcome`` at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from fwd_server.values import usage
from fwd_server.values.call import Attempt, Call, Outcome
from fwd_server.values.chat import ChatResponse, Chunk, End, Json, StreamEvent
from fwd_server.values.deployment import Deployment
from fwd_server.values.embeddings import EmbeddingsResponse
from fwd_server.values.errors import GatewayError, UpstreamError
from fwd_server.values.receipt import Receipt
from fwd_server.values.usage import Usage


class CallPlan(Protocol):
    """Where a call may go."""

    def deployments(self) -> tuple[Deployment, ...]:
        """Every deployment it may reach, in the order in which they are written."""
        ...


class CallRecord(msgspec.Struct, eq=False):
    """The record of a call so far.

    Times are monotonic seconds, handed in by whoever has the clock. Fields are public to read; only the methods
    below change them, so that every change of a call's state can be found in this file.

    ``shown_as`` is the name of a model that is not to be revealed: then callers are told it in place of provider and
    model. ``model_headers`` are what answers say of the model itself (that it is deprecated). ``skipped`` are providers
    that were passed over, each with the reason; ``changed`` are parameters that the gateway's file set.
    """

    call: Call
    started: float
    attempts: list[Attempt] = []
    deployment: Deployment | None = None
    dropped: tuple[str, ...] = ()
    first_content_at: float | None = None
    usage: Usage | None = None
    upstream_request_id: str | None = None
    passed_headers: tuple[tuple[str, str], ...] = ()
    error: GatewayError | None = None
    broke_midstream: bool = False
    was_disconnected: bool = False
    sent_tokens: int = 0
    running: tuple[Deployment, float] | None = None  # the attempt that runs now, and since when
    # What the policies have made of it. ``barred`` are providers and models that this call must not go to, and why.
    admitted: Any = None
    receipt: Receipt | None = None
    barred: Mapping[tuple[str, str], GatewayError] = msgspec.field(default_factory=dict)
    may_continue: Callable[[], bool] | None = None  # asked before another attempt
    plan: CallPlan | None = None
    shown_as: str | None = None
    model_headers: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    changed: tuple[str, ...] = ()

    # -- the plan

    def note_plan(self, plan: CallPlan, shown_as: str | None, model_headers: tuple[tuple[str, str], ...]) -> None:
        """The plan is made; policies may look at it before it is used."""
        self.plan, self.shown_as, self.model_headers = plan, shown_as, model_headers

    def note_skipped(self, skipped: tuple[tuple[str, str], ...]) -> None:
        """These providers were passed over on the way to the answer, or to the failure."""
        self.skipped = skipped

    # -- attempts

    def begin_attempt(self, deployment: Deployment, began: float) -> None:
        """A provider is about to be tried."""
        self.running = deployment, began

    def note_response_head(self, upstream_request_id: str | None) -> None:
        """A provider has begun to answer; its own id for the request helps its support, and is passed on."""
        self.upstream_request_id = upstream_request_id

    def note_rate_limits(self, headers: tuple[tuple[str, str], ...]) -> None:
        """The rate limits that the provider stated beside a good answer, under OpenAI's names."""
        self.passed_headers = headers

    def note_attempt(
        self, deployment: Deployment, began: float, now: float, error: UpstreamError | None = None, why: str = "first"
    ) -> Attempt:
        """An attempt has ended: with the failure, or None for the one that commits."""
        attempt = Attempt(
            deployment.provider,
            deployment.display_name,
            (now - began) * 1000,
            error.upstream_status if error else 200,
            error.code if error else None,
            error.kind if error else None,
            why,
        )
        self.attempts.append(attempt)
        self.running = None
        return attempt

    def commit(
        self, deployment: Deployment, dropped: tuple[str, ...], now: float, changed: tuple[str, ...] = ()
    ) -> None:
        """From here on the answer is the caller's, and no other deployment is tried (contract 3a)."""
        self.deployment, self.dropped, self.first_content_at, self.changed = deployment, dropped, now, changed

    # -- the answer

    def note_answer(self, response: ChatResponse | EmbeddingsResponse) -> None:
        """Take the usage of a whole answer; where the provider states none, its text is counted."""
        self.usage = response.usage
        if response.usage is None and isinstance(response, ChatResponse):
            choices = response.data.get("choices") or ()
            self.sent_tokens = sum(_content_tokens(choice.get("message")) for choice in choices)

    def note_event(self, event: StreamEvent) -> None:
        """Take note of what goes out on a stream.

        Chunks are counted for a stream whose usage never comes: a relayed one is a token, as most are.
        """
        # The usual case first: a stream has hundreds of chunks and one end.
        if isinstance(event, Chunk):
            if event.commits:
                # A relayed chunk was never parsed; to parse it only for this would undo the gain of relaying.
                self.sent_tokens += 1 if event.data is None else _delta_tokens(event.data)
        elif isinstance(event, End):
            self.usage = event.usage
        else:
            self.fail(event, midstream=True)

    # -- the end

    def fail(self, error: GatewayError, *, midstream: bool = False) -> None:
        """The call has failed; ``midstream`` says that the caller had a status of 200 by then."""
        self.error, self.broke_midstream = error, midstream

    def disconnect(self) -> None:
        """The caller went away before the answer was complete."""
        self.was_disconnected = True

    # -- reading

    @property
    def provider(self) -> str | None:
        """Who answered, or who was tried last."""
        if self.deployment is not None:
            return self.deployment.provider
        return self.attempts[-1].provider if self.attempts else None

    @property
    def model(self) -> str | None:
        """The model that answered or was tried last, as its provider names it."""
        if self.deployment is not None:
            return self.deployment.display_name
        return self.attempts[-1].model if self.attempts else None

    def settled_usage(self) -> Usage | None:
        """As the provider counted; of a stream that broke or was abandoned, an estimate of what went out."""
        if self.usage is not None or self.first_content_at is None:
            return self.usage
        # Providers charge for what was sent before the caller disconnected, so an abandoned stream is not free.
        prompt = sum(usage.estimate_tokens(text) for text in self.call.request.texts())
        return Usage(prompt=prompt, completion=self.sent_tokens, estimated=True)

    def to_outcome(self, now: float) -> Outcome:
        """The end of the call, for every observer."""
        call, error = self.call, self.error
        return Outcome(
            id=call.id,
            caller=call.caller.label,
            requested_model=call.request.model,
            # The head was out when the stream broke, so 200 is what the caller saw.
            status=200 if error is None or self.broke_midstream else error.status,
            stream=call.request.stream,
            provider=self.provider,
            model=self.model,
            attempts=tuple(self.attempts),
            usage=self.settled_usage(),
            dropped=self.dropped,
            skipped=self.skipped,
            error=(error.code or error.type) if error else None,
            param=error.param if error else None,
            disconnected=self.was_disconnected,
            ttft_ms=None if self.first_content_at is None else (self.first_content_at - self.started) * 1000,
            total_ms=(now - self.started) * 1000,
            upstream_request_id=self.upstream_request_id,
            retry_count=call.retry_count,
            peer=call.peer,
            key_id=call.caller.key_id,
        )


def _delta_tokens(data: Json) -> int:
    return sum(_content_tokens(choice.get("delta")) for choice in data.get("choices") or ())


def _content_tokens(message: Json | None) -> int:
    """Of a message or a delta; its content goes out as the provider wrote it, and may be no text at all."""
    content = (message or {}).get("content")
    return usage.estimate_tokens(content) if isinstance(content, str) else 0
