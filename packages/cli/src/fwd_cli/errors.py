"""What a person reads when something goes wrong: what happened, why, and what to try; and the exit codes.

Every error that ends a command becomes a :class:`Failure`. ``__main__`` shows it and exits with its code.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fwd_client import FwdError


class ExitCode(enum.IntEnum):
    """How ``fwd`` ends, for scripts; ``fwd help exit-codes`` prints this list."""

    OK = 0
    ERROR = 1
    USAGE = 2
    UNREACHABLE = 3
    AUTH = 4
    UPSTREAM = 5
    LIMIT = 6
    TIMEOUT = 7
    SERVER = 70
    CONFIG = 78
    INTERRUPTED = 130


EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.OK: "success; also a server stopped with Ctrl-C, and a reader that closed the pipe",
    ExitCode.ERROR: "the request was refused, or another error occurred",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.UNREACHABLE: "no gateway answers at that address",
    ExitCode.AUTH: "the key is missing, wrong, expired, or not allowed to do this",
    ExitCode.UPSTREAM: "the provider failed, or the gateway is at capacity or shutting down",
    ExitCode.LIMIT: "a rate limit, a quota or a budget is exhausted",
    ExitCode.TIMEOUT: "no answer in time",
    ExitCode.SERVER: "the server failed",
    ExitCode.CONFIG: "a setting is invalid",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
}


class Failure(Exception):
    """The end of a command: ``what`` happened, ``why``, and what to ``try_`` next, each one line."""

    def __init__(self, what: str, why: str, try_: str, code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.try_ = try_
        self.code = code


DEFAULT_URL = "http://127.0.0.1:8000"
KEY_ADVICE = "{key}"

_ADVICE: dict[ExitCode, tuple[str, str]] = {
    ExitCode.ERROR: ("the gateway refused the request", "fwd call --help"),
    ExitCode.USAGE: ("an argument or a setting is invalid", "fwd help env"),
    ExitCode.UNREACHABLE: ("the gateway cannot be reached", "fwd run-server, or give its address: --server URL"),
    ExitCode.AUTH: ("the gateway refused the key", KEY_ADVICE),
    ExitCode.UPSTREAM: ("the provider failed", "again, or another model with {model}"),
    ExitCode.LIMIT: ("a limit is reached", "again in a moment, or another model with {model}"),
    ExitCode.TIMEOUT: ("no answer in time", "again, or another model with {model}"),
}
"""The first and the last line, where the gateway sends no hint."""

_ADVICE_ON: dict[str, tuple[str, str]] = {
    "budget_busy": ("running calls hold the rest of a budget", "again in a moment"),
    "budget_exceeded": (
        "a budget of this key is spent, or too small for this call",
        "a shorter answer: --max-tok N, or a cheaper model with {model}",
    ),
    "context_length_exceeded": (
        "the prompt is too long for this model",
        "a shorter prompt, or another model with {model}",
    ),
    "insufficient_quota": ("the provider's account is out of money", "another model with {model}"),
    "model_not_allowed": ("this key may not use the model", "another model with {model}"),
    "model_not_found": ("there is no such model", "fwd models"),
    "model_required": (
        "no model was named",
        "name one: {model} echo: (fwd models lists them)",
    ),
    "overloaded": ("the gateway is at capacity", "again in a moment"),
    "provider_auth": ("the provider refused the gateway's own key", "another model with {model} (fwd models)"),
    "provider_not_configured": (
        "this provider is not configured",
        "another model with {model} (fwd models lists them)",
    ),
    "request_too_large": ("the request is too large", "a shorter prompt, or smaller files"),
    "shutdown": ("the gateway is shutting down", "again when it is back"),
}
"""The same for codes that allow better advice; the message itself has the advice for the operator."""


def exit_code(error: FwdError) -> ExitCode:
    """The exit code for an error of the SDK: that of the first matching class in this table."""
    import fwd_client as sdk

    table: tuple[tuple[type[FwdError], ExitCode], ...] = (
        (sdk.ConfigurationError, ExitCode.USAGE),
        # The first match counts, so subclasses come before their bases.
        (sdk.APITimeoutError, ExitCode.TIMEOUT),
        (sdk.DeadlineError, ExitCode.TIMEOUT),
        (sdk.StreamInterruptedError, ExitCode.UPSTREAM),
        (sdk.APIConnectionError, ExitCode.UNREACHABLE),
        (sdk.APIResponseError, ExitCode.UNREACHABLE),
        (sdk.AuthenticationError, ExitCode.AUTH),
        (sdk.PermissionDeniedError, ExitCode.AUTH),
        (sdk.RateLimitError, ExitCode.LIMIT),
        (sdk.ServerError, ExitCode.UPSTREAM),
    )
    return next((code for kind, code in table if isinstance(error, kind)), ExitCode.ERROR)


def failure_of(error: FwdError, model: str = "--model", server: str = DEFAULT_URL) -> Failure:
    """An error of the SDK in three lines; a hint that the gateway sent wins over ours.

    ``model`` is how another model is chosen here; ``server`` decides where a key comes from.
    """
    code = exit_code(error)
    # The code is more exact than the class of the error.
    what, try_ = _ADVICE_ON.get(getattr(error, "code", None) or "", _ADVICE[code])
    if try_ is KEY_ADVICE:
        try_ = key_advice(server)
    # The SDK's own hints speak of arguments in Python.
    sent_hint = error.hint if error.hint != error.default_hint else None
    return Failure(what, _reason_text(error), sent_hint or try_.replace("{model}", model), code)


def _reason_text(error: FwdError) -> str:
    """The message, then status, code and request id, where there are any."""
    status, code, request_id = (getattr(error, name, None) for name in ("status", "code", "request_id"))
    facts = " ".join(str(fact) for fact in (status, code, request_id) if fact)
    return f"{error.message} ({facts})" if facts else error.message


def no_key(server: str) -> Failure:
    """The end of a command that needs a key and has none, before anything is sent."""
    return Failure(
        f"there is no key for the gateway at {server}",
        "neither --key, FORWARDER_KEY and .env, nor a profile for this address has one",
        key_advice(server),
        ExitCode.AUTH,
    )


def key_advice(server: str) -> str:
    """How to get a key: from here, where the gateway is likely to run, or from its operator."""
    if runs_here(server):
        return "fwd generate-key, then export FORWARDER_KEY=<the key>"
    return f"ask its operator for a key, then store it: fwd login {server}"


def runs_here(server: str) -> bool:
    """Whether the address is one of this machine, where keys can be made."""
    from urllib.parse import urlsplit

    return (urlsplit(server).hostname or "") in ("localhost", "127.0.0.1", "::1")


@contextmanager
def sdk_errors_explained(server: str = DEFAULT_URL) -> Iterator[None]:
    """Inside this block an error of the SDK ends the command with its three lines and its exit code."""
    from fwd_client import FwdError

    try:
        yield
    except FwdError as error:
        raise failure_of(error, server=server) from error


@contextmanager
def file_errors_explained(what: str, try_: str) -> Iterator[None]:
    """Inside this block a file that the system refuses ends the command with three lines."""
    try:
        yield
    except OSError as error:
        raise Failure(what, f"{error.strerror or error}: {error.filename or 'a file'}", try_) from error
