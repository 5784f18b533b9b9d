"""Failures in Anthropic's shape. https://platform.claude.com/docs/en/api/errors"""

from __future__ import annotations

import re
from typing import Any, Final

from fwd_server.values.errors import GatewayError, UpstreamError
from fwd_server.wire import jsontext

# Of a status as the chat shape has it: the status and the type here. Only types that Anthropic's SDKs know.
_BY_STATUS: Final = {
    400: (400, "invalid_request_error"),
    401: (401, "authentication_error"),
    403: (403, "permission_error"),
    404: (404, "not_found_error"),
    422: (400, "invalid_request_error"),
    429: (429, "rate_limit_error"),
    503: (529, "overloaded_error"),
    504: (504, "timeout_error"),
}
# An account without money is a 429 in the chat shape.
_NO_MONEY: Final = (402, "billing_error")
# "maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens"
_MAXIMUM: Final = re.compile(
    r"(?:maximum context length (?:is|of)|maximum number of tokens allowed \(?"
    r"|context (?:length|window|size)[^\d]{0,40}|limit of|>) ?(\d{3,9})",
    re.IGNORECASE,
)
_GIVEN: Final = re.compile(
    r"(?:resulted in|requested|input token count \(?|you(?:r prompt)? (?:have|has|sent|contains?)"
    r"|prompt (?:is|has|contains)(?: too long:)?) ?(\d{3,9})",
    re.IGNORECASE,
)
_TOO_LONG: Final = "prompt is too long: "  # Claude Code compacts the conversation when it reads this


def error_status(error: GatewayError) -> int:
    """The status of a failure."""
    return _row(error)[0]


def render_error(error: GatewayError, request_id: str) -> bytes:
    """The body of a failure: Anthropic's own bytes where it refused a call that reached it as it was."""
    if isinstance(error, UpstreamError) and error.native is not None:
        return error.native
    shown: dict[str, Any] = {"type": _row(error)[1], "message": _message(error)}
    if error.attempts:
        shown["attempts"] = list(error.attempts)
    return jsontext.dumps({"type": "error", "error": shown, "request_id": request_id})


def _row(error: GatewayError) -> tuple[int, str]:
    if error.code == "insufficient_quota":
        return _NO_MONEY
    found = _BY_STATUS.get(error.status)
    if found is not None:
        return found
    return error.status, "invalid_request_error" if error.status < 500 else "api_error"


def _message(error: GatewayError) -> str:
    if error.code != "context_length_exceeded" or error.message.startswith(_TOO_LONG):
        return error.message
    most, given = _MAXIMUM.search(error.message), _GIVEN.search(error.message)
    if most and given:
        return f"{_TOO_LONG}{given[1]} tokens > {most[1]} maximum"
    return _TOO_LONG + error.message
