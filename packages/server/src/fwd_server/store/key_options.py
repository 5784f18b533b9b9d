"""Options after a key or a project's name in the key file: rights, limits and budgets as values.

    sha256:9f86d0... name=web project=shop rpm=60 tpm=100000 budget=5/day,50/month models=gpt-5* ips=10.0.0.0/8
    project shop budget=500/month rpm=600

A value that cannot be used invalidates the whole line: it was meant to restrict someone, and half of it would not.
Problems are reported by the option's name, never by its value, which may be a misplaced secret.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeVar

from attrs import frozen

from fwd_server.metering.periods import BUDGET_WINDOWS, load_zone
from fwd_server.metering.rules import BUDGET, LIMITS, BudgetText, Rule, parse_budget, parse_limit, parse_models

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
RULE_OPTIONS: Final = (*LIMITS, "budget", "tz")
KEY_OPTIONS: Final = ("name", "expires", "project", *RULE_OPTIONS, "models", "ips", "user")

_WINDOWS: Final = ", ".join(name for name in BUDGET_WINDOWS if name != "all")
Network = IPv4Network | IPv6Network
_Value = TypeVar("_Value")


class BadLine(ValueError):
    """A line that cannot be used; its text says why and quotes nothing of it."""


@frozen
class KeyRights:
    """The rights of a key. Empty ``models`` and ``networks`` mean all of them.

    ``needs_user`` (``user=required``): every call must name its user.
    """

    project: str = ""
    rules: tuple[Rule, ...] = ()
    models: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    needs_user: bool = False

    def allows_address(self, address: str) -> bool:
        """Whether a peer may use the key; ``::ffff:10.0.0.1`` is 10.0.0.1."""
        if not self.networks:
            return True
        try:
            peer = ip_address(address.partition("%")[0])
        except ValueError:  # a Unix socket has no address, and a key for a network is not meant for it
            return False
        mapped = peer.ipv4_mapped if isinstance(peer, IPv6Address) else None
        return any((mapped or peer) in network for network in self.networks)


def split_options(words: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """The options of a line by name. Raises BadLine for one that is unknown, empty or repeated."""
    options: dict[str, str] = {}
    for word in words:
        option, equals, value = word.partition("=")
        if option not in known or not equals or option in options:
            names = ", ".join(f"{name}=" for name in known)
            raise BadLine(f"only {names} may follow, once each")
        options[option] = value
    return options


def read_rights(options: Mapping[str, str], key_id: str, name: str) -> KeyRights:
    """The rights of a key. Raises BadLine."""
    project = options.get("project", "")
    if "project" in options and not NAME.fullmatch(project):
        raise BadLine("a project is 1 to 64 of A-Z a-z 0-9 . _ -")
    label = f"key '{name}'" if name else "this key"
    return KeyRights(
        project,
        read_rules(options, key_id, f"key:{key_id}", label),
        _read(options, "models", parse_models, "models is a list such as gpt-5*,openai:*") or (),
        _read(options, "ips", _parse_networks, "ips is a list of networks such as 10.0.0.0/8,2001:db8::/32") or (),
        _read_word(options, "user", "required"),
    )


def read_rules(options: Mapping[str, str], prefix: str, scope: str, label: str) -> tuple[Rule, ...]:
    """The limits and budgets among the options, their ids made of ``prefix``: they stay the same over restarts."""
    zone = _read(options, "tz", _check_zone, "tz is a time zone of this machine, such as Europe/Berlin") or "UTC"
    rules: list[Rule] = []
    for kind in LIMITS:
        parse = functools.partial(parse_limit, kind)
        amount = _read(options, kind, parse, f"{kind} is a whole number from 1 on, such as {kind}=60")
        if amount is not None:
            rules.append(Rule(f"{prefix}:{kind}", scope, kind, amount, label=label))
    why = f"budget is a list such as 5/day,50/month or 100:soft, each window once; the windows are {_WINDOWS}"
    for budget in _read(options, "budget", _parse_budgets, why) or ():
        name = f"{prefix}:{BUDGET}:{budget.window}"
        money = (BUDGET, budget.amount, budget.window, zone)
        rules.append(Rule(name, scope, *money, soft=budget.soft, label=label))
    return tuple(rules)


def _read(options: Mapping[str, str], name: str, parse: Callable[[str], _Value], why: str) -> _Value | None:
    """The value of an option; None without one. Its own words are not shown: they may quote the line."""
    if name not in options:
        return None
    try:
        return parse(options[name])
    except ValueError:
        raise BadLine(why) from None


def _check_zone(text: str) -> str:
    load_zone(text)
    return text


def _parse_budgets(text: str) -> tuple[BudgetText, ...]:
    budgets = tuple(parse_budget(part) for part in text.split(","))
    if len({budget.window for budget in budgets}) != len(budgets):
        raise ValueError("two budgets with the same window")
    return budgets


def _parse_networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(part) for part in text.split(","))


def _read_word(options: Mapping[str, str], name: str, word: str) -> bool:
    if options.get(name, word) != word:
        raise BadLine(f"{name} is {word} or left out")
    return name in options
