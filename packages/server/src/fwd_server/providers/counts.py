"""What providers themselves count of a prompt, without answering it and free of charge."""

from __future__ import annotations

from typing import Final

import msgspec
import orjson

from fwd_server.providers.base import ChatExchange, UpstreamRequest
from fwd_server.providers.lenient import obj
from fwd_server.values.usage import clean_count
from fwd_server.wire import jsontext

_GENERATE: Final = ":generateContent"


class AnthropicCount:
    """https://platform.claude.com/docs/en/api/messages-count-tokens"""

    def request(self, exchange: ChatExchange, model: str) -> UpstreamRequest | None:
        """The caller's own body, at another path."""
        sent = exchange.request
        if not isinstance(sent, UpstreamRequest):
            return None
        return msgspec.structs.replace(sent, path="/messages/count_tokens", stream=False)

    def read(self, body: bytes) -> int | None:
        """The count."""
        return _count_in(body, "input_tokens")


class GoogleCount:
    """https://ai.google.dev/api/tokens#method:-models.counttokens"""

    def request(self, exchange: ChatExchange, model: str) -> UpstreamRequest | None:
        """The whole call within another: only so are its tools and its system prompt counted."""
        sent = exchange.request
        if not isinstance(sent, UpstreamRequest) or not sent.path.endswith(_GENERATE):
            return None
        whole = {"model": f"models/{model}", **jsontext.loads(sent.body)}
        body = jsontext.dumps({"generateContentRequest": whole})
        return msgspec.structs.replace(sent, path=sent.path.removesuffix(_GENERATE) + ":countTokens", body=body)

    def read(self, body: bytes) -> int | None:
        """The count."""
        return _count_in(body, "totalTokens")


def _count_in(body: bytes, name: str) -> int | None:
    try:
        return clean_count(obj(jsontext.loads(body)).get(name)) or None
    except orjson.JSONDecodeError:
        return None
