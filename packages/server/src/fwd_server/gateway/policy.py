"""Policies decide whether a call may run, and are told what it came to while the caller can still be told."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from fwd_server.observe import log
from fwd_server.values.errors import GatewayError, internal_error
from fwd_server.values.record import CallRecord


class Policy(Protocol):
    """Limits, budgets, permissions: anything that may refuse a call, or must not miss its end.

    Both methods may return an awaitable where they must wait, as for a durable write; None means done, and costs
    nothing more. For every call that a policy admitted, ``settle`` is called exactly once, however the call ends.
    """

    def admit(self, record: CallRecord) -> Awaitable[None] | None:
        """Let the call in, before anything is sent. Raises GatewayError to refuse it: that is the caller's answer.

        ``record.plan`` says which deployments the call may reach.
        """
        ...

    def settle(self, record: CallRecord) -> Awaitable[object] | None:
        """Take the end of the call: before the last byte of a JSON answer, before the end of a stream.

        Raises GatewayError where the answer must not be called complete, as when its cost cannot be recorded.
        """
        ...


class PolicyChain:
    """The policies that have let one call in, and owe it a settlement."""

    # One of these is made for every call.
    __slots__ = ("_admitted", "_policies")

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = policies
        self._admitted = 0

    def admit(self, record: CallRecord) -> Awaitable[None] | None:
        """Ask each policy in turn; the first refusal is the answer. Raises GatewayError.

        What is returned is to be awaited. None where no policy waits, as nearly always: that saves a coroutine a call.
        """
        for policy in self._policies[self._admitted :]:
            waiting = policy.admit(record)
            if waiting is not None:
                return self._admit_slowly(waiting, record)
            # Counted after the policy has let the call in: one that refuses it owes no settlement.
            self._admitted += 1
        return None

    async def _admit_slowly(self, waiting: Awaitable[None], record: CallRecord) -> None:
        await waiting
        self._admitted += 1
        rest = self.admit(record)
        if rest is not None:
            await rest

    async def settle(self, record: CallRecord) -> None:
        """Tell every policy that admitted the call, the last one first; a second time does nothing.

        All of them are told, even when one fails. Raises the first failure; a crash counts as an internal error,
        because an answer that could not be settled must not look complete (contract R1).
        """
        failure: GatewayError | None = None
        while self._admitted:
            # Before settle is called, so that a policy that raises is not settled a second time.
            self._admitted -= 1
            policy = self._policies[self._admitted]
            try:
                waiting = policy.settle(record)
                if waiting is not None:
                    await waiting
            except GatewayError as error:
                failure = failure or error
            except Exception:  # noqa: BLE001 - a policy is not ours, and the others must be settled all the same
                log.app.exception("Bug: %s could not settle the call %s.", type(policy).__name__, record.call.id)
                failure = failure or internal_error()
        if failure is not None:
            # The first failure stays: it is what the caller has been or will be told.
            if record.error is None:
                record.fail(failure, midstream=record.call.request.stream and record.first_content_at is not None)
            raise failure
