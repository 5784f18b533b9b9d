"""Rules as they are written, and which of them match a call."""

from __future__ import annotations

import pytest

from fwd_server.metering.rules import (
    BudgetText,
    Rule,
    check_rule,
    matches_model,
    parse_budget,
    parse_limit,
    parse_models,
)

USD = 10**9


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("5/day", BudgetText(5 * USD, "day", False)),
        ("$50/month:soft", BudgetText(50 * USD, "month", True)),
        ("2.50usd/hour", BudgetText(25 * USD // 10, "hour", False)),
        ("100", BudgetText(100 * USD, "all", False)),
        ("100:soft", BudgetText(100 * USD, "all", True)),
        ("0/week", BudgetText(0, "week", False)),
    ],
)
def test_a_budget_is_read(text: str, budget: BudgetText) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    "text", ["5/fortnight", "5/", "5/all", "/day", "5/day:hard", "5/day:", "5:", "x", "-1/day", ""]
)
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="budget"):
        parse_budget(text)


def test_a_wrong_window_names_the_right_ones() -> None:
    with pytest.raises(ValueError, match="'fortnight' is not a window; the windows are hour, day, week"):
        parse_budget("5/fortnight")


def test_limits_are_whole_numbers_from_one_on() -> None:
    assert parse_limit("rpm", "60") == 60
    for text in ("0", "-1", "1.5", "", "60/m", "9" * 14, "٣"):
        with pytest.raises(ValueError, match="rpm=60"):
            parse_limit("rpm", text)


@pytest.mark.parametrize(
    ("patterns", "model", "expected"),
    [
        ("gpt-5*", "gpt-5-mini", True),
        ("gpt-5*", "openai:gpt-5-mini", True),
        ("gpt-5*", "openrouter:openai/gpt-5", False),
        ("openai:*", "openai:gpt-5", True),
        ("openai:*", "groq:openai/gpt-oss", False),
        ("*", "anything", True),
        ("gpt-5", "gpt-5-mini", False),
        ("a,b*", "bc", True),
        ("a.c", "abc", False),
        ("gpt-*-mini", "gpt-5-mini", True),
    ],
)
def test_patterns_name_models(patterns: str, model: str, expected: bool) -> None:
    assert matches_model(parse_models(patterns), model) is expected
    assert matches_model((), model)


@pytest.mark.parametrize("text", ["", ",", "a,", "a b", "a;b"])
def test_what_is_no_list_of_models_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="models"):
        parse_models(text)


@pytest.mark.parametrize(
    "rule",
    [
        Rule("r", "gateway", "rpx", 1),
        Rule("r", "gateway", "rpm", 0),
        Rule("r", "gateway", "budget", 1, "fortnight"),
        Rule("r", "gateway", "budget", 1, "month", anchor=29),
        Rule("r", "gateway", "budget", -1, "month"),
        Rule("r", "gateway", "budget", 1, "month", zone="Mars/Olympus"),
    ],
)
def test_a_rule_that_cannot_be_counted_is_refused(rule: Rule) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_rule(rule)


def test_rules_are_described_in_words() -> None:
    rules = [Rule("r", "s", "rpm", 60), Rule("r", "s", "tpd", 10**6), Rule("r", "s", "concurrency", 4),
             Rule("r", "s", "budget", 5 * USD, "day"), Rule("r", "s", "budget", 5 * USD, "all")]  # fmt: skip
    assert [rule.describe() for rule in rules] == [
        "60 requests a minute", "1,000,000 tokens a day", "4 requests at a time", "5.00 USD a day", "5.00 USD",
    ]  # fmt: skip
