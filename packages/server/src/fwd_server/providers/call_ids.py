"""Ids that tell calls of tools apart: unique within an answer, and matched in order where a history repeats them.

Some models number their calls anew in every answer, or give several calls the same id. Callers match a result to
its call by nothing but this id, so an answer never holds one twice; and providers that match by id, or are told the
function's name, must not be told another call's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from fwd_server.providers.base import NewId


class AnswerIds:
    """The ids of one answer's calls, over all of its choices."""

    __slots__ = ("_new_id", "_used")

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id
        self._used: set[str] = set()

    def claim_id(self, proposed: str) -> str:
        """The id for a call: the provider's own, or a new one where it gives none, or one that it gave before."""
        call_id = proposed or self._new_id("call_")
        # Even a new id may be one that the provider gave before: some servers count as we do.
        while call_id in self._used:
            call_id = self._new_id("call_")
        self._used.add(call_id)
        return call_id


def number_repeated(ids: Iterable[str]) -> list[str]:
    """The ids of one message's calls, each of them once: "c", "c" become "c", "c_2".

    The same ids always give the same ones, so that the provider's prompt cache still knows the conversation.
    """
    given = list(ids)
    used: set[str] = set()
    unique = []
    for call_id in given:
        number, candidate = 1, call_id
        while candidate in used or (number > 1 and candidate in given):
            number += 1
            candidate = f"{call_id}_{number}"
        used.add(candidate)
        unique.append(candidate)
    return unique


def match_results(call_ids: Iterable[str], result_ids: Iterable[str]) -> list[int]:
    """For each result the place of the call that it answers: results with one id answer its calls in their order.

    Every result has its call: the caller's messages were checked before (``callers.openai_chat``).
    """
    waiting: dict[str, deque[int]] = {}
    for place, call_id in enumerate(call_ids):
        waiting.setdefault(call_id, deque()).append(place)
    return [waiting[result_id].popleft() for result_id in result_ids]
