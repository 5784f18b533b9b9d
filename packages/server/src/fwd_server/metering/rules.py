"""Rules: limits and budgets as they are written, and which of them match a call.

    rpm=60  tpm=100000  concurrency=4            limits: calls or tokens in a sliding window, calls at a time
    budget=5/day,50/month  budget=100:soft       budgets: dollars in a calendar period, or for ever

All rules that match a call must admit it. A rule's id is stable over restarts, because its counters are kept by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal

from attrs import frozen

from fwd_server.metering.money import parse_usd, show_usd
from fwd_server.metering.periods import BUDGET_WINDOWS, LAST_ANCHOR, load_zone

# Kind -> (what it counts, seconds of its window). None: calls that run now.
LIMITS: Final[dict[str, tuple[Literal["calls", "tokens"], int | None]]] = {
    "rpm": ("calls", 60),
    "rph": ("calls", 3600),
    "rpd": ("calls", 86400),
    "tpm": ("tokens", 60),
    "tph": ("tokens", 3600),
    "tpd": ("tokens", 86400),
    "concurrency": ("calls", None),
}
BUDGET: Final = "budget"
WINDOW_NAMES: Final = {60: "minute", 3600: "hour", 86400: "day"}
MOST_LIMIT: Final = 10**12

_COUNT: Final = re.compile(r"[0-9]{1,13}")
_PATTERN: Final = re.compile(r"[^\s,;]{1,255}")


@frozen
class Rule:
    """One limit or budget. ``amount`` is calls or tokens for a limit, nano-dollars for a budget.

    ``scope`` is ``gateway``, ``project:ID`` or ``key:ID``; ``label`` names it for people, as in *key 'web'*. With
    ``per_user`` each user tag has a counter of its own. A ``soft`` budget never refuses.
    """

    id: str
    scope: str
    kind: str
    amount: int
    window: str = ""
    zone: str = "UTC"
    anchor: int = 1
    soft: bool = False
    models: tuple[str, ...] = ()
    per_user: bool = False
    label: str = ""

    @property
    def is_budget(self) -> bool:
        """Whether it counts money."""
        return self.kind == BUDGET

    def describe(self) -> str:
        """The rule in words, for messages: *60 requests a minute*, *5.00 USD a day*."""
        if self.is_budget:
            return f"{show_usd(self.amount)} USD" + ("" if self.window == "all" else f" a {self.window}")
        what, seconds = LIMITS[self.kind]
        if seconds is None:
            return f"{self.amount} requests at a time"
        return f"{self.amount:,} {'requests' if what == 'calls' else 'tokens'} a {WINDOW_NAMES[seconds]}"


@frozen
class BudgetText:
    """A budget as it is written: ``AMOUNT[/WINDOW][:soft]``."""

    amount: int
    window: str
    soft: bool


def parse_budget(text: str) -> BudgetText:
    """Read ``5/day``, ``$50/month:soft`` or ``100`` (for ever). Raises ValueError that says what is wrong."""
    amount, slash, rest = text.strip().partition("/")
    window, _, mode = rest.partition(":") if slash else ("all", "", "")
    if not slash:
        amount, _, mode = amount.partition(":")
    if mode not in ("", "soft") or text.strip().endswith(":"):
        raise ValueError(f"budget {text!r}: only :soft may follow the window")
    if slash and (window not in BUDGET_WINDOWS or window == "all"):
        names = ", ".join(name for name in BUDGET_WINDOWS if name != "all")
        raise ValueError(f"budget {text!r}: {window!r} is not a window; the windows are {names}")
    try:
        return BudgetText(parse_usd(amount), window, mode == "soft")
    except ValueError as error:
        raise ValueError(f"budget {text!r}: {error}") from None


def parse_limit(kind: str, text: str) -> int:
    """Read the number of a limit. Raises ValueError."""
    if kind not in LIMITS or not _COUNT.fullmatch(text) or not 0 < int(text) <= MOST_LIMIT:
        raise ValueError(f"{kind} is a whole number from 1 on, such as {kind}=60")
    return int(text)


def parse_models(text: str) -> tuple[str, ...]:
    """Read ``gpt-5*,openai:*``. Raises ValueError."""
    patterns = tuple(text.split(","))
    if not all(_PATTERN.fullmatch(pattern) for pattern in patterns):
        raise ValueError("models are names or patterns with commas between them, such as gpt-5*,openai:*")
    return patterns


def check_rule(rule: Rule) -> None:
    """Raise ValueError for a rule that cannot be counted: an unknown kind, window, zone or anchor."""
    if not rule.is_budget:
        parse_limit(rule.kind, str(rule.amount))
        return
    if rule.window not in BUDGET_WINDOWS:
        raise ValueError(f"{rule.window!r} is not a window of a budget; the windows are {', '.join(BUDGET_WINDOWS)}")
    if not 1 <= rule.anchor <= LAST_ANCHOR:
        raise ValueError(f"a month begins on a day from 1 to {LAST_ANCHOR}, not on {rule.anchor}")
    if rule.amount < 0:
        raise ValueError("a budget is not negative")
    load_zone(rule.zone)


def matches_model(patterns: tuple[str, ...], model: str) -> bool:
    """Whether a model is named by one of the patterns; no patterns name every model.

    ``model`` is ``provider:model`` or what the caller asked for. A pattern with a colon is compared with the whole
    name, one without with the model's name alone, so ``gpt-5*`` also means ``openai:gpt-5-mini``.
    """
    return not patterns or _matches(patterns, model)


@lru_cache(maxsize=4096)  # callers may invent names, so it is bounded
def _matches(patterns: tuple[str, ...], model: str) -> bool:
    bare = model.partition(":")[2] or model
    return any(_compile(pattern).fullmatch(model if ":" in pattern else bare) for pattern in patterns)


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    # Patterns come from the operator's file, never from a caller.
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def pick_rules(rules: Iterable[Rule], scopes: tuple[str, ...], models: tuple[str, ...]) -> tuple[Rule, ...]:
    """The rules of these scopes that name any of a call's models: its requested one and those of its plan."""
    return tuple(
        rule for rule in rules if rule.scope in scopes and any(matches_model(rule.models, name) for name in models)
    )
