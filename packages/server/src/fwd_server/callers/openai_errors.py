"""Errors in OpenAI's shape, which every answer outside a caller language of its own uses too.

https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

from typing import Any

from fwd_server.values.errors import GatewayError
from fwd_server.wire import jsontext


def error_object(error: GatewayError) -> dict[str, Any]:
    """The JSON object of a failure: the four keys every OpenAI client expects, and ``attempts`` (contract F33)."""
    fields: dict[str, Any] = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    if error.attempts:
        fields["attempts"] = list(error.attempts)
    return {"error": fields}


def render_error(error: GatewayError, request_id: str = "") -> bytes:
    """The body of a failure; OpenAI's has no place for the request's id, which is in a header."""
    return jsontext.dumps(error_object(error))
