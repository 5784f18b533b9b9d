"""What an answer says about itself: who gave it, after how many attempts, in what time."""

from __future__ import annotations

import re
from typing import Any, Final

from fwd_server.metering.money import NANO, format_usd
from fwd_server.values.chat import Json
from fwd_server.values.milliseconds import format_ms, round_ms
from fwd_server.values.receipt import LimitFacts, Receipt
from fwd_server.values.record import CallRecord

MAX_DROPPED: Final = 40
# A field's name is the caller's text, and a header must not carry whatever they send.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.*\[\]-]{1,96}")


def fact_headers(record: CallRecord, now: float) -> list[tuple[str, str]]:
    """The receipt of a call as headers (design: *Headers of a call*); what is not known is left out."""
    headers = [("x-fwd-attempts", str(len(record.attempts)))]
    provider = record.provider
    if record.shown_as is not None:
        headers.append(("x-fwd-model", record.shown_as))
    elif provider is not None:
        headers += (("x-fwd-provider", provider), ("x-fwd-model", record.model or ""))
    # Absent instead of empty: a client tests for the header.
    if record.dropped:
        headers.append(("x-fwd-dropped", dropped_names(record.dropped)))
    if record.changed:
        headers.append(("x-fwd-changed", ",".join(record.changed)))
    headers.append(("server-timing", _server_timing(record, now)))
    # Rate limits, ids and skipped providers would reveal who answers, so they stay hidden with it.
    passed = record.passed_headers
    if record.shown_as is not None:
        passed = ()
    else:
        if record.skipped:
            headers.append(("x-fwd-skipped", ",".join(f"{name}={reason}" for name, reason in record.skipped)))
        if record.upstream_request_id:
            headers.append(("x-fwd-upstream-request-id", record.upstream_request_id))
    if record.model_headers:
        headers += record.model_headers
    receipt = record.receipt
    if receipt is None:
        headers += passed
        return headers
    headers += cost_headers(receipt)
    # A provider's limits are those of the operator's account: a key with limits of its own is told of these.
    headers += limit_headers(receipt.limits) if receipt.limits else passed
    return headers


def cost_headers(receipt: Receipt) -> list[tuple[str, str]]:
    """What the call cost, in US dollars with nine decimals; an unknown cost is left out, never 0."""
    headers = [("x-fwd-cost-kind", receipt.kind)]
    if receipt.call_id:
        headers.append(("x-fwd-call-id", receipt.call_id))
    if receipt.cost is not None:
        headers.append(("x-fwd-cost", format_usd(receipt.cost)))
    if receipt.budget_left is not None:
        headers.append(("x-fwd-budget-left", format_usd(receipt.budget_left)))
    if receipt.is_over_soft_budget:
        headers.append(("x-fwd-budget", "over"))
    return headers


def limit_headers(limits: tuple[LimitFacts, ...]) -> list[tuple[str, str]]:
    """The key's own limits under OpenAI's names."""
    return [
        header
        for limit in limits
        for header in (
            (f"x-ratelimit-limit-{limit.name}", str(limit.limit)),
            (f"x-ratelimit-remaining-{limit.name}", str(limit.remaining)),
            (f"x-ratelimit-reset-{limit.name}", f"{-int(-limit.reset_s // 1)}s"),
        )
    ]


def receipt_facts(record: CallRecord, now: float | None = None) -> Json:
    """The same as an object, for the comment in a stream; with ``now`` its end is included."""
    revealed = record.shown_as is None
    said: dict[str, Any] = {
        "request_id": record.call.id,
        "provider": record.provider if revealed else None,
        "model": record.model if revealed else record.shown_as,
        "attempts": len(record.attempts),
        "dropped": list(record.dropped) or None,
        "changed": list(record.changed) or None,
        "skipped": (dict(record.skipped) or None) if revealed else None,
        "upstream_request_id": record.upstream_request_id if revealed else None,
        "timings": None if now is None else call_timings(record, now),
        "usage": None if now is None else _usage_facts(record),
    }
    if record.receipt is not None and now is not None:
        said |= cost_facts(record.receipt)
    return {name: value for name, value in said.items() if value is not None}


def cost_facts(receipt: Receipt) -> Json:
    """What a call cost, in dollars and as the exact number of nano-dollars."""
    return {
        "call_id": receipt.call_id or None,
        "cost_usd": None if receipt.cost is None else receipt.cost / NANO,
        "cost_nano": receipt.cost,
        "cost_kind": receipt.kind,
        "budget_left_usd": None if receipt.budget_left is None else receipt.budget_left / NANO,
    }


def _usage_facts(record: CallRecord) -> Json | None:
    usage = record.settled_usage()
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "estimated": usage.estimated,
    }


def call_timings(record: CallRecord, now: float) -> dict[str, float]:
    """Milliseconds: the wait for us, the last attempt's own time, and from the call's start to content and end."""
    timings = {"queue": round_ms(record.call.queued_ms)}
    if record.attempts:
        timings["attempt"] = round_ms(record.attempts[-1].ms)
    if record.first_content_at is not None:
        timings["first"] = round_ms((record.first_content_at - record.started) * 1000)
    timings["total"] = round_ms((now - record.started) * 1000)
    return timings


def _server_timing(record: CallRecord, now: float) -> str:
    """The same as the header of that name (https://www.w3.org/TR/server-timing/)."""
    attempt = f", attempt;dur={format_ms(record.attempts[-1].ms)}" if record.attempts else ""
    content_at = record.first_content_at
    first = "" if content_at is None else f", first;dur={format_ms((content_at - record.started) * 1000)}"
    total = format_ms((now - record.started) * 1000)
    return f"queue;dur={format_ms(record.call.queued_ms)}{attempt}{first}, total;dur={total}"


def dropped_names(names: tuple[str, ...]) -> str:
    """The fields left out, as a header's value: a caller chose their names, so only plain ones are shown."""
    shown = [name if _PLAIN.fullmatch(name) else "?" for name in names[:MAX_DROPPED]]
    return ",".join([*shown, *(["..."] if len(names) > MAX_DROPPED else [])])
