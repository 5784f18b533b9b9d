"""What outlives a reload of the settings: the book with its counters, and the ledger it came from.

A reload makes a new gateway; the calls of the old one end in the same book. Limits and budgets need one book for all
calls, so a gateway of several workers, each with a ledger of its own, does not take keys that have any.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import define, field

from fwd_server.clock import Clock
from fwd_server.metering.book import Book
from fwd_server.metering.rules import Rule
from fwd_server.store.ledger import Ledger

_LATE_S: Final = 10.0  # how far behind the store may be before somebody should look (D5)
_TIDY_S: Final = 60.0


@define
class Accounts:
    """A book and its ledger. ``is_shared``: other workers have books of their own, so no rule can be kept here.

    ``trouble`` says why there is no ledger although there should be one.
    """

    book: Book = field(factory=Book)
    ledger: Ledger | None = None
    is_shared: bool = False
    trouble: str = ""
    _tidied_at: float = 0.0

    def take_rules(self, rules: Iterable[Rule]) -> None:
        """Put rules in force; one that was not in force before begins with what the ledger knows of it.

        Raises OperationalError or StoreError where the ledger cannot be read; the rules are in force all the same.
        """
        known = {rule.id for rule in self.book.rules}
        self.book.set_rules(rules)
        # Only the new ones: the book's own counters are ahead of the ledger, which is half a second behind.
        fresh = {rule.id for rule in self.book.rules} - known
        if self.ledger is not None and fresh:
            self.ledger.restore_book(self.book, fresh)

    def tidy(self, clock: Clock) -> None:
        """Forget subjects that count nothing any more; called now and then."""
        now = clock.monotonic()
        if now - self._tidied_at >= _TIDY_S:
            self._tidied_at = now
            self.book.forget_idle(now)

    def notices(self) -> tuple[str, ...]:
        """What somebody should know or do, in sentences."""
        found = [self.trouble] if self.trouble else []
        hard = any(rule.is_budget and not rule.soft for rule in self.book.rules)
        if self.ledger is None:
            if hard:
                found.append("calls of keys with a budget are refused: there is no ledger to count them (FWD_LEDGER)")
            return tuple(found)
        state, directory = self.ledger.describe_state(), self.ledger.directory
        if why := state["journal_failure"]:
            found.append(f"calls cannot be recorded in {directory} and are refused: {why}")
        if lost := state["lost_ends"]:
            found.append(f"the ends of {lost} calls are lost: the journal could not be written for too long")
        if (late_s := state["fold_lag_s"]) > _LATE_S:
            why = state["fold_failure"] or "it has more to do than it can"
            found.append(f"reports are {late_s:.0f} s behind, and nothing is lost: {why}")
        if rejected := state["rejected_rows"]:
            found.append(f"{rejected} rows could not be stored: see {directory}/rejected.jsonl")
        return tuple(found)

    async def aclose(self) -> None:
        """Make everything durable, and give the data directory back."""
        if self.ledger is not None:
            await self.ledger.close()
