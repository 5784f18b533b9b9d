"""Ollama's failures: a text under ``error``, in a body of its own, in an answer, or in a line of a stream.

https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from fwd_server.providers import lenient, request_fields
from fwd_server.providers.ollama.messages import PROVIDER
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import UpstreamError, from_status
from fwd_server.wire import jsontext
from fwd_server.wire.redact import clean

# What the account has for hours or for a week (contract F12); inside an answer the words are all there is.
_USED_UP: Final = re.compile(r"reached your [a-z]{1,20} usage limit", re.IGNORECASE)


def read_failure(
    endpoint: Endpoint, status: int | None, said: object, retry_after_s: float | None = None
) -> UpstreamError:
    """Read an error's text; inside an answer there is no ``status`` with it."""
    words = lenient.text(said)
    meant = 402 if _USED_UP.search(words) else status or 500
    error = from_status(
        meant,
        clean(words, endpoint.key),
        provider=PROVIDER,
        key_name=endpoint.key_name,
        retry_after_s=retry_after_s,
    )
    error.upstream_status = status or meant
    if status == 400 and "does not support" in error.message:
        error.code = "unsupported_parameter"
    elif status == 400 and "context length" in error.message:
        request_fields.too_long(error)
    return error


def error_text(body: bytes) -> str:
    """The text under ``error`` in a body; empty where there is none."""
    try:
        return lenient.text(lenient.obj(jsontext.loads(body)).get("error"))
    except orjson.JSONDecodeError:
        return ""
