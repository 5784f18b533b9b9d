"""The access log: one line for every call and every other request, written by an observer (contract T37).

A line is one Struct, encoded by msgspec. Where our own handler writes JSON lines, it goes there as bytes: ``logging``
itself costs 28 µs a record. Everywhere else (text on a terminal, handlers of an embedder, tests) it is an ordinary
record of the logger ``fwd.access`` with its fields in ``fwd_fields``.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec

from fwd_server.observe import log
from fwd_server.observe.hub import Observer
from fwd_server.values.call import Attempt, Outcome, RequestEnd
from fwd_server.values.milliseconds import round_ms
from fwd_server.values.usage import Usage

# Failures that do not go away on their own (contract F4, F18).
_ALARMS: Final = {
    "provider_auth": "the provider refused the gateway's API key; check its variable",
    "tls_failed": "the TLS connection is not trusted; nothing was sent",
}


class AttemptLine(msgspec.Struct, gc=False):
    """One attempt in the line of its call; ``ms`` until its commit or failure."""

    provider: str
    model: str
    status: int | None
    code: str | None
    ms: float


class AccessLine(msgspec.Struct, omit_defaults=True, gc=False):
    """The fields of a line in their order; those without a value are left out. Times are in milliseconds."""

    id: str
    key: str | None = None
    key_id: str | None = None
    peer: str | None = None
    status: int | None = None
    method: str | None = None
    path: str | None = None
    requested_model: str | None = None
    provider: str | None = None
    model: str | None = None
    stream: bool | None = None
    ttft_ms: float | None = None
    total_ms: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    tokens_reasoning: int | None = None
    tokens_estimated: bool | None = None
    cost_usd: float | None = None
    error: str | None = None
    param: str | None = None
    disconnected: bool | None = None
    dropped: tuple[str, ...] | None = None
    skipped: dict[str, str] | None = None
    attempts: list[AttemptLine] | None = None
    upstream_request_id: str | None = None
    client_retry: int | None = None


class AccessLog(Observer):
    """Writes the lines, and an alarm for each attempt that an operator must see to."""

    def call_ended(self, outcome: Outcome) -> None:
        """The line of a call."""
        # A caller's mistake (4xx) is no news to an operator.
        level = logging.WARNING if outcome.status >= 500 else logging.INFO
        # Checked first: making a line costs more than everything else here.
        if log.access.isEnabledFor(level):
            write_line(call_line(outcome), level)
        for attempt in outcome.attempts:
            if attempt.code in _ALARMS:
                _raise_alarm(outcome, attempt, _ALARMS[attempt.code])

    def request_ended(self, request: RequestEnd) -> None:
        """The line of any other request."""
        level = logging.WARNING if request.status >= 500 else logging.INFO
        if log.access.isEnabledFor(level):
            write_line(request_line(request), level)


def write_line(line: AccessLine, level: int) -> None:
    """Send a line the short way where our own handler writes JSON, else through ``logging``."""
    # Asked for every line: an embedder may configure logging at any time.
    handler = log.json_handler()
    if handler is not None:
        handler.write_fields(level, log.access.name, b'"request",' + msgspec.json.encode(line)[1:])
    else:
        fields = {name: value for name, value in msgspec.to_builtins(line).items() if value is not None}
        log.access.log(level, "request", extra={log.FIELDS: fields})


def call_line(outcome: Outcome) -> AccessLine:
    """The line of a call."""
    line = AccessLine(
        id=outcome.id,
        # The name and the id of the key, never the key.
        key=outcome.caller or None,
        key_id=outcome.key_id or None,
        peer=outcome.peer or None,
        status=outcome.status,
        requested_model=outcome.requested_model,
        provider=outcome.provider,
        model=outcome.model,
        stream=outcome.stream,
        ttft_ms=None if outcome.ttft_ms is None else round_ms(outcome.ttft_ms),
        total_ms=round_ms(outcome.total_ms),
        error=outcome.error,
        param=outcome.param,
        disconnected=outcome.disconnected or None,
        dropped=outcome.dropped or None,
        skipped=dict(outcome.skipped) or None,
        attempts=[_attempt_line(attempt) for attempt in outcome.attempts] or None,
        upstream_request_id=outcome.upstream_request_id,
        client_retry=outcome.retry_count,
    )
    if outcome.usage is not None:
        _add_usage(line, outcome.usage)
    return line


def request_line(request: RequestEnd) -> AccessLine:
    """The line of a request that was no call."""
    return AccessLine(
        id=request.id,
        key=request.key,
        key_id=request.key_id,
        requested_model=request.requested_model,
        peer=request.peer or None,
        status=request.status,
        method=request.method,
        path=request.path or None,
        error=request.error,
        param=request.param,
        total_ms=request.total_ms or None,
    )


def _attempt_line(attempt: Attempt) -> AttemptLine:
    return AttemptLine(attempt.provider, attempt.model, attempt.status, attempt.code, round_ms(attempt.ms))


def _add_usage(line: AccessLine, usage: Usage) -> None:
    line.tokens_in, line.tokens_out = usage.prompt, usage.completion
    line.tokens_cached = usage.cached or None
    line.tokens_reasoning = usage.reasoning or None
    line.tokens_estimated = usage.estimated or None
    line.cost_usd = usage.cost_usd


def _raise_alarm(outcome: Outcome, attempt: Attempt, advice: str) -> None:
    fields: dict[str, Any] = {"id": outcome.id, **attempt.as_fields()}
    log.upstream.error("%s: %s", attempt.provider, advice, extra={log.FIELDS: fields})
