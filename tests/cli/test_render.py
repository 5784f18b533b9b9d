"""How facts are worded."""

from __future__ import annotations

import pytest

from fwd_cli.render import receipt_facts, receipt_line, seconds
from fwd_client import Receipt


@pytest.mark.parametrize(("value", "words"), [(0.0042, "4 ms"), (0.31, "0.31 s"), (12.44, "12.4 s")])
def test_durations(value: float, words: str) -> None:
    """As many digits as a person wants."""
    assert seconds(value) == words


def test_a_receipt_that_says_nothing() -> None:
    """What the gateway did not say is left out, not made up."""
    assert receipt_line(Receipt(), 1.0, None) == "1.00 s"
    assert receipt_facts(Receipt()) == {"dropped": [], "timings": {}}


def test_half_a_receipt_and_hostile_names() -> None:
    """T25: names come from the other side of the wire, too."""
    assert (
        receipt_line(Receipt(model="m\x1b[2J", request_id="r\n2"), 1.0, 0.5) == "m · 1.00 s (first token 0.50 s) · r 2"
    )
