"""The lines of the key file, and the keys they allow. Pure; told the time, never asks it.

    # made for people, like authorized_keys: one key a line, options after it
    fwd_J3vq...                                     in clear
    sha256:9f86d0...  name=web expires=2027-01-31   as a digest, with options

    sha256:2c26b4...  project=shop rpm=60 budget=5/day,50/month models=gpt-5* ips=10.0.0.0/8
    project shop      budget=500/month                 the rules of a project, which its keys share

``expires`` is a date (the end of that day, UTC) or an RFC 3339 time. A line that cannot be used is skipped, and an
alert names its number, never its text: it may be a key with a slip in it. So is a line with an option we do not
know, which may be meant to restrict the key.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections.abc import Iterator, Mapping, Set
from datetime import datetime, timezone
from typing import Final

from attrs import evolve, field, frozen

from fwd_server.metering.rules import Rule
from fwd_server.store.key_options import (
    KEY_OPTIONS,
    NAME,
    RULE_OPTIONS,
    BadLine,
    KeyRights,
    read_rights,
    read_rules,
    split_options,
)

PREFIX: Final = "fwd_"
ADMIN_PREFIX: Final = "fwd_adm_"
SHORTEST: Final = 22  # characters after the prefix: 128 bits (contract S25)

_CLEAR: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{{SHORTEST},1024}}")
# In a comment too, but neither a part of a longer word nor a name that looks like a key.
_CLEAR_ANYWHERE: Final = re.compile(rb"(?<![A-Za-z0-9_.-])(?<!name=)fwd_[A-Za-z0-9_-]{22,1024}(?![A-Za-z0-9_-])")
_DIGEST: Final = re.compile(r"sha256:([0-9A-Fa-f]{64})")
_DAY_S: Final = 86_400
_ID_LENGTH: Final = 8
_LINES: Final = re.compile(rb"[^\n]*\n|[^\n]+")
_PROJECT: Final = b"project"
_NOBODY_COUNTS: Final = "limits and budgets need a gateway of one worker (FWD_WORKERS=1)"
NO_OPTIONS: Final[Mapping[str, str]] = {}
_BOM: Final = b"\xef\xbb\xbf"
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(rf"({_DATE.pattern})[Tt]([0-9:]{{8}})(\.[0-9]{{1,9}})?([Zz]|[+-][0-9]{{2}}:[0-9]{{2}})")


@frozen
class Entry:
    """One allowed key. ``expires`` is in seconds of the epoch: from then on the key is refused."""

    digest: bytes = field(repr=False)
    name: str = ""
    expires: float = math.inf
    line: int = 0
    rights: KeyRights = field(factory=KeyRights)

    @property
    def id(self) -> str:
        """Who the key is in the ledger: it stays the same when the key gets a name, or is hardened."""
        return key_id_of(self.digest)


_NOBODY: Final = Entry(bytes(32))


@frozen
class KeySet:
    """The keys that are allowed, by their SHA-256 digests, and the rules of the projects that share them."""

    entries: Mapping[bytes, Entry] = field(factory=dict, repr=False)
    projects: Mapping[str, tuple[Rule, ...]] = field(factory=dict)

    def __len__(self) -> int:
        return len(self.entries)

    def find(self, key: str, now: float) -> Entry | None:
        """The entry of a presented key, or None. A stored digest is no key: it is hashed like any other text (S9).

        What is looked up is a digest, so time tells nothing of how much of a key was right; the work is the same
        whether there is an entry or not (contract T12).
        """
        digest = fingerprint(key)
        entry = self.entries.get(digest, _NOBODY)
        known = hmac.compare_digest(entry.digest, digest)
        lasting = now < entry.expires
        # A hardened file no longer shows that a digest is an admin key's, which must never be served as a user's.
        is_admin = key.startswith(ADMIN_PREFIX)
        return entry if known and lasting and not is_admin else None

    def list_rules(self) -> tuple[Rule, ...]:
        """Every limit and budget of the file, for the book."""
        of_keys = (rule for entry in self.entries.values() for rule in entry.rights.rules)
        of_projects = (rule for rules in self.projects.values() for rule in rules)
        return (*of_keys, *of_projects)


@frozen
class Parsed:
    """The content of a key file: its keys, and the problems of its lines."""

    keys: KeySet
    alerts: tuple[str, ...] = ()


def fingerprint(key: str) -> bytes:
    """The SHA-256 digest of a key."""
    return fingerprint_of(key.encode("utf-8", "surrogatepass"))


def fingerprint_of(data: bytes) -> bytes:
    """The SHA-256 digest of bytes."""
    return hashlib.sha256(data).digest()


def short_id(digest: bytes) -> str:
    """What log lines and lists show of a key: the first digits of its digest, which say nothing of the key (S12)."""
    return digest.hex()[:_ID_LENGTH]


def key_id_of(digest: bytes) -> str:
    """The id of a key of the file in the ledger."""
    return f"file_{digest.hex()[:12]}"


@frozen
class Listed:
    """One line of the file with a key, as its owner may see it.

    ``id`` is the one in log lines, ``hashed`` whether the line holds the digest only, ``problem`` why the line is
    skipped, if it is.
    """

    id: str
    digest: bytes = field(repr=False)
    line: int
    hashed: bool
    name: str = ""
    expires: float = math.inf
    problem: str = ""


def listed(data: bytes) -> tuple[Listed, ...]:
    """Every line of a key file with a key, those that are skipped included."""
    lines = ((number, raw, _key_of(raw)) for number, raw in _numbered(data))
    return tuple(_listed(number, raw, *key) for number, raw, key in lines if key)


def _listed(number: int, raw: bytes, digest: bytes, hashed: bool) -> Listed:
    listed_key = Listed(short_id(digest), digest, number, hashed)
    try:
        entry = _read(raw)
    except BadLine as error:
        return evolve(listed_key, problem=str(error))
    return evolve(listed_key, name=entry.name, expires=entry.expires) if entry else listed_key


def _key_of(raw: bytes) -> tuple[bytes, bool] | None:
    """The digest of the key a line begins with, and whether the line holds no more than that; None without a key."""
    words = raw.decode("utf-8", "replace").split(maxsplit=1)
    if not words or words[0].startswith("#"):
        return None
    try:
        return _digest(words[0]), _DIGEST.fullmatch(words[0]) is not None
    except BadLine:
        return None


def without(data: bytes, digests: Set[bytes]) -> tuple[bytes, int]:
    """A key file without the lines of these keys, and how many there were; what else it holds stays as it is.

    A line that is skipped is removed, too: repairing it later would bring its key back.
    """
    # With their line ends: what stays is byte for byte what its owner wrote.
    lines = _LINES.findall(data.removeprefix(_BOM))
    kept = [raw for raw in lines if (_key_of(raw) or (b"", False))[0] not in digests]
    return b"".join(kept), len(lines) - len(kept)


def hardened(data: bytes) -> tuple[bytes, int]:
    """A key file with the digest of every key in place of the key, comments included, and how many there were."""
    return _CLEAR_ANYWHERE.subn(lambda match: b"sha256:" + fingerprint_of(match[0]).hex().encode(), data)


def _numbered(data: bytes) -> Iterator[tuple[int, bytes]]:
    return enumerate(data.removeprefix(_BOM).split(b"\n"), start=1)


def parse(data: bytes, *, counts: bool = True) -> Parsed:
    """Read a whole key file. Of two lines with the same key or project the first counts.

    Without ``counts`` nobody can keep limits and budgets, and a line that has any is skipped: a key must never be
    served without its limits. So is a key of a project whose line cannot be used.
    """
    entries: dict[bytes, Entry] = {}
    projects: dict[str, tuple[Rule, ...]] = {}
    broken: set[str] = set()
    alerts = [
        alert
        for number, raw in _numbered(data)
        if (alert := _add(entries, projects, broken, number, raw, counts=counts))
    ]
    for entry in [entry for entry in entries.values() if entry.rights.project in broken]:
        del entries[entry.digest]
        alerts.append(f"line {entry.line} is skipped: the line of its project cannot be used")
    return Parsed(KeySet(entries, projects), tuple(alerts))


def _add(
    entries: dict[bytes, Entry],
    projects: dict[str, tuple[Rule, ...]],
    broken: set[str],
    number: int,
    raw: bytes,
    *,
    counts: bool,
) -> str:
    """Add the key or project of a line, if it has one; what is wrong with it, or nothing."""
    words = raw.split(maxsplit=2)
    try:
        if words[:1] == [_PROJECT]:
            _add_project(projects, raw, counts=counts)
            return ""
        entry = _read(raw)
        if entry is None:
            return ""
        if entry.rights.rules and not counts:
            raise BadLine(_NOBODY_COUNTS)
        if entry.digest in entries:
            raise BadLine(f"the same key is already in line {entries[entry.digest].line}")
    except BadLine as error:
        if words[:1] == [_PROJECT]:
            broken.update(word.decode("utf-8", "replace") for word in words[1:2])
        return f"line {number} is skipped: {error}"
    # With its line, so that a later duplicate can name it.
    entries[entry.digest] = evolve(entry, line=number)
    return ""


def _add_project(projects: dict[str, tuple[Rule, ...]], raw: bytes, *, counts: bool) -> None:
    words = [*_words(_decode(raw))]
    if len(words) < 2 or not NAME.fullmatch(words[1]):
        raise BadLine("a project is 1 to 64 of A-Z a-z 0-9 . _ -, as in: project shop budget=500/month")
    name = words[1]
    if name in projects:
        raise BadLine("the same project is already in a line above")
    options = split_options(words[2:], RULE_OPTIONS)
    rules = read_rules(options, f"project_{name}", f"project:{name}", f"project '{name}'")
    if rules and not counts:
        raise BadLine(_NOBODY_COUNTS)
    projects[name] = rules


def _read(raw: bytes) -> Entry | None:
    return parse_line(_decode(raw))


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadLine("it is not UTF-8") from None


def parse_line(text: str) -> Entry | None:
    """The entry of one line; None for a blank line or a comment. Raises BadLine."""
    words = list(_words(text))
    if not words:
        return None
    digest = _digest(words[0])
    options = split_options(words[1:], KEY_OPTIONS)
    name = _name(options)
    return Entry(digest, name, _expires(options), rights=read_rights(options, key_id_of(digest), name))


def _words(text: str) -> Iterator[str]:
    """The words of a line up to a comment."""
    for word in text.split():
        if word.startswith("#"):
            return
        yield word


def _digest(word: str) -> bytes:
    hashed = _DIGEST.fullmatch(word)
    if hashed:
        return bytes.fromhex(hashed[1])
    if word.startswith(ADMIN_PREFIX):
        # An admin key must never become a user's key by being pasted into the wrong file.
        raise BadLine(f"a key that begins with {ADMIN_PREFIX} is an admin key, not a caller's key")
    if not _CLEAR.fullmatch(word):
        raise BadLine(f"a key is {PREFIX} and at least {SHORTEST} of A-Z a-z 0-9 _ -, or sha256: and 64 hex digits")
    return fingerprint(word)


def _name(options: Mapping[str, str]) -> str:
    name = options.get("name", "")
    if "name" in options and not NAME.fullmatch(name):
        raise BadLine("a name is 1 to 64 of A-Z a-z 0-9 . _ -")
    return name


def _expires(options: Mapping[str, str]) -> float:
    try:
        return read_expiry(options["expires"]) if "expires" in options else math.inf
    except ValueError:
        raise BadLine("expires is a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z") from None


def read_expiry(text: str) -> float:
    """Seconds since the epoch from which on a key is refused. Raises ValueError."""
    if _DATE.fullmatch(text):
        return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() + _DAY_S
    # Taken apart here, because `fromisoformat` reads neither "Z" nor every fraction before Python 3.11.
    parts = _TIME.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    date, time, fraction, zone = parts.groups()
    offset = "+00:00" if zone in "Zz" else zone
    return datetime.fromisoformat(f"{date}T{time}{offset}").timestamp() + float(fraction or 0)


def line(key: str, *, name: str = "", expires: str = "", options: Mapping[str, str] = NO_OPTIONS) -> str:
    """A line for the key file. Raises BadLine when it could not be read again."""
    words = [key, *([f"name={name}"] if name else []), *([f"expires={expires}"] if expires else [])]
    words += [f"{option}={value}" for option, value in options.items()]
    text = " ".join(words)
    if any(character.isspace() or character == "#" for word in words for character in word):
        raise BadLine("a key, a name or a time must not contain spaces or #")
    if parse_line(text) is None:
        raise BadLine("there is no key")
    return text
