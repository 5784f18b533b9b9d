"""What the headers of a call ask for: the ``x-fwd-*`` options, times, user, tags, session, and where it came by."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fwd_server.routing.sticky import SESSION_HEADER
from fwd_server.upstream.loop_guard import HEADER, LoopGuard
from fwd_server.values.errors import BadRequest

MOST_USER: Final = 128
MOST_TAGS: Final = 8
_TAG_NAME: Final = re.compile(r"[a-z0-9_-]{1,32}")
_TAG_VALUE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# The spellings that clients use; everything else is refused, because a typo must not change what a call does.
_FLAG: Final = {"": False, **dict.fromkeys(("false", "0", "no"), False), **dict.fromkeys(("true", "1", "yes"), True)}
_FALLBACK: Final = {"": True, "none": False}
# Ours first, then those of Claude Code, Codex, opencode and Open WebUI, which say as much.
_SESSIONS: Final = (
    SESSION_HEADER,
    "x-claude-code-session-id",
    "session-id",
    "x-session-id",
    "x-openwebui-chat-id",
)
# The headers that ask for less time, and what each is called in ``Timeouts``.
_TIMES: Final = {
    "x-fwd-connect-timeout": "connect_s",
    "x-fwd-first-byte-timeout": "first_byte_s",
    "x-fwd-first-event-timeout": "first_event_s",
    "x-fwd-idle-timeout": "idle_s",
    "x-fwd-timeout": "total_s",
}


class CallOptions(msgspec.Struct, frozen=True):
    """The options of a call, as ``values.call.Call`` explains them; ``deadline_s`` is None for the operator's own."""

    strict: bool = False
    fallback: bool = True
    dry_run: bool = False
    deadline_s: float | None = None
    requested_timeouts: Mapping[str, float] = msgspec.field(default_factory=dict)
    retry_count: int | None = None
    via: tuple[str, ...] = ()
    user: str = ""
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    session: str | None = None


def read_options(headers: Mapping[str, Any], loop_guard: LoopGuard) -> CallOptions:
    """The options in ``headers``, which are looked up by lower-case names.

    Raises BadRequest: a misspelled dry run must not become a call that costs money. Raises GatewayError (508) for a
    call that has been here before.
    """
    times = {time: _read_seconds(name, headers[name]) for name, time in _TIMES.items() if name in headers}
    return CallOptions(
        strict=_read_choice(headers, "x-fwd-strict", _FLAG, "true or false"),
        fallback=_read_choice(headers, "x-fwd-fallback", _FALLBACK, "none"),
        dry_run=_read_choice(headers, "x-fwd-dry-run", _FLAG, "true or false"),
        deadline_s=times.pop("total_s", None),
        requested_timeouts=times,
        # The first is set by OpenAI's and Anthropic's SDKs (both made with Stainless), the second by ours.
        retry_count=_retry_count(headers.get("x-stainless-retry-count") or headers.get("x-fwd-retry-count")),
        via=loop_guard.check_incoming(headers.get(HEADER)),
        user=clean_user(headers.get("x-fwd-user")),
        tags=_read_tags(headers["x-fwd-tags"]) if "x-fwd-tags" in headers else {},
        session=next((headers[name] for name in _SESSIONS if name in headers), None),
    )


def _read_choice(headers: Mapping[str, Any], name: str, meanings: Mapping[str, bool], allowed: str) -> bool:
    value = headers.get(name, "").lower()
    if value not in meanings:
        raise BadRequest(f"Invalid value for '{name}': {value[:40]!r}; {allowed} is allowed.", param=name)
    return meanings[value]


def _read_seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    # NaN fails both comparisons, so it is refused as well.
    if not 0 < seconds < math.inf:
        allowed = "a number of seconds above 0 is allowed"
        raise BadRequest(f"Invalid value for {name!r}: {value[:40]!r}; {allowed}.", param=name)
    return seconds


def clean_user(text: str | None) -> str:
    """A user tag: at most 128 printable characters; what a caller sends beyond that is cut."""
    if not text:
        return ""
    # Cut instead of refused: the tag is for reports, and no reason to turn a call away.
    return "".join(character for character in text if character.isprintable()).strip()[:MOST_USER]


def _read_tags(text: str) -> dict[str, str]:
    pairs = [pair.partition("=")[::2] for pair in text.split(",")]
    tags = {name.strip(): value.strip() for name, value in pairs}
    good = all(_TAG_NAME.fullmatch(name) and _TAG_VALUE.fullmatch(value) for name, value in tags.items())
    if not good or len(pairs) > MOST_TAGS:
        raise BadRequest(
            f"Invalid value for 'x-fwd-tags': {text[:40]!r}; at most {MOST_TAGS} name=value with commas between them "
            "are allowed, such as team=web,feature=search.",
            param="x-fwd-tags",
        )
    return tags


def _retry_count(value: str | None) -> int | None:
    # For the log only: an odd value is ignored instead of refused.
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 4 else None
