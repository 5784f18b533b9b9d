"""The fast reader of chat calls: it takes what is plainly good, and declines everything else (docs/adr/0006)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from fwd_server.values.chat import ChatRequest
from fwd_server.values.plain_chat import PlainChat

_DECODER: Final = msgspec.json.Decoder(PlainChat)
# Fields that decide about routing or money: if one is repeated, only the exact reader decides (contract L6).
_ONCE: Final = (b'"stream"', b'"max_')  # max_tokens and max_completion_tokens: one search for both
# A name could be written with an escape ("mod\u0065l"), and then be there twice without being counted.
_ESCAPED_LETTER: Final = b"\\u00"


def read_plain(body: bytes, read_exactly: Callable[[bytes], ChatRequest]) -> ChatRequest | None:
    """A plain call, or None for one that ``read_exactly`` has to read.

    ``read_exactly`` is also called later, when somebody asks for more of the call than a plain one needs.
    """
    # The bytes travel on as they are, so a second "model" in them could reach the provider.
    # Not "in": bytes try what is searched for as a number first, and the exception that is swallowed costs more than
    # the search.
    if body.count(b'"model"') != 1 or body.find(_ESCAPED_LETTER) >= 0:
        return None
    for start in _ONCE:
        if body.count(start) > 1:
            return None
    try:
        plain = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    null_was_given = body.find(b"null") >= 0  # "temperature": null is read as not given, but it is in the bytes
    return None if null_was_given else ChatRequest.from_plain(plain, body, read_exactly)
