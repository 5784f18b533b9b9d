"""Who asked what, and how it went. Every layer above reads these; none of them knows how it came about."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
from attrs import frozen

from fwd_server.values.chat import ChatRequest
from fwd_server.values.embeddings import EmbeddingsRequest
from fwd_server.values.errors import ErrorKind
from fwd_server.values.milliseconds import round_ms
from fwd_server.values.usage import Usage


@frozen
class Caller:
    """The owner of a valid key: its name in the key file, and the id by which `fwd keys` lists and revokes it.

    Count by ``key_id``: names may repeat, and a key need not have one. ``ledger_id`` is who it is in the ledger,
    ``models`` are patterns of what it may call (empty: everything), and with ``needs_user`` each call must name its
    user. ``expires`` is in seconds of the epoch.
    """

    name: str = ""
    key_id: str = ""
    ledger_id: str = ""
    project: str = ""
    models: tuple[str, ...] = ()
    needs_user: bool = False
    expires: float = math.inf

    @property
    def label(self) -> str:
        """What people call the key: its name, or the id of a key without one."""
        return self.name or self.key_id


class Call(msgspec.Struct, frozen=True):
    """One request of a caller, with its id and its options.

    ``deadline_s`` is the time for the whole chain until the commit, in seconds; ``strict`` refuses to drop a
    field (``x-fwd-strict``); ``fallback`` allows other providers (``x-fwd-fallback``); ``queued_ms`` is the time from
    the request's first byte until the gateway turned to it; ``via`` are the gateways it came by; ``requested_timeouts``
    are the seconds it asks for by their names in ``Timeouts``, which count where they are shorter than a provider's;
    ``session`` is what the caller calls its conversation (``x-fwd-session``).

    ``text_bytes`` and ``media_tokens`` are the size of its input (``metering.bounds.InputSize``); ``writes_1h``: it
    asks for cache entries of an hour; ``user`` and ``tags`` are the caller's own words for the ledger.
    """

    id: str
    caller: Caller
    request: ChatRequest | EmbeddingsRequest
    deadline_s: float = 600.0
    strict: bool = False
    fallback: bool = True
    retry_count: int | None = None
    peer: str = ""
    queued_ms: float = 0.0
    via: tuple[str, ...] = ()
    requested_timeouts: Mapping[str, float] = msgspec.field(default_factory=dict)
    text_bytes: int = 0
    media_tokens: int = 0
    writes_1h: bool = False
    user: str = ""
    # For the ledger and its reports alone: nothing is decided by them.
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    session: str | None = None


# gc=False: it holds only strings and numbers, so the collector need not visit it.
class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One try at one deployment, as it ended. ``ms`` is its time until the commit or the failure.

    ``why`` says how it came to it: first, next_key, fallback, on.KIND or again.
    """

    provider: str
    model: str
    ms: float
    status: int | None = None
    code: str | None = None
    kind: ErrorKind | None = None
    why: str = "first"

    def as_fields(self) -> dict[str, str | int | float | None]:
        """The attempt for an error's body and for the log (contract F33); no secrets in it."""
        return {
            "provider": self.provider,
            "model": self.model,
            "status": self.status,
            "code": self.code,
            "ms": round_ms(self.ms),
        }


class Outcome(msgspec.Struct, frozen=True):
    """The frozen end of a call: every observer reads this (log, metrics, receipts).

    Times are in milliseconds from the call's start. ``status`` is what the caller saw; a stream that broke after
    its commit has status 200 and an ``error``. ``disconnected`` says that the caller went away first. A Struct
    rather than an attrs class because it is made once for every call: 17 fields cost 0.5 µs instead of 3.
    """

    id: str
    caller: str
    requested_model: str | None
    status: int
    stream: bool
    provider: str | None = None
    model: str | None = None
    attempts: tuple[Attempt, ...] = ()
    usage: Usage | None = None
    dropped: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    error: str | None = None
    param: str | None = None
    disconnected: bool = False
    ttft_ms: float | None = None
    total_ms: float = 0.0
    upstream_request_id: str | None = None
    retry_count: int | None = None
    peer: str = ""
    key_id: str = ""


class RequestEnd(msgspec.Struct, frozen=True, gc=False):
    """The end of a request that was no call: a page, a list, or a refusal at the door.

    ``path`` has no query (contract S13). ``key`` is the label of the caller's key, ``key_id`` its id; both are None
    without a valid one. ``requested_model`` is what a refused call asked for.
    """

    id: str
    status: int
    method: str = "-"
    path: str = ""
    peer: str = ""
    key: str | None = None
    key_id: str | None = None
    requested_model: str | None = None
    error: str | None = None
    param: str | None = None
    total_ms: float = 0.0
