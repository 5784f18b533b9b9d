"""The cost of a call and the remaining budget, as reported to the caller."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class LimitFacts(NamedTuple):
    """The tightest limit of a key: ``requests`` or ``tokens``, and in how many seconds one more fits."""

    name: str
    limit: int
    remaining: int
    reset_s: float


class Receipt(msgspec.Struct, frozen=True):
    """A settled call. Money in nano-dollars; a cost of None is unknown, never 0.

    ``call_id`` is empty where no ledger is kept. ``kind`` is ``exact``, ``estimated`` or ``unknown``; ``price_id``
    names the price table. ``budget_left`` is the least of the key's hard budgets after this call, None without one.
    """

    call_id: str
    cost: int | None
    kind: str
    price_id: str = ""
    budget_left: int | None = None
    is_over_soft_budget: bool = False
    limits: tuple[LimitFacts, ...] = ()
