"""What ``fwd doctor`` looks at: each check gives findings, and each finding that is bad ends with what mends it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from attrs import asdict, frozen

from fwd_cli import names
from fwd_client import Client, FwdError, Health
from fwd_server.settings import SettingsError, load
from fwd_server.store.files import KeyFileError, check_modes
from fwd_server.store.keyset import parse

State = Literal["ok", "note", "bad"]
MOST_SKEW_S = 30.0
OLDEST_PYTHON = (3, 10)
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@frozen
class Finding:
    """One thing that was looked at: how it is, and for what is not well the command that mends it."""

    name: str
    state: State
    said: str
    mend: str = ""

    def as_dict(self) -> dict[str, str]:
        """For ``--json``."""
        return {name: str(value) for name, value in asdict(self).items() if value}


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Finding]:
    """Whether this Python is one that fwd is made for."""
    words = ".".join(map(str, version))
    if version >= OLDEST_PYTHON:
        yield Finding("python", "ok", words)
    else:
        yield Finding("python", "bad", f"{words} is too old", "install Python 3.10 or newer")


def dotenv(path: Path) -> Iterator[Finding]:
    """Whether ``.env`` is there, and only its owner can read it."""
    if path.is_file():
        yield from _private("settings file", path) or [Finding("settings file", "ok", f"{path}")]
    else:
        yield Finding("settings file", "note", f"there is no {path} here: only the environment counts")


def settings(environment: Mapping[str, str], path: Path) -> Iterator[Finding]:
    """Whether a server started here would take its settings."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    try:
        loaded = load({}, environment, text)
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("settings", "bad", str(problem), f"correct {problem.name}, then fwd run-server --check")
        return
    yield Finding("settings", "ok", "fwd run-server --check shows them")
    for warning in loaded.warnings:
        yield Finding("settings", "note", warning)


def keys_file(path: Path, *, needed: bool) -> Iterator[Finding]:
    """Whether there are keys for callers, and only their owner can read them; ``needed`` where the gateway is here."""
    if not path.is_file():
        said = f"there is no {path}: a server started here would refuse every call"
        yield Finding("keys file", "bad", said, "fwd generate-key") if needed else Finding("keys file", "note", said)
        return
    yield from _private("keys file", path)
    parsed = parse(path.read_bytes())
    for alert in parsed.alerts:
        yield Finding("keys file", "note", alert)
    if len(parsed.keys):
        yield Finding("keys file", "ok", f"{path} holds {len(parsed.keys)}")
    else:
        yield Finding("keys file", "bad", f"{path} holds no key", "fwd generate-key")


def _private(name: str, path: Path) -> list[Finding]:
    try:
        warnings = check_modes(path)
    except KeyFileError as error:
        return [Finding(name, "bad", str(error), f"chmod 600 {path}")]
    return [Finding(name, "note", warning) for warning in warnings]


def gateway(url: str, key: str | None) -> Iterator[Finding]:
    """Whether a gateway answers, how it is, and whether it knows our key."""
    try:
        with Client(base_url=url, api_key=key or "none", max_retries=0, timeout=10) as client:
            health = client.ready()
            yield from _health(url, health)
            yield from your_key(client, key)
    except FwdError as error:
        yield Finding("gateway", "bad", error.args[0], "fwd run-server, or export FORWARDER_URL=<its address>")


def _health(url: str, health: Health) -> Iterator[Finding]:
    if health.ok:
        yield Finding("gateway", "ok", f"{url} is {health.status or 'there'}")
    else:
        yield Finding("gateway", "bad", f"{url} is {health.status or 'not ready'}", "see the next lines, and its log")
    for notice in health.extra.get("degraded") or ():
        yield Finding("gateway", "note", str(notice))
    for provider in health.extra.get("providers") or ():
        yield _provider(provider)
    yield from clock(health.receipt.headers.get("date"), time.time())


def _provider(provider: Mapping[str, str]) -> Finding:
    name, state = provider.get("name", "?"), provider.get("state", "?")
    if state == "on":
        return Finding("provider", "ok", f"{name} is on")
    return Finding("provider", "note", f"{name} is {state}: {provider.get('turned_on_by', '?')} turns it on")


def clock(date: str | None, now: float) -> Iterator[Finding]:
    """Whether the gateway's clock agrees with ours: expiry dates and limits depend on it."""
    if date is None:
        return
    skew = abs(parsedate_to_datetime(date).timestamp() - now)
    if skew <= MOST_SKEW_S:
        yield Finding("clock", "ok", "the gateway's agrees with this one")
    else:
        yield Finding("clock", "bad", f"the gateway's is {skew:.0f} s away from this one", "timedatectl set-ntp true")


def your_key(client: Client, key: str | None) -> Iterator[Finding]:
    """Whether the gateway takes the key in use here."""
    if not key:
        yield Finding("your key", "bad", "FORWARDER_KEY is not set", "export FORWARDER_KEY=$(fwd generate-key)")
        return
    try:
        reached = [model.id for model in client.models.list()]
    except FwdError as error:
        yield Finding("your key", "bad", error.args[0], "export FORWARDER_KEY=$(fwd generate-key)")
        return
    names.remember(client.base_url, reached)
    yield Finding("your key", "ok", f"it reaches {len(reached)} models")


def all_of(url: str, key: str | None, keys: Path) -> Iterator[Finding]:
    """Every check, in the order in which things depend on each other."""
    path = Path(".env")
    yield from python()
    yield from dotenv(path)
    yield from settings(os.environ, path)
    yield from keys_file(keys, needed=urlsplit(url).hostname in LOOPBACK)
    yield from gateway(url, key)
