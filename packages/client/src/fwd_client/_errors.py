"""Everything that can go wrong, as one tree.

    FwdError
    ├── ConfigurationError                 an argument or a variable of the environment cannot be used
    ├── ToolError                          raised by a tool: its text goes back to the model
    ├── ToolStepsExceeded                  run_tools() reached its bound
    ├── ParseError                         the model's answer does not fit the class it was asked for
    └── APIError                           asked, but not answered well
        ├── APIConnectionError             no answer, or none to the end
        │   ├── APITimeoutError
        │   └── StreamInterruptedError     a stream ended without saying that it was complete
        ├── APIResponseError               an answer that is not what the gateway says
        └── APIStatusError                 an error the gateway reports, by status or inside a stream
            ├── BadRequestError            400, 405, 411, 414, 415, 421, 431, 422 ...
            │   ├── ContextLengthError     the messages are longer than the model can read
            │   └── UnsupportedParameterError
            ├── AuthenticationError        401
            ├── PermissionDeniedError      403
            ├── NotFoundError              404
            │   └── ModelNotFoundError
            ├── ConflictError              409
            ├── RequestTooLargeError       413
            ├── RateLimitError             429
            │   └── QuotaExceededError     the provider's account is out of money
            │       └── BudgetExceededError  a budget of the key is
            └── ServerError                500 and above
                ├── UpstreamError          502: a provider failed
                │   └── ProviderAuthError  the provider refused the gateway's own key
                ├── OverloadedError        503
                │   └── ProviderNotConfiguredError
                └── DeadlineError          504: nobody answered in time

Every error can be pickled: its one positional argument is the message, all else is in its attributes.
"""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import frozen

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@frozen
class FailedAttempt:
    """What one provider reported before the gateway gave up; part of `APIError.failures`."""

    provider: str | None = None
    code: str | None = None


class FwdError(Exception):
    """The root: `except FwdError` catches everything this package raises on purpose."""

    default_hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        # What the gateway sends is about this very call, ours about all of the kind.
        self.hint = hint or self.default_hint

    def __str__(self) -> str:
        # The whole text in one: log collectors and tracebacks show nothing else of an exception.
        lines = [self.message + self._known_facts()]
        if self.hint:
            lines.append(self.hint)
        # Part of the text is the provider's, and may hold what a terminal obeys.
        return printable_text("\n".join(lines))

    def _known_facts(self) -> str:
        return ""


class ConfigurationError(FwdError, ValueError):
    """An argument or a variable of the environment cannot be used; nothing was sent."""


class ToolError(FwdError):
    """Raise it inside a tool to tell the model, instead of the program, what went wrong."""


