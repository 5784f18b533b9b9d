"""How a request is answered that never became one: malformed, too slow, too large in its head, or one too many."""

from __future__ import annotations

from typing import Final

from fwd_server.callers.openai_errors import render_error
from fwd_server.http1.server.limits import Refusal
from fwd_server.values.errors import BadRequest, GatewayError
from fwd_server.web.answers import SAFE_HEADERS

# A connection limit is usually free again within a second.
_RETRY_AFTER_S: Final = 1.0


def render_refused(error: GatewayError, request_id: str) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body in OpenAI's shape: the caller's language is not known yet."""
    own = [("Content-Type", "application/json"), ("x-request-id", request_id)]
    return [*own, *SAFE_HEADERS, *error.all_headers()], render_error(error)


def as_error(refusal: Refusal) -> GatewayError:
    """A refusal as the error a caller sees; only what is not the caller's fault is worth another try."""
    if refusal.status < 500:
        return BadRequest(str(refusal), status=refusal.status, code=refusal.code)
    # Of these only "too many connections" goes away by itself.
    retry_after_s = _RETRY_AFTER_S if refusal.status == 503 else None
    return GatewayError(str(refusal), refusal.status, code=refusal.code, retry_after_s=retry_after_s)
