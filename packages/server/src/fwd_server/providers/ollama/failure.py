"""Ollama's failures: a text under ``error``, in a body of its own, in an answer, or in a line of a stream.

https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import re
from typing import Final

from fwd_server.providers import error_words, lenient, request_fields
from fwd_server.providers.ollama.messages import PROVIDER
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import UpstreamError, from_status
from fwd_server.wire.redact import redact_text

# What the account has for hours or for a week (contract F12); inside an answer the words are all there is.
_USED_UP: Final = re.compile(r"reached your [a-z]{1,20} usage limit", re.IGNORECASE)


def read_failure(
    endpoint: Endpoint, status: int | None, value: object, retry_after_s: float | None = None
) -> UpstreamError:
    """Read a failure's JSON; inside an answer there is no ``status`` with it but the one that it may name itself."""
    error_object = error_words.find_error(value)
    words = lenient.text(error_object.get("message"))
    status = status or error_words.status_of(error_object)
    # An account that has used up its hours is like one without money: trying again soon does not help (contract F12).
    meant = 402 if _USED_UP.search(error_words.own_words(words)) else status or 500
    error = from_status(
        meant,
        redact_text(words, endpoint.key),
        provider=PROVIDER,
        key_name=endpoint.key_name,
        retry_after_s=retry_after_s,
    )
    # The words may mean another kind of failure than the status that they came with.
    error.upstream_status = status or meant
    if status == 400 and "does not support" in error.message:
        error.code = "unsupported_parameter"
    elif status == 400 and error_words.is_too_long(words):
        request_fields.too_long(error)
    return error


def is_failure(value: Json) -> bool:
    """Whether an object that came with a 200 is a failure: it says ``error``, or has words and no part of an answer."""
    if value.get("error") not in (None, False, ""):
        return True
    is_answer = "done" in value or "embeddings" in value or isinstance(value.get("message"), dict)
    return not is_answer and bool(error_words.find_error(value))
