"""Values of the SDK as text or Rich renderables; pure, and the only place that decides how a fact is worded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fwd_cli.terminal import clean_json, clean_line

if TYPE_CHECKING:
    from fwd_client import Chat, Chunk, Delta, Message, Model, Receipt, Retry, ToolCall, Usage

FINISH_TEXTS = {
    "length": "cut off at the token limit",
    "content_filter": "cut off by the provider's content filter",
    "tool_calls": "the model asks for a tool",
}

SKIP_TEXTS = {
    "provider_not_configured": "has no key here",
    "provider_not_available": "is not available in this version",
    "cooling_down": "is cooling down after failures",
    "model_not_allowed": "is not allowed for this key",
    "price_unknown": "has no known price",
    "price_ratio": "costs too much",
    "own_limit": "is at a limit of this gateway",
    "context_length": "takes no prompt of this length",
}
"""Why a provider was passed over, by the reason in ``x-fwd-skipped``."""

RETRY_TEXTS = {
    "rate_limit_exceeded": "rate limit",
    "overloaded": "the gateway is full",
    "provider_overloaded": "overloaded",
    "shutdown": "the gateway is restarting",
}
"""Why a call is repeated, by the code of the error."""

MODEL_COLUMNS = ("model", "context", "$ in", "$ out", "abilities", "listed")
COMPACT_COLUMNS = ("model", "context", "$ in", "$ out", "can", "by")
MODEL_NUMBERS = ("context", "$ in", "$ out")


def seconds(value: float) -> str:
    """A duration for people: 4 ms, 0.31 s, 12.4 s."""
    if value < 0.1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def tokens(usage: Usage | None) -> str:
    """What went in and what came out."""
    return f"{usage.prompt_tokens:,}→{usage.completion_tokens:,} tok" if usage else ""


def receipt_line(
    receipt: Receipt,
    total_s: float,
    first_s: float | None,
    finish: str | None = None,
    requested: str | None = None,
) -> str:
    """One line on how an answer came about: model, provider, times, tokens, what was unusual, request id.

    ``requested`` is the model that was asked for: when another one answered, the line says so first.
    """
    first = f" (first token {seconds(first_s)})" if first_s is not None else ""
    facts = (
        substitution(receipt, requested),
        _served_by(receipt),
        seconds(total_s) + first,
        tokens(receipt.usage),
        money(receipt.cost) if receipt.cost is not None else "",
        f"{receipt.attempts} attempts" if (receipt.attempts or 1) > 1 else "",
        f"repeated {receipt.retries}x" if receipt.retries else "",
        f"not sent: {', '.join(receipt.dropped)}" if receipt.dropped else "",
        FINISH_TEXTS.get(finish or "", ""),
        receipt.request_id or "",
    )
    return clean_line(" · ".join(fact for fact in facts if fact))


def substitution(receipt: Receipt, requested: str | None) -> str:
    """``asked for claude-opus-4-8, answered by gpt-5-mini: anthropic has no key here``; empty when that is no news.

    Providers that were skipped are named with their reason, also when no model was asked for.
    """
    reasons = ", ".join(_skip_text(name, reason) for name, reason in receipt.skipped.items())
    if not reasons:
        return ""
    # Without a model named, any answer is what was asked for.
    if requested and receipt.model and requested != receipt.model:
        return f"asked for {requested}, answered by {receipt.model}: {reasons}"
    return reasons


def _skip_text(provider: str, reason: str) -> str:
    return f"{provider} {SKIP_TEXTS.get(reason) or 'was skipped' + (f' ({reason})' if reason else '')}"


def retry_line(retry: Retry) -> str:
    """Why and how long a call waits: ``rate limit at openai: again in 7 s (1 of 2), Ctrl-C stops``."""
    error = retry.error
    code = error.code or ""
    what = RETRY_TEXTS.get(code) or (code.replace("_", " ") if code else "no connection")
    where = f" at {error.provider}" if error.provider else ""
    # "again in 12 ms" says less than it seems to.
    wait = "now" if retry.delay_s < 0.05 else f"in {seconds(retry.delay_s)}"
    return f"{what}{where}: again {wait} ({retry.number} of {retry.max_retries}), Ctrl-C stops"


def money(dollars: float) -> str:
    """An amount of US dollars: $0.0021, $1.25."""
    return f"${dollars:.2f}" if dollars >= 1 else f"${dollars:.6f}".rstrip("0").rstrip(".") if dollars else "$0"


def _served_by(receipt: Receipt) -> str:
    model, provider = receipt.model or "", receipt.provider or ""
    return f"{model} via {provider}" if model and provider else model or provider


def receipt_facts(receipt: Receipt) -> dict[str, Any]:
    """The receipt for programs: the ``fwd`` object of ``--json``."""
    facts: dict[str, Any] = {
        "request_id": receipt.request_id,
        "provider": receipt.provider,
        "model": receipt.model,
        "attempts": receipt.attempts,
        "dropped": list(receipt.dropped),
        "skipped": dict(receipt.skipped) or None,
        "cost": receipt.cost,
        "timings": dict(receipt.timings),
    }
    return {name: value for name, value in facts.items() if value is not None}


def as_json(value: Mapping[str, Any], *, indent: int | None = None) -> str:
    """One line of JSON text, or an indented one, that is safe to show on a terminal; the newline is part of it."""
    return clean_json(json.dumps(value, ensure_ascii=False, indent=indent)) + "\n"


def answer_json(answer: Chat) -> str:
    """A whole answer as the gateway gave it, and its receipt under ``fwd``."""
    return as_json({**answer.to_dict(), "fwd": receipt_facts(answer.receipt)}, indent=2)


def chunk_json(chunk: Chunk) -> str:
    """One piece of an answer as one line."""
    return as_json(chunk.to_dict())


def receipt_json(receipt: Receipt) -> str:
    """The last line of a stream of JSON lines."""
    return as_json({"fwd": receipt_facts(receipt)})


def message_text(message: Message | Delta) -> str:
    """What a message, or a piece of one, says to the reader: its text, or its refusal."""
    return message.content or message.refusal or ""


def chunk_text(chunk: Chunk) -> str:
    """What a piece of an answer adds to what the reader sees."""
    return "".join(message_text(choice.delta) for choice in chunk.choices if choice.index == 0)


def chunk_thinking(chunk: Chunk) -> str:
    """What a piece of an answer adds to the model's thinking."""
    return "".join(choice.delta.reasoning_content or "" for choice in chunk.choices if choice.index == 0)


