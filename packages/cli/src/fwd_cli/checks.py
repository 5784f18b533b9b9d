"""The checks of ``fwd doctor``: each yields findings, and each bad one has the command that fixes it."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from fwd_cli import names
from fwd_cli.findings import Finding
from fwd_cli.options import is_same_server
from fwd_cli.provider_checks import providers
from fwd_client import Client, FwdError, Health
from fwd_client.profiles import Profile
from fwd_server.settings import SettingsError, load_settings
from fwd_server.store.key_file import KeyFileError, check_modes
from fwd_server.store.key_set import parse

MOST_SKEW_S = 30.0
OLDEST_PYTHON = (3, 10)
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def python(found: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Finding]:
    """Whether this Python is supported."""
    words = ".".join(map(str, found))
    if found >= OLDEST_PYTHON:
        yield Finding("python", "ok", words)
    else:
        yield Finding("python", "bad", f"{words} is too old", "install Python 3.10 or newer")


def versions() -> Iterator[Finding]:
    """Whether the three packages have the same version."""
    found = {name: version(name) for name in ("fwd-cli", "fwd-client", "fwd-server")}
    words = ", ".join(f"{name} {number}" for name, number in found.items())
    if len(set(found.values())) == 1:
        yield Finding("versions", "ok", words)
    else:
        yield Finding("versions", "note", f"{words} have different versions", "pip install --upgrade fwd-cli")


def port(url: str) -> Iterator[Finding]:
    """Whether another program uses the gateway's port; only checked when no gateway answers."""
    parts = urlsplit(url)
    # Asked only when the gateway did not answer: then the port is free, or somebody else's.
    number = parts.port or 80
    with socket.socket() as trial:
        trial.settimeout(1)
        if parts.hostname in LOOPBACK and trial.connect_ex(("127.0.0.1", number)) == 0:
            fix = f"fwd run-server --port {number + 1}, and export FORWARDER_URL=http://127.0.0.1:{number + 1}"
            yield Finding("port", "bad", f"another program listens on {number}", fix)


def dotenv(path: Path) -> Iterator[Finding]:
    """Whether ``.env`` is there, and only its owner can read it."""
    if path.is_file():
        yield from _check_private("settings file", path) or [Finding("settings file", "ok", f"{path}")]
    else:
        yield Finding("settings file", "note", f"there is no {path} here: settings come from the environment")


