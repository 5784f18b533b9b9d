"""What may follow a key in the key file: rights, limits and budgets as values."""

from __future__ import annotations

import pytest

from fwd_server.metering.rules import Rule
from fwd_server.store.key_options import KEY_OPTIONS, KeyRights
from fwd_server.store.key_set import Entry, fingerprint, key_id_of, parse

USD = 10**9
KEY = "fwd_" + "k" * 43
ID = key_id_of(fingerprint(KEY))


def entry(options: str) -> Entry:
    parsed = parse(f"{KEY} {options}".encode())
    assert parsed.alerts == ()
    (found,) = parsed.keys.entries.values()
    return found


def test_limits_and_budgets_become_rules_with_lasting_ids() -> None:
    found = entry("name=web rpm=60 tpm=100000 concurrency=4 budget=5/day,50/month:soft,100 tz=Europe/Berlin")
    scope, label = f"key:{ID}", "key 'web'"
    assert found.id == ID
    assert "file_" + fingerprint(KEY).hex()[:12] == ID
    assert found.rights.rules == (
        Rule(f"{ID}:rpm", scope, "rpm", 60, label=label),
        Rule(f"{ID}:tpm", scope, "tpm", 100_000, label=label),
        Rule(f"{ID}:concurrency", scope, "concurrency", 4, label=label),
        Rule(f"{ID}:budget:day", scope, "budget", 5 * USD, "day", "Europe/Berlin", label=label),
        Rule(f"{ID}:budget:month", scope, "budget", 50 * USD, "month", "Europe/Berlin", soft=True, label=label),
        Rule(f"{ID}:budget:all", scope, "budget", 100 * USD, "all", "Europe/Berlin", label=label),
    )


def test_rights_are_read() -> None:
    rights = entry("project=shop models=gpt-5*,openai:* ips=10.0.0.0/8,2001:db8::/32 user=required").rights
    assert (rights.project, rights.models) == ("shop", ("gpt-5*", "openai:*"))
    assert rights.needs_user
    assert entry("name=x").rights == KeyRights()


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.0.0.1", False), ("2001:db8::1", True), ("::1", False),
     ("", False), ("not an address", False), ("2001:db8::1%eth0", True)],
)  # fmt: skip
def test_a_key_for_a_network_is_good_there_only(address: str, allowed: bool) -> None:
    assert entry("ips=10.0.0.0/8,2001:db8::/32").rights.allows_address(address) is allowed
    assert entry("").rights.allows_address(address)


BAD = [
    "budget=5/fortnight", "budget=5/day,6/day", "budget=", "budget=x", "rpm=0", "rpm=many", "tpm=-1", "tz=Mars/Olympus",
    "models=", "models=a,,b", "ips=10.0.0.1/8", "ips=everywhere", "user=maybe", "project=a/b", "name=a/b",
]  # fmt: skip


@pytest.mark.parametrize("option", BAD)
def test_a_bad_value_skips_the_line_and_names_the_option_not_the_value(option: str) -> None:
    parsed = parse(f"{KEY} {option}".encode())
    assert len(parsed.keys) == 0
    (alert,) = parsed.alerts
    name, _, value = option.partition("=")
    assert alert.startswith(f"line 1 is skipped: {name} ") or f"a {name} is" in alert
    assert not value or f"={value}" not in alert


@pytest.mark.parametrize("option", ["colour=red", "rpm", "rpm=1 rpm=2"])
def test_an_unknown_or_repeated_option_skips_the_line(option: str) -> None:
    (alert,) = parse(f"{KEY} {option}".encode()).alerts
    assert all(f"{name}=" in alert for name in KEY_OPTIONS)


def test_a_wrong_window_names_the_windows() -> None:
    (alert,) = parse(f"{KEY} budget=5/fortnight".encode()).alerts
    assert "the windows are hour, day, week, month, quarter, year" in alert


def test_a_project_has_a_line_of_its_own() -> None:
    text = f"project shop budget=500/month rpm=600  # all of it\n{KEY} project=shop rpm=60\n"
    parsed = parse(text.encode())
    assert parsed.alerts == ()
    assert parsed.keys.projects["shop"] == (
        Rule("project_shop:rpm", "project:shop", "rpm", 600, label="project 'shop'"),
        Rule("project_shop:budget:month", "project:shop", "budget", 500 * USD, "month", label="project 'shop'"),
    )
    assert [rule.id for rule in parsed.keys.list_rules()] == [
        f"{ID}:rpm", "project_shop:rpm", "project_shop:budget:month",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["project", "project a/b rpm=1", "project shop models=gpt", "project shop rpm=x", "project shop\nproject shop"],
)
def test_a_bad_line_of_a_project_is_skipped(line: str) -> None:
    assert len(parse(line.encode()).alerts) == 1


def test_an_admin_key_is_never_a_callers_key() -> None:
    """It may have been pasted into the wrong file."""
    parsed = parse(b"fwd_adm_" + b"k" * 43)
    assert len(parsed.keys) == 0
    assert "admin key" in parsed.alerts[0]


def test_where_nobody_counts_keys_with_limits_are_refused() -> None:
    """Several workers have no common book: a key is never served without its limits, nor one of a project with them."""
    for text in (f"{KEY} rpm=60", f"project shop rpm=60\n{KEY} project=shop"):
        parsed = parse(text.encode(), counts=False)
        assert len(parsed.keys) == 0
        assert "FWD_WORKERS=1" in parsed.alerts[0]
    assert len(parse(f"{KEY} models=gpt-5* ips=10.0.0.0/8".encode(), counts=False).keys) == 1


def test_a_key_of_a_project_whose_line_is_bad_is_refused() -> None:
    parsed = parse(f"{KEY} project=shop\nproject shop budget=5/fortnight".encode())
    assert len(parsed.keys) == 0
    assert [alert.partition(":")[0] for alert in parsed.alerts] == ["line 2 is skipped", "line 1 is skipped"]
