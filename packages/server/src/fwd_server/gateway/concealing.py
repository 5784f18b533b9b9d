"""Answers of a model that is not to be revealed (``reveal = false``): its name, and nothing that is behind it."""

from __future__ import annotations

from typing import Final

from attrs import evolve, frozen

from fwd_server.values.chat import ChatResponse, Chunk, Json, StreamEvent
from fwd_server.values.embeddings import EmbeddingsResponse
from fwd_server.values.errors import (
    CALLERS_FAULT,
    MODELS_FAULT,
    GatewayError,
    ProviderNotAvailable,
    ProviderNotConfigured,
    UpstreamError,
    plain_message,
)
from fwd_server.wire import jsontext

# What an answer may say; everything else (system_fingerprint, provider, service_tier) tells who gave it.
_KEPT_FIELDS: Final = frozenset({"object", "created", "choices", "usage", "data", "error"})


@frozen
class Concealment:
    """Takes out of one call's answer what would tell who gave it.

    ``name`` is the public one of the model, ``models`` are what its deployments are called by their providers.
    """

    name: str
    call_id: str
    models: frozenset[str] = frozenset()

    def conceal_answer(self, response: ChatResponse | EmbeddingsResponse) -> ChatResponse | EmbeddingsResponse:
        """A whole answer."""
        data = self._conceal(response.data)
        if isinstance(response, ChatResponse):
            return ChatResponse(data, response.usage)
        return evolve(response, data=data, raw=None)

    def conceal_event(self, event: StreamEvent) -> StreamEvent:
        """A chunk of a stream; an end says nothing, and a failure is told by ``conceal_error``."""
        if not isinstance(event, Chunk):
            return event
        data = event.data if event.data is not None else jsontext.loads(event.frame or b"{}")
        return Chunk(event.commits, self._conceal(data))

    def conceal_error(self, error: GatewayError) -> GatewayError:
        """A failure: a provider's own words are shown only where they are about the caller's request."""
        if isinstance(error, ProviderNotConfigured | ProviderNotAvailable):
            return GatewayError(
                f"The model {self.name} cannot be used now.", error.status, code=error.code, should_retry=False
            )
        if not isinstance(error, UpstreamError):
            return error
        own_words = error.kind in CALLERS_FAULT | MODELS_FAULT
        return UpstreamError(
            self._without_models(error.message) if own_words else plain_message(error.code),
            error.status,
            error.type,
            error.code,
            error.param,
            retry_after_s=error.retry_after_s,
            should_retry=error.should_retry,
            kind=error.kind,
        )

    def _without_models(self, text: str) -> str:
        for model in sorted(self.models, key=len, reverse=True):
            text = text.replace(model, self.name)
        return text

    def _conceal(self, data: Json) -> Json:
        kept = {name: value for name, value in data.items() if name in _KEPT_FIELDS}
        own = {"id": f"chatcmpl-{self.call_id}"} if "choices" in data else {}
        return {**own, **kept, "model": self.name}
