"""An answer that needs no provider, on the way of every other: it is planned, logged and given a receipt."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from attrs import frozen

from fwd_server.providers.base import ScriptedResponse, StreamDecoder
from fwd_server.values.chat import ChatResponse, Json
from fwd_server.values.errors import UpstreamError, upstream_failure
from fwd_server.values.usage import parse_usage
from fwd_server.wire import jsontext


@frozen
class LocalExchange:
    """``completion`` is the answer: a ``chat.completion`` object, also where a stream is asked for."""

    completion: Json
    dropped: tuple[str, ...] = ()

    @property
    def request(self) -> ScriptedResponse:
        """Nothing is sent: the answer is played."""
        body = jsontext.dumps(self.completion)
        return ScriptedResponse(200, (("content-type", "application/json"),), ((0.0, body),))

    def answer(self, body: bytes) -> ChatResponse:
        """The answer; what it counts are the gateway's own estimates."""
        usage = parse_usage(self.completion.get("usage"))
        return ChatResponse(self.completion, usage and msgspec.structs.replace(usage, estimated=True))

    def decoder(self) -> StreamDecoder:
        """Nothing: a whole answer replaces the stream."""
        raise NotImplementedError

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """A played answer has no other status than 200."""
        return upstream_failure("bad_payload")
