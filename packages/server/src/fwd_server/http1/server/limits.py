"""What the HTTP server takes from a client, how long it waits, and how it says no."""

from __future__ import annotations

from attrs import frozen


@frozen
class ServerLimits:
    """Limits of one server; sizes in bytes, times (``_s``) in seconds (contract T2, T3, T4, T6).

    ``header_bytes`` counts the whole head, request line and empty line included. ``body_bytes`` is for
    applications that do not count by themselves; ``Exchange.set_max_body_size`` changes it for one request.
    A body must come with ``body_rate`` bytes a second after the first ``body_s`` seconds. ``connections`` are all
    that are open at once, None for no limit; ``strangers`` those of one address that never authenticated and are
    older than ``stranger_s``. ``unread_s`` is how long a client may leave an answer without reading any of it; one that
    never authenticated must read ``read_rate`` bytes a second after that.
    After an early answer, what still comes is read and thrown away up to ``linger_bytes`` and ``linger_s``.
    Reading stops while more than ``buffer`` waits for its turn.
    """

    header_bytes: int = 16 << 10
    header_lines: int = 64
    target_bytes: int = 4 << 10
    body_bytes: int = 10 << 20
    header_s: float = 10.0
    body_s: float = 30.0
    body_rate: float = 64 << 10
    idle_s: float = 75.0
    unread_s: float = 30.0
    read_rate: float = 4 << 10
    connections: int | None = None
    strangers: int = 64
    stranger_s: float = 1.0
    linger_bytes: int = 32 << 20
    linger_s: float = 2.0
    buffer: int = 64 << 10


class Refusal(Exception):
    """A request the server does not hand on: its answer has this status and code, then the connection ends.

    The codes are those of OpenAI's errors where it has one. The message names limits and what was found, and
    quotes nothing a log or a terminal could trip over.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def malformed(message: str) -> Refusal:
    """A request that two readers could understand in two ways, or not at all."""
    return Refusal(400, "malformed_request", message)


def target_too_long(limits: ServerLimits) -> Refusal:
    """A target that is longer than the limit, or can only become so."""
    return Refusal(414, "target_too_long", f"The target of the request is longer than {limits.target_bytes} bytes.")


def late(part: str) -> Refusal:
    """A request of which a part, "head" or "body", did not come in time."""
    return Refusal(408, "request_timeout", f"The request {part} did not arrive in time.")


def headers_too_large(message: str) -> Refusal:
    """A head of too many bytes or lines."""
    return Refusal(431, "headers_too_large", message)
