"""What a connection of a client is doing, and what it may do next (contract T2, T4, T7)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class State(enum.Enum):
    """The state of a connection. A slow reader is no state: it can hold up any of them (``Connection.stalls``)."""

    IDLE = "waits for a request, of which nothing has come"
    HEAD = "part of a head has come"
    BODY = "the application has the head; the body is coming, or is handed on"
    ANSWER = "the application has the whole request and works on the answer"
    PARTING = "the answer is complete; the next request starts with the next turn of the loop"
    LINGER = "the last answer is given; what still comes is thrown away"
    CLOSING = "the socket is being closed; what was written may still go out"
    CLOSED = "the socket is closed"


# A connection that carries whole requests, answered at once, only goes from IDLE to BODY to ANSWER and back. From every
# state it may close; only an early answer or a refusal lingers.
TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.IDLE: frozenset((State.HEAD, State.BODY, State.LINGER, State.CLOSING, State.CLOSED)),
    State.HEAD: frozenset((State.BODY, State.LINGER, State.CLOSING, State.CLOSED)),
    State.BODY: frozenset((State.ANSWER, State.PARTING, State.LINGER, State.CLOSING, State.CLOSED)),
    State.ANSWER: frozenset((State.IDLE, State.PARTING, State.LINGER, State.CLOSING, State.CLOSED)),
    State.PARTING: frozenset((State.IDLE, State.LINGER, State.CLOSING, State.CLOSED)),
    State.LINGER: frozenset((State.CLOSING, State.CLOSED)),
    State.CLOSING: frozenset((State.CLOSING, State.CLOSED)),
    State.CLOSED: frozenset(),
}