def tool_call(call: ToolCall) -> str:
    """A call a model asks for, as it would stand in a program."""
    return clean_line(f"{call.function.name}({call.function.arguments})")


def model_row(model: Model) -> tuple[str, ...]:
    """A model in the order of ``MODEL_COLUMNS``; what is not known is empty, and no price is not a price of 0."""
    known = model.fwd
    prices = known.get("prices") or {}
    cells = (
        model.id,
        _full_count(known.get("context")),
        _price_text(prices.get("input")),
        _price_text(prices.get("output")),
        ", ".join(map(str, known.get("abilities") or ())),
        str(known.get("listed") or ""),
    )
    return tuple(clean_line(cell) for cell in cells)


LETTERS = {
    "tools": "t",
    "reasoning": "r",
    "vision": "v",
    "json_schema": "j",
    "pdf": "p",
    "audio_input": "a",
    "prompt_cache": "c",
}
MARKS = {"provider": "✓", "table": "○", "configured": "✎"}
LEGEND = (
    "can: t tools, r reasoning, v vision, j JSON Schema, p PDF, a audio, c prompt cache · "
    "by: ✓ listed by the provider, ○ known from the built-in table, ✎ named in the settings · $ per million tokens"
)


def compact_model_row(model: Model) -> tuple[str, ...]:
    """A model in the order of ``COMPACT_COLUMNS``: letters and marks, so that a line fits 80 columns."""
    known = model.fwd
    prices = known.get("prices") or {}
    abilities = known.get("abilities") or ()
    cells = (
        model.id,
        _short_count(known.get("context")),
        _price_text(prices.get("input")),
        _price_text(prices.get("output")),
        "".join(letter if name in abilities else "·" for name, letter in LETTERS.items()) if abilities else "",
        MARKS.get(str(known.get("listed")), ""),
    )
    return tuple(clean_line(cell) for cell in cells)


def _short_count(value: object) -> str:
    """922k, 1M, 1.05M: a context window as people say it."""
    if not isinstance(value, int):
        return ""
    if value >= 1_000_000:
        return f"{value / 1_000_000:.2f}".rstrip("0").rstrip(".") + "M"
    return f"{value / 1000:.0f}k" if value >= 1000 else str(value)


def _full_count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _price_text(value: object) -> str:
    if not isinstance(value, (int, float)):
        return ""
    # Prices of a few cents per million need more digits than two.
    return f"{value:.2f}" if value == round(value, 2) else f"{value:.4g}"
