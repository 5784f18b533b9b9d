"""How facts are worded."""

from __future__ import annotations

import pytest

from fwd_cli.render import money, receipt_facts, receipt_line, retry_line, seconds
from fwd_client import APIError, Receipt, Retry


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


@pytest.mark.parametrize(
    ("requested", "skipped", "start"),
    [
        (
            "claude-opus-4-8",
            {"anthropic": "provider_not_configured"},
            "asked for claude-opus-4-8, answered by gpt-5-mini: anthropic has no key here · ",
        ),
        (None, {"groq": "cooling_down"}, "groq is cooling down after failures · "),
        ("gpt-5-mini", {"groq": "odd", "google": ""}, "groq was skipped (odd), google was skipped · "),
        ("claude-opus-4-8", {}, "gpt-5-mini via openai"),
    ],
)
def test_a_replaced_model_is_named_first(requested: str | None, skipped: dict[str, str], start: str) -> None:
    """Who asked for one model and got another one reads that before anything else, with the reason."""
    receipt = Receipt(model="gpt-5-mini", provider="openai", skipped=skipped)
    assert receipt_line(receipt, 1.0, None, requested=requested).startswith(start)


@pytest.mark.parametrize(
    ("code", "provider", "delay", "text"),
    [
        ("rate_limit_exceeded", "openai", 7.0, "rate limit at openai: again in 7.00 s (1 of 2), Ctrl-C stops"),
        ("upstream_reset", "groq", 0.0, "upstream reset at groq: again now (1 of 2), Ctrl-C stops"),
        (None, None, 0.5, "no connection: again in 0.50 s (1 of 2), Ctrl-C stops"),
    ],
)
def test_a_wait_in_one_line(code: str | None, provider: str | None, delay: float, text: str) -> None:
    """Why, where, how long, which try."""
    assert retry_line(Retry(APIError("x", code=code, provider=provider), delay, 1, 2)) == text


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(0.0021, "$0.0021"), (1.256, "$1.26"), (0.0000004, "$0"), (0.0, "$0"), (0.000482, "$0.000482")],
)
def test_amounts(dollars: float, text: str) -> None:
    """Small ones keep their digits."""
    assert money(dollars) == text
