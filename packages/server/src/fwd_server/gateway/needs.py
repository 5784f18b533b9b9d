"""What a plan depends on of a call, found out when it is asked for: most calls are never asked for most of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from fwd_server.routing.sticky import read_sticky_id
from fwd_server.values import usage
from fwd_server.values.call import Call
from fwd_server.values.chat import ChatRequest
from fwd_server.values.embeddings import EmbeddingsRequest
from fwd_server.values.foreign import ForeignRequest

PART_TOKENS: Final = 256  # of a picture, a sound or a file; a rough figure, hence the margins where it is used
USUAL_OUTPUT: Final = 512  # reserved for an answer whose length nobody bounds
_NO_NEEDS: Final[frozenset[str]] = frozenset()
_ABILITIES: Final = {"image_url": "image", "input_audio": "audio", "file": "file"}


class RequestNeeds:
    """The needs of one request (``routing.needs.CallNeeds``)."""

    __slots__ = ("_call", "_estimate", "_needs", "_request", "fallback", "stream")

    def __init__(self, call: Call, *, fallback: bool) -> None:
        self._call = call
        self._request = call.request
        self.stream = call.request.stream
        self.fallback = fallback
        self._estimate: int | None = None
        self._needs: frozenset[str] | None = None

    @property
    def estimate(self) -> int:
        """The tokens of its prompt, by our own count."""
        if self._estimate is None:
            texts = sum(map(usage.estimate_tokens, self._request.texts()))
            self._estimate = texts + PART_TOKENS * sum(1 for _ in self._other_parts())
        return self._estimate

    @property
    def tokens(self) -> int:
        """What is reserved under a limit of tokens: the prompt, and the longest answer it allows."""
        return self.estimate + (_longest_answer(self._request) or USUAL_OUTPUT)

    @property
    def needs(self) -> frozenset[str]:
        """The abilities it needs of a model: image, audio, file, tools, json_schema."""
        request = self._request
        if not isinstance(request, ChatRequest) or request.plain is not None:
            return _NO_NEEDS
        if self._needs is None:
            found = set(self._other_parts())
            if isinstance(request, ForeignRequest):
                self._needs = frozenset((*found, *request.abilities()))
                return self._needs
            view = request.view
            if view.tools:
                found.add("tools")
            if view.response_format is not None and view.response_format.type == "json_schema":
                found.add("json_schema")
            self._needs = frozenset(found)
        return self._needs

    def exceeds(self, tokens: float) -> bool:
        """Whether the estimate is above so many tokens; a plain call is at most as long as its bytes."""
        if tokens == math.inf:
            return False
        request = self._request
        # A token has at least one byte, so the length in bytes answers without counting anything.
        if isinstance(request, ChatRequest) and request.plain is not None and len(request.raw or b"") <= tokens:
            return False
        return self.estimate > tokens

    def sticky_id(self, sticky: str) -> str:
        """What its conversation is known by at a model with this setting; "": nothing."""
        call = self._call
        return read_sticky_id(sticky, call.caller.label, call.session, call.request.body)

    def _other_parts(self) -> Iterator[str]:
        """The ability that each part of a message needs which is no text."""
        request = self._request
        if not isinstance(request, ChatRequest) or request.plain is not None:
            return
        if isinstance(request, ForeignRequest):
            yield from request.other_parts()
            return
        for message in request.view.messages:
            if isinstance(message.content, list):
                yield from (_ABILITIES[part.type] for part in message.content if part.type in _ABILITIES)


def _longest_answer(request: ChatRequest | EmbeddingsRequest) -> int | None:
    if not isinstance(request, ChatRequest):
        return 0
    view = request.plain or request.view
    return view.max_completion_tokens or view.max_tokens
