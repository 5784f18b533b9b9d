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

from typing import Final

from fwd_server.callers.base import Dialect
from fwd_server.callers.messages.answer import render_response
from fwd_server.callers.messages.errors import error_status, render_error
from fwd_server.callers.messages.request import parse_request
from fwd_server.callers.messages.stream import MessagesStreamWriter

MESSAGES: Final = Dialect(
    "anthropic-messages",
    parse_request,
    render_response,
    render_error,
    MessagesStreamWriter,
    error_status,
    ("request-id",),
)
