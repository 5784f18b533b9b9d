"""What the gateway reports about a call, and how an answer or a stream shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import field, frozen

from fwd_client._value import Value


@frozen
class PromptDetails(Value):
    """Parts of the prompt's tokens; each is contained in `Usage.prompt_tokens`."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None


@frozen
class CompletionDetails(Value):
    """Parts of the answer's tokens; each is contained in `Usage.completion_tokens`."""

    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


@frozen
class Usage(Value):
    """Tokens of one call; `cost` in US dollars, only where the provider states it."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = field(default=None, repr=False)
    completion_tokens_details: CompletionDetails | None = field(default=None, repr=False)
    cost: float | None = None


@frozen(kw_only=True)
class Receipt:
    """What the gateway reports about one call: who answered, in how many attempts, how fast.

    `attempts` counts the provider calls the gateway made; `retries` the calls this client repeated; `dropped` names
    the fields of the request that the provider does not support; `skipped` has the providers that were passed over,
    with the reason for each; `timings` are milliseconds by name (queue, attempt, first, total); `model` is the
    provider's own name for the model; `cost` is in US dollars, and `cost_kind` is `exact`, `estimated` or `unknown`;
    `call_id` names the call in the gateway's ledger; `budget_left` is what the key may still spend, in US dollars.
    What the gateway did not report is None or empty.
    """

    status: int = 200
    request_id: str | None = None
    provider: str | None = None
    model: str | None = None
    attempts: int | None = None
    retries: int = 0
    dropped: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(factory=dict)
    cost: float | None = None
    cost_kind: str | None = None
    call_id: str | None = None
    budget_left: float | None = None
    timings: Mapping[str, float] = field(factory=dict)
    upstream_request_id: str | None = None
    usage: Usage | None = None
    headers: Mapping[str, str] = field(factory=dict, repr=False)


class HasReceipt(Protocol):
    """An object with a receipt, as a field or as a property."""

    @property
    def receipt(self) -> Receipt:
        """What the gateway reports about the call."""
        ...


class Receipted:
    """The receipt's facts, one attribute away."""

    __slots__ = ()

    @property
    def request_id(self: HasReceipt) -> str | None:
        """The gateway's id of this call; its log and its errors carry the same one."""
        return self.receipt.request_id

    @property
    def provider(self: HasReceipt) -> str | None:
        """Who answered."""
        return self.receipt.provider

    @property
    def attempts(self: HasReceipt) -> int | None:
        """How many provider calls the gateway made."""
        return self.receipt.attempts

    @property
    def dropped(self: HasReceipt) -> tuple[str, ...]:
        """Fields of the request that the provider does not support."""
        return self.receipt.dropped

    @property
    def skipped(self: HasReceipt) -> Mapping[str, str]:
        """Providers that were passed over, each with the reason, as `{"anthropic": "provider_not_configured"}`."""
        return self.receipt.skipped

    @property
    def cost(self: HasReceipt) -> float | None:
        """US dollars, where the gateway knows."""
        return self.receipt.cost

    @property
    def timings(self: HasReceipt) -> Mapping[str, float]:
        """Milliseconds by name: queue, attempt, first, total."""
        return self.receipt.timings
