"""The error tree."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from fwd_client import _errors
from fwd_client._errors import APIError, BudgetExceededError, FailedAttempt, FwdError, QuotaExceededError, class_for

CLASSES = [kind for kind in vars(_errors).values() if isinstance(kind, type) and issubclass(kind, FwdError)]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_pickle(kind: type[FwdError]) -> None:
    """Every error survives pickling with all it knows."""
    error = kind("message", hint="try this")
    error.__dict__ |= {"code": "c", "failures": (FailedAttempt("p", "c"),)}
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.args, copy.__dict__) == (error.args, error.__dict__)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_drawn(kind: type[FwdError]) -> None:
    """The tree at the head of the module shows every class below its parent."""
    lines = [line for line in (_errors.__doc__ or "").splitlines() if kind.__name__ in line.split()]
    assert len(lines) == 1


def test_text() -> None:
    """The text has message, status, code, request id and hint."""
    error = APIError("Too fast.", status=429, code="rate_limit_exceeded", request_id="req_1", hint="Wait.")
    assert str(error) == "Too fast. (429 rate_limit_exceeded, request req_1)\nWait."


def test_text_of_little() -> None:
    """What is not known is not mentioned."""
    assert str(APIError("Gone.")) == "Gone."
    assert str(APIError("Gone.", request_id="r")) == "Gone. (request r)"


def test_text_cannot_steer_a_terminal() -> None:
    """Escape sequences and direction marks in a message come out as text."""
    assert str(FwdError("a\x1b[2Jb\u202ec\nd")) == "a\\x1b[2Jb\\u202ec\nd"


@pytest.mark.parametrize(
    ("status", "code", "kind", "expected"),
    [
        (429, "insufficient_quota", None, "QuotaExceededError"),
        (429, "requests", "requests", "RateLimitError"),
        (None, "connect_failed", "server_error", "UpstreamError"),
        (None, None, "rate_limit_error", "RateLimitError"),
        (None, None, "server_error", "ServerError"),
        (None, None, None, "ServerError"),
        (None, "odd", "invalid_request_error", "BadRequestError"),
        (400, None, None, "BadRequestError"),
        (422, None, None, "BadRequestError"),
        (409, None, None, "ConflictError"),
        (501, "provider_not_available", None, "ProviderNotConfiguredError"),
        (599, None, None, "ServerError"),
        (302, None, None, "APIStatusError"),
    ],
)
def test_class_for(status: int | None, code: str | None, kind: str | None, expected: str) -> None:
    """The code decides, else the status, else the type."""
    assert class_for(status, code, kind).__name__ == expected


def test_every_error_answers_the_same_questions() -> None:
    """Whatever goes wrong with a call has a code, a status, an id, a wait, a hint and a count."""
    facts: dict[str, Any] = vars(_errors.APITimeoutError("late"))
    assert {"code", "status", "request_id", "retry_after", "hint", "attempts"} <= facts.keys()


@pytest.mark.parametrize("kind", [_errors.APITimeoutError, _errors.DeadlineError])
def test_timeouts(kind: type[APIError]) -> None:
    """Whether this side or the gateway saw that the time is over: both are Python's `TimeoutError`."""
    with pytest.raises(TimeoutError, match=r"late \(504\)"):
        raise kind("late", status=504)


def test_a_spent_budget_is_a_quota_of_its_own() -> None:
    """Both are caught by one class; only the budget is the gateway's own."""
    assert class_for(429, "budget_exceeded") is BudgetExceededError
    assert issubclass(BudgetExceededError, QuotaExceededError)
