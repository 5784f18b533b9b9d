"""The running record of a call, and its frozen end."""

from __future__ import annotations

from attrs import define, field

from fwd_server.values import usage
from fwd_server.values.call import Attempt, Call, Outcome
from fwd_server.values.chat import ChatResponse, Chunk, Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import GatewayError, UpstreamError
from fwd_server.values.usage import Usage


@define
class CallRecord:
    """What has happened to a call so far. Times are monotonic seconds, handed in by who has the clock."""

    call: Call
    started: float
    attempts: list[Attempt] = field(factory=list)
    deployment: Deployment | None = None
    dropped: tuple[str, ...] = ()
    first_content_at: float | None = None
    committed_usage: Usage | None = None
    upstream_request_id: str | None = None
    passed_headers: tuple[tuple[str, str], ...] = ()
    error: GatewayError | None = None
    broke_midstream: bool = False
    was_disconnected: bool = False
    sent_tokens: int = 0

    def note_attempt(
        self, deployment: Deployment, began: float, now: float, error: UpstreamError | None = None
    ) -> None:
        """Note the end of an attempt: the failure, or None for the one that commits."""
        self.attempts.append(
            Attempt(
                deployment.provider,
                deployment.display_name,
                (now - began) * 1000,
                error.upstream_status if error else 200,
                error.code if error else None,
                error.kind if error else None,
            )
        )

    def note_commit(self, deployment: Deployment, dropped: tuple[str, ...], now: float) -> None:
        """From here on the answer is the caller's."""
        self.deployment, self.dropped, self.first_content_at = deployment, dropped, now

    @property
    def provider(self) -> str | None:
        """Who answered, or who was asked last."""
        if self.deployment is not None:
            return self.deployment.provider
        return self.attempts[-1].provider if self.attempts else None

    @property
    def model(self) -> str | None:
        """The model that answered or was asked last, as its provider names it."""
        if self.deployment is not None:
            return self.deployment.display_name
        return self.attempts[-1].model if self.attempts else None

    def settled_usage(self) -> Usage | None:
        """As the provider counted; of a stream that broke or was left, an estimate of what went out."""
        if self.committed_usage is not None or self.first_content_at is None:
            return self.committed_usage
        prompt = sum(usage.estimate_tokens(text) for text in self.call.request.texts())
        return Usage(prompt=prompt, completion=self.sent_tokens, estimated=True)

    def note_answer(self, response: ChatResponse) -> None:
        """Take the usage of a whole answer; where the provider gives none, its text is counted."""
        self.committed_usage = response.usage
        choices = response.data.get("choices") or ()
        if response.usage is None:
            self.sent_tokens = sum(_tokens(choice.get("message")) for choice in choices)

    def note_chunk(self, chunk: Chunk) -> None:
        """Count what goes out, for a stream whose usage never comes: a relayed event is one token, as most are."""
        if chunk.commits:
            self.sent_tokens += 1 if chunk.data is None else _delta_tokens(chunk.data)

    def to_outcome(self, now: float) -> Outcome:
        """The end of the call, for everybody who reports on it."""
        error = self.error
        return Outcome(
            id=self.call.id,
            caller=self.call.caller.name or self.call.caller.shown,
            requested_model=self.call.request.model,
            status=200 if error is None or self.broke_midstream else error.status,
            stream=self.call.request.stream,
            provider=self.provider,
            model=self.model,
            attempts=tuple(self.attempts),
            usage=self.settled_usage(),
            dropped=self.dropped,
            error=(error.code or error.type) if error else None,
            disconnected=self.was_disconnected,
            ttft_ms=None if self.first_content_at is None else (self.first_content_at - self.started) * 1000,
            total_ms=(now - self.started) * 1000,
            upstream_request_id=self.upstream_request_id,
            retry_count=self.call.retry_count,
            peer=self.call.peer,
        )


def _delta_tokens(data: Json) -> int:
    return sum(_tokens(choice.get("delta")) for choice in data.get("choices") or ())


def _tokens(said: Json | None) -> int:
    """Of a message or a delta; its content goes out as the provider wrote it, and may be no text at all."""
    content = (said or {}).get("content")
    return usage.estimate_tokens(content) if isinstance(content, str) else 0
