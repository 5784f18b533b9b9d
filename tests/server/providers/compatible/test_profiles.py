"""The table of OpenAI-compatible providers."""

from __future__ import annotations

import orjson
import pytest
from tests.server.providers import golden

from fwd_server.providers.compatible.profiles import PROFILES, find_profile
from fwd_server.values.provider_info import PROVIDER_TABLE

NAMED = sorted(set(PROFILES) - {"echo"})


@pytest.mark.parametrize("name", NAMED)
def test_a_profile_belongs_to_a_provider_of_the_table(name: str) -> None:
    """It says what differs; everything else is a row of the provider table."""
    assert PROVIDER_TABLE[name].language == "openai"


@pytest.mark.parametrize("name", NAMED)
def test_a_row_has_a_golden_case(name: str) -> None:
    """What it sends, and what becomes of a stream."""
    assert {"request", "stream"} <= {case.kind for case in golden.cases("request", "stream") if case.provider == name}


def test_a_server_without_a_row_is_taken_with_caution() -> None:
    """FWD_COMPAT: the name is the prefix, nothing is relied on."""
    profile = find_profile("rack-7")
    assert (profile.name, profile.exact, profile.cap_field) == ("rack-7", False, "max_tokens")


def test_a_name_is_its_key() -> None:
    """Written out by hand, so it could differ."""
    assert [profile.name for profile in PROFILES.values()] == list(PROFILES)


def test_the_same_call_gives_the_same_bytes() -> None:
    """Pitfall 34: a prompt cache is only read if nothing in the prefix changes."""
    for case in golden.cases("request"):
        first, again = (golden.shown_request(case, case.exchange()) for _ in range(2))
        assert orjson.dumps(first) == orjson.dumps(again)