def settings(environment: Mapping[str, str], path: Path, *, ask: bool = False) -> Iterator[Finding]:
    """Whether a server started here would accept its settings; with ``ask``, whether providers accept their keys."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    try:
        loaded = load_settings({}, environment, text)
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("settings", "bad", str(problem), f"correct {problem.name}, then fwd run-server --check")
        return
    yield Finding("settings", "ok", "fwd config show --sources lists them")
    for warning in loaded.warnings:
        yield Finding("settings", "note", warning)
    if ask:
        yield from providers(loaded.settings)


def keys_file(path: Path, *, needed: bool) -> Iterator[Finding]:
    """Whether there are keys for callers, and only their owner can read them; ``needed`` where the gateway is here."""
    if not path.is_file():
        detail = f"there is no {path}: a server started here would refuse every call"
        yield (
            Finding("keys file", "bad", detail, "fwd generate-key") if needed else Finding("keys file", "note", detail)
        )
        return
    yield from _check_private("keys file", path)
    parsed = parse(path.read_bytes())
    for alert in parsed.alerts:
        yield Finding("keys file", "note", alert)
    if len(parsed.keys):
        yield Finding("keys file", "ok", f"{path} contains {len(parsed.keys)}")
    else:
        yield Finding("keys file", "bad", f"{path} contains no key", "fwd generate-key")


def _check_private(name: str, path: Path) -> list[Finding]:
    try:
        warnings = check_modes(path)
    except KeyFileError as error:
        return [Finding(name, "bad", str(error), f"chmod 600 {path}")]
    return [Finding(name, "note", warning) for warning in warnings]


def stored_login(profile: Profile | None, url: str, key: str | None) -> Iterator[Finding]:
    """Which profile was chosen, and what of it is used: a flag, a variable or ``.env`` may win over it."""
    if profile is None:
        yield Finding("profile", "ok", "none stored; fwd login URL stores one")
    elif not is_same_server(profile.url, url):
        detail = f"{profile.name} ({profile.url}) is not used: --server, FORWARDER_URL or .env names {url}"
        yield Finding("profile", "note", detail)
    elif profile.key != (key or ""):
        yield Finding("profile", "note", f"{profile.name} ({profile.url}) is used, with another key than its own")
    else:
        yield Finding("profile", "ok", f"{profile.name} ({profile.url}), with its key")


def gateway(url: str, key: str | None) -> Iterator[Finding]:
    """Whether a gateway answers, its state, and whether it knows our key."""
    try:
        with Client(base_url=url, api_key=key or "none", max_retries=0, timeout=10) as client:
            health = client.ready()
            yield from _check_health(url, health)
            yield from your_key(client, key)
    except FwdError as error:
        yield Finding("gateway", "bad", error.args[0], "fwd run-server, or export FORWARDER_URL=<its address>")
        yield from port(url)


def _check_health(url: str, health: Health) -> Iterator[Finding]:
    if health.ok:
        yield Finding("gateway", "ok", f"{url} is {health.status or 'there'}")
    else:
        yield Finding("gateway", "bad", f"{url} is {health.status or 'not ready'}", "see the next lines, and its log")
    for notice in health.extra.get("degraded") or ():
        yield Finding("gateway", "note", str(notice))
    yield from _provider_states(health.extra.get("providers") or ())
    # An answer of the gateway has its time, so nothing else has to be asked.
    yield from clock(health.receipt.headers.get("date"), time.time())


def _provider_states(providers: Sequence[Mapping[str, str]]) -> Iterator[Finding]:
    """The state of the gateway's providers: which are on, which are cooling down, and what enables the others."""
    on = [provider.get("name", "?") for provider in providers if provider.get("state") == "on"]
    if on:
        yield Finding("providers", "ok", f"on: {', '.join(on)}")
    for provider in providers:
        if provider.get("state") not in ("on", "off"):
            state = str(provider.get("state", "?")).replace("_", " ")
            yield Finding("providers", "note", f"{provider.get('name', '?')} is {state}: others are tried first")
    off = [f"{p.get('name', '?')} ({p.get('enabled_by', '?')})" for p in providers if p.get("state") == "off"]
    if off:
        yield Finding("providers", "ok", f"off, and what enables them: {', '.join(off)}")


def clock(date: str | None, now: float) -> Iterator[Finding]:
    """Whether the gateway's clock agrees with ours: expiry dates and limits depend on it."""
    if date is None:
        return
    skew = abs(parsedate_to_datetime(date).timestamp() - now)
    # Half a minute is more than a slow network, and less than what an expiry date minds.
    if skew <= MOST_SKEW_S:
        yield Finding("clock", "ok", "the gateway's clock agrees with this one")
    else:
        yield Finding("clock", "bad", f"the gateway's clock differs by {skew:.0f} s", "timedatectl set-ntp true")


def your_key(client: Client, key: str | None) -> Iterator[Finding]:
    """Whether the gateway accepts the key in use here."""
    is_here = urlsplit(client.base_url).hostname in LOOPBACK
    # Only whoever runs a gateway can make keys for it.
    login = f"ask its operator for a key, then fwd login {client.base_url}"
    fix = "export FORWARDER_KEY=$(fwd generate-key)" if is_here else login
    if not key:
        yield Finding("your key", "bad", "FORWARDER_KEY is not set, and no profile has a key for this gateway", fix)
        return
    try:
        reached = [model.id for model in client.models.list()]
    except FwdError as error:
        yield Finding("your key", "bad", error.args[0], fix)
        return
    names.remember(client.base_url, reached)
    yield Finding("your key", "ok", f"it can use {len(reached)} models")


def all_of(url: str, key: str | None, keys: Path, profile: Profile | None = None, *, ask: bool) -> Iterator[Finding]:
    """Every check, in the order in which they depend on each other."""
    path = Path(".env")
    yield from python()
    yield from versions()
    yield from dotenv(path)
    yield from settings(os.environ, path, ask=ask)
    yield from keys_file(keys, needed=urlsplit(url).hostname in LOOPBACK)
    yield from stored_login(profile, url, key)
    yield from gateway(url, key)
