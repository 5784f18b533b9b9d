"""Ids that tell calls apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_server.providers.call_ids import AnswerIds, match_results, number_repeated

ids = st.lists(st.sampled_from(["a", "b", "a_2", "a_2_2", "", "b_3"]), max_size=8)


@given(given_ids=ids)
def test_numbered_ids_are_unique_and_the_first_of_each_stays(given_ids: list[str]) -> None:
    """The same every time: a provider's cache knows the conversation by its bytes (pitfall 34)."""
    numbered = number_repeated(given_ids)
    assert len(set(numbered)) == len(given_ids)
    assert numbered == number_repeated(given_ids)
    firsts = [given_ids.index(call_id) == place for place, call_id in enumerate(given_ids)]
    assert all(new == old for new, old, first in zip(numbered, given_ids, firsts, strict=True) if first)


@pytest.mark.parametrize(
    ("calls", "results", "places"),
    [("ab", "ba", [1, 0]), ("aba", "aab", [0, 2, 1]), ("aaa", "aaa", [0, 1, 2]), ("", "", [])],
)
def test_results_with_one_id_answer_its_calls_in_their_order(calls: str, results: str, places: list[int]) -> None:
    assert match_results(calls, results) == places


@given(proposed=ids)
def test_an_answer_never_has_an_id_twice_nor_none(proposed: list[str]) -> None:
    numbers = iter(range(100))
    answer = AnswerIds(lambda prefix: f"{prefix}{next(numbers)}")
    claimed = [answer.claim_id(call_id) for call_id in proposed]
    assert len(set(claimed)) == len(claimed)
    assert all(claimed)
