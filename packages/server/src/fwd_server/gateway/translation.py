"""From a call to one provider's request; shared by the attempts and the dry run, which sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from fwd_server.clock import Clock
from fwd_server.providers.base import ChatExchange, EmbeddingsExchange, NewId, Provider
from fwd_server.upstream.images import PLACEHOLDER_IMAGE, links_in, with_images
from fwd_server.values.call import Call
from fwd_server.values.chat import ChatRequest
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import ProviderNotAvailable, Refused

AnyExchange = ChatExchange | EmbeddingsExchange
NO_IMAGES: Final[Mapping[str, str]] = {}


class Translation(msgspec.Struct, frozen=True):
    """A call in one provider's language. ``dropped`` names every field that the provider does not get."""

    exchange: AnyExchange
    dropped: tuple[str, ...]


class Translator:
    """Opens exchanges. ``fetches_images`` says whether the gateway may open image links (contract T20)."""

    def __init__(
        self, providers: Mapping[str, Provider], clock: Clock, new_id: NewId, *, fetches_images: bool = False
    ) -> None:
        self.providers = providers
        self._clock = clock
        self._new_id = new_id
        self._fetches_images = fetches_images

    def translate_call(
        self, call: Call, deployment: Deployment, *, selected: bool, images: Mapping[str, str] = NO_IMAGES
    ) -> Translation:
        """Translate ``call`` for ``deployment``.

        ``selected`` says that this is the provider the call was meant for: ``extra_body`` is in its words, stays
        behind elsewhere, and is then reported as dropped. ``images`` (link -> ``data:`` URL) replace their links.
        Raises Refused when the provider cannot take the call, or in strict mode not without a loss.
        """
        request = call.request
        lost: tuple[str, ...] = ()
        # A field of one vendor may mean something else at another, so it is never passed on blindly.
        if not selected and request.extra_body:
            request, lost = request.without_extra_body(), ("extra_body",)
        provider = self.providers[deployment.provider]
        exchange: AnyExchange
        if isinstance(request, ChatRequest):
            if provider.chat is None:
                raise _not_available(deployment, "chat completions")
            if images:
                request = with_images(request, images)
            exchange = provider.chat.open(request, deployment, int(self._clock.now()), self._new_id)
        else:
            if provider.embeddings is None:
                raise _not_available(deployment, "embeddings")
            exchange = provider.embeddings.open(request, deployment)
        dropped = (*exchange.dropped, *lost)
        # Only now are all dropped fields known; the error names all of them, and `param` the first.
        if dropped and call.strict:
            raise Refused(
                f"The provider {deployment.provider} cannot take {', '.join(map(repr, dropped))} with this model. "
                "Leave it out, or send the call without 'x-fwd-strict: true' to have it dropped.",
                param=dropped[0],
            )
        return Translation(exchange, dropped)

    def image_links(self, call: Call, deployment: Deployment) -> Mapping[str, str]:
        """The links (link -> where it stands) to be opened for this provider: none, unless that is switched on."""
        if not self._fetches_images or not isinstance(call.request, ChatRequest):
            return NO_IMAGES
        return links_in(call.request, self.providers[deployment.provider].needs_bytes)

    def placeholder_images(self, call: Call, deployment: Deployment) -> Mapping[str, str]:
        """What a dry run shows in place of the images that would be fetched."""
        return dict.fromkeys(self.image_links(call, deployment), PLACEHOLDER_IMAGE)


def _not_available(deployment: Deployment, operation: str) -> ProviderNotAvailable:
    return ProviderNotAvailable(f"The provider {deployment.provider} has no {operation}.")
