"""Anthropic's Messages API, as callers speak it. https://platform.claude.com/docs/en/api/messages

fields     what is wrong with a field, in Anthropic's words
content    blocks as parts; turns and tools are what a conversation is made of
options    limits, sampling, thinking, the form of the answer
request    the call as a whole
answer     a whole answer; stream is the same in pieces
errors     failures
estimate   the gateway's own count of tokens
"""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from fwd_server.callers.base import Dialect
from fwd_server.callers.messages.answer import render_response
from fwd_server.callers.messages.errors import error_status, render_error
from fwd_server.callers.messages.request import MessagesRequest, parse_count, parse_request
from fwd_server.callers.messages.stream import MessagesStreamWriter
from fwd_server.values.foreign import TokenCount
from fwd_server.values.record import CallRecord
from fwd_server.wire import jsontext


def render_count(count: TokenCount, request: MessagesRequest, record: CallRecord) -> bytes:
    """A number of tokens. https://platform.claude.com/docs/en/api/messages-count-tokens"""
    return jsontext.dumps({"input_tokens": count.tokens})


MESSAGES: Final[Dialect[Any, Any]] = Dialect(
    "anthropic-messages",
    parse_request,
    render_response,
    render_error,
    MessagesStreamWriter,
    error_status,
    ("request-id",),
)
COUNT_TOKENS: Final[Dialect[Any, Any]] = evolve(
    MESSAGES, name="anthropic-count", parse=parse_count, render=render_count, counts=True
)