class ToolStepsExceeded(FwdError):
    """The model still asked for tools after the last allowed step; `messages` has the conversation so far."""

    default_hint = "Raise max_steps, or look in error.messages why the model keeps calling."

    def __init__(self, message: str, *, hint: str | None = None, messages: tuple[Any, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.messages = messages


class ParseError(FwdError, ValueError):
    """The answer does not fit the class given to `parse(into=...)`; `text` is the whole answer."""

    def __init__(self, message: str, *, hint: str | None = None, text: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.text = text


class APIError(FwdError):
    """A call that was made and did not end in a good answer.

    `code`, `type` and `param` are the gateway's words, `status` the HTTP status (None where there was none, as
    inside a stream), `retry_after` the seconds the gateway asks to wait, `attempts` how many providers' calls the
    gateway made, `failures` what each of them reported, `should_retry` the gateway's own advice.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        code: str | None = None,
        type: str | None = None,
        param: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        provider: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        attempts: int | None = None,
        failures: tuple[FailedAttempt, ...] = (),
        body: Any = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.type = type
        self.param = param
        self.status = status
        self.request_id = request_id
        self.provider = provider
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.attempts = attempts
        self.failures = failures
        self.body = body

    def _known_facts(self) -> str:
        facts = [str(self.status) if self.status else "", self.code or ""]
        words = [" ".join(fact for fact in facts if fact)]
        if self.request_id:
            words.append(f"request {self.request_id}")
        text = ", ".join(word for word in words if word)
        return f" ({text})" if text else ""


class APIConnectionError(APIError):
    """The gateway could not be reached, or the connection broke; the message says which address."""

    default_hint = "Is the gateway running there? Start it with `fwd run-server`, or set FORWARDER_URL (or base_url=)."


class APITimeoutError(APIConnectionError, TimeoutError):
    """No answer within `timeout`; a `TimeoutError` of Python, as `DeadlineError` is."""

    default_hint = "Give the call more time with timeout=, or see where it went in the gateway's log."


class StreamInterruptedError(APIConnectionError):
    """The stream ended without `[DONE]`: what came so far is not the whole answer."""

    default_hint = "The text so far is incomplete. Ask again, or look for the request id in the gateway's log."


class APIResponseError(APIError):
    """Something answered, but not as the gateway does."""

    default_hint = "Does FORWARDER_URL (or base_url=) point at the gateway, and not at something in front of it?"


class APIStatusError(APIError):
    """An error the gateway reported, as a status or inside a stream; see the classes below it."""


class BadRequestError(APIStatusError):
    """The request cannot be served as it is (400 and its relatives); `param` names the field if one is to blame."""


class ContextLengthError(BadRequestError):
    """The messages are longer than the model can read."""

    default_hint = "Send fewer or shorter messages, or choose a model with a larger context."


class UnsupportedParameterError(BadRequestError):
    """A field the chosen provider cannot take."""


class AuthenticationError(APIStatusError):
    """The gateway does not know the key (401)."""

    default_hint = (
        "Set FORWARDER_KEY (or api_key=) to a key of this gateway; `fwd generate-key` on its machine makes one."
    )


class PermissionDeniedError(APIStatusError):
    """The key is known, but may not do this (403)."""


class NotFoundError(APIStatusError):
    """There is no such path (404)."""


class ModelNotFoundError(NotFoundError):
    """There is no such model; the message has the nearest names."""

    default_hint = "client.models.list() (or `fwd models`) shows what this key can reach."


class ConflictError(APIStatusError):
    """The request collides with another one (409)."""


class RequestTooLargeError(APIStatusError):
    """The body is larger than the gateway or the provider takes (413)."""


class RateLimitError(APIStatusError):
    """Too many requests (429); `retry_after` says how many seconds to wait, if the gateway knows."""


class QuotaExceededError(RateLimitError):
    """The provider's account is out of money: waiting does not help."""

    default_hint = "Top up the provider's account, or let the gateway fall back with PROVIDERS_PRIORITY."


class BudgetExceededError(QuotaExceededError):
    """A budget of this key is spent, or has no room for what the call may cost; `retry_after` is its next period.

    Where a shorter answer would fit, the message names the `max_tokens` to send.
    """

    default_hint = "Send the max_tokens that the message names, wait for the next period, or ask for a larger budget."


class ServerError(APIStatusError):
    """The gateway failed (500 and above)."""


class UpstreamError(ServerError):
    """A provider failed and no other could step in (502); `failures` lists what each reported."""


class ProviderAuthError(UpstreamError):
    """The provider refused the gateway's own key; the message names the variable to check on the gateway."""


class OverloadedError(ServerError):
    """The provider or the gateway has too much to do, or is going down (503)."""


class ProviderNotConfiguredError(OverloadedError):
    """The gateway has no key for that provider; the message names the variable to set there."""


class DeadlineError(ServerError, TimeoutError):
    """No provider answered in time (504); a `TimeoutError` of Python, as `APITimeoutError` is."""


BY_CODE: Final[dict[str, type[APIStatusError]]] = {
    "bad_content_type": UpstreamError,
    "bad_encoding": UpstreamError,
    "bad_payload": UpstreamError,
    "bad_response": UpstreamError,
    "budget_busy": RateLimitError,
    "budget_exceeded": BudgetExceededError,
    "concurrency_limit_exceeded": RateLimitError,
    "connect_failed": UpstreamError,
    "connect_timeout": DeadlineError,
    "content_policy_violation": PermissionDeniedError,
    "context_length_exceeded": ContextLengthError,
    "deadline": DeadlineError,
    "dns_failed": UpstreamError,
    "host_not_allowed": BadRequestError,
    "image_link_not_supported": UnsupportedParameterError,
    "insufficient_quota": QuotaExceededError,
    "invalid_api_key": AuthenticationError,
    "model_not_allowed": PermissionDeniedError,
    "model_not_found": ModelNotFoundError,
    "model_required": BadRequestError,
    "no_ledger": ServerError,
    "not_found": NotFoundError,
    "overloaded": OverloadedError,
    "price_unknown": PermissionDeniedError,
    "provider_auth": ProviderAuthError,
    "provider_error": UpstreamError,
    "provider_not_available": ProviderNotConfiguredError,
    "provider_not_configured": ProviderNotConfiguredError,
    "provider_overloaded": OverloadedError,
    "provider_redirect": UpstreamError,
    "rate_limit_exceeded": RateLimitError,
    "request_exceeds_limit": RateLimitError,
    "request_too_large": RequestTooLargeError,
    "shutdown": OverloadedError,
    "storage_busy": OverloadedError,
    "tls_failed": UpstreamError,
    "tool_use_failed": BadRequestError,
    "too_large": UpstreamError,
    "too_many_users": RateLimitError,
    "unsupported_parameter": UnsupportedParameterError,
    "upstream_reset": UpstreamError,
    "upstream_stalled": DeadlineError,
    "upstream_timeout": DeadlineError,
    "upstream_truncated": UpstreamError,
    "user_required": BadRequestError,
}
"""The class of each code: the same one whether the code came as a status or inside a stream."""

BY_STATUS: Final[dict[int, type[APIStatusError]]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: RequestTooLargeError,
    429: RateLimitError,
    502: UpstreamError,
    503: OverloadedError,
    504: DeadlineError,
}

_STATUS_OF_TYPE: Final = {
    "invalid_request_error": 400,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "server_error": 500,
}


def class_for(status: int | None, code: str | None, type_: str | None = None) -> type[APIStatusError]:
    """The class to raise: by code, else by status, else (inside a stream) by type."""
    if code in BY_CODE:
        return BY_CODE[code]
    status = status or _STATUS_OF_TYPE.get(type_ or "", 500)
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status >= 500:
        return ServerError
    return BadRequestError if status >= 400 else APIStatusError


def printable_text(text: str) -> str:
    """The text with control and direction characters escaped, so that a traceback cannot steer a terminal."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
