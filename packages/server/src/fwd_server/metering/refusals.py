"""Why a call is not admitted: as a value for the book, and as the error its caller reads.

Two kinds of refusal differ in one header. A *final* one says ``x-should-retry: false``: waiting a second does not help.
A *passing* one has a ``retry-after``, and SDKs try again. A message names the rule in words, and no other key's.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

from attrs import frozen

from fwd_server.metering.money import show_usd
from fwd_server.metering.periods import Period
from fwd_server.metering.rules import LIMITS, WINDOW_NAMES, Rule
from fwd_server.values.errors import GatewayError

# code -> (status, type, whether waiting is useless)
_CODES: Final[dict[str, tuple[int, str, bool]]] = {
    "rate_limit_exceeded": (429, "rate_limit_error", False),
    "request_exceeds_limit": (429, "rate_limit_error", True),
    "concurrency_limit_exceeded": (429, "rate_limit_error", False),
    "budget_exceeded": (429, "insufficient_quota", True),
    "budget_busy": (429, "rate_limit_error", False),
    "budget_unavailable": (503, "server_error", False),
    "price_unknown": (403, "invalid_request_error", True),
    "model_not_allowed": (403, "invalid_request_error", True),
    "endpoint_not_allowed": (403, "invalid_request_error", True),
    "user_required": (400, "invalid_request_error", True),
    "too_many_users": (429, "invalid_request_error", True),
    "storage_busy": (503, "server_error", False),
    "overloaded": (503, "server_error", False),
}


@frozen
class Refusal:
    """Why a call is not admitted. Amounts are nano-dollars for a budget, else calls or tokens.

    ``used`` counts what is spent or in the window, ``held`` what running calls may still spend, ``needed`` what this
    call asks for. ``retry_after`` is in seconds; ``fits`` is the output limit with which the call would fit.
    """

    code: str
    rule: Rule | None = None
    used: int = 0
    held: int = 0
    needed: int = 0
    limit: int = 0
    retry_after: float | None = None
    period: Period | None = None
    fits: int | None = None
    model: str = ""

    @property
    def is_final(self) -> bool:
        """Whether trying again in a moment is useless."""
        return _CODES[self.code][2]

    def to_error(self) -> GatewayError:
        """The error for the caller (money section 12)."""
        status, type_, is_final = _CODES[self.code]
        fits = self.fits if self.code == "budget_exceeded" else None
        return GatewayError(
            describe_refusal(self),
            status,
            type_,
            self.code,
            "max_tokens" if fits else "model" if self.model else None,
            retry_after_s=None if self.retry_after is None else float(-int(-self.retry_after // 1)),
            should_retry=False if is_final else None,
        )


def describe_refusal(refusal: Refusal) -> str:
    """One or two sentences for the caller."""
    rule = refusal.rule
    if rule is None:
        return _PLAIN[refusal.code].format(model=refusal.model)
    name = f"of {rule.label or rule.scope}"
    if not rule.is_budget:
        return _describe_limit(refusal, rule, name)
    if refusal.code == "too_many_users":
        return f"Budget '{rule.window}' {name} already counts as many users as a budget can."
    # Soft overruns and raised costs can take a budget below zero, which would read like a debt.
    left = max(refusal.limit - refusal.used, 0)
    until = f" until {_show_time(refusal.period.end)}" if refusal.period and refusal.period.end else ""
    text = f"Budget '{rule.window}' {name}: {show_usd(left)} of {show_usd(refusal.limit)} USD left{until}."
    if refusal.code == "budget_busy":
        return f"{text} Running calls hold {show_usd(refusal.held)} USD of it; try again in a moment."
    text += f" This call may cost up to {show_usd(refusal.needed)} USD"
    return f"{text}; with max_tokens <= {refusal.fits} it fits." if refusal.fits else f"{text}."


def _describe_limit(refusal: Refusal, rule: Rule, name: str) -> str:
    what, seconds = LIMITS[rule.kind]
    if seconds is None:
        return f"Limit {name}: {rule.describe()}, and {refusal.used} are running."
    if refusal.code == "request_exceeds_limit":
        return f"Limit {name}: {rule.describe()}; this call alone needs {refusal.needed:,}, so it can never be allowed."
    units = "requests" if what == "calls" else "tokens"
    window = WINDOW_NAMES[seconds]
    return f"Limit {name}: {rule.describe()}; {refusal.used:,} {units} were used in the last {window}."


_PLAIN: Final = {
    "price_unknown": "The price of {model} is unknown, so the budget does not allow it: `fwd prices set` adds a price.",
    "model_not_allowed": "This key may not use {model}.",
    "endpoint_not_allowed": "This key may not use this endpoint.",
    "user_required": "This key needs a user: send the header x-fwd-user.",
    "storage_busy": "The gateway cannot record calls at the moment.",
    "budget_unavailable": "The budget of this key cannot be checked at the moment.",
    "overloaded": "The gateway is almost at capacity, and this key uses more than its share; try again in a moment.",
}


def _show_time(second: int) -> str:
    return datetime.fromtimestamp(second, timezone.utc).isoformat().replace("+00:00", "Z")
