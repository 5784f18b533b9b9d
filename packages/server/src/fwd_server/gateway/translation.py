"""From a call to one provider's request; shared by the attempts and the dry run, which sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from fwd_server.clock import Clock
from fwd_server.gateway.local_answer import LocalExchange
from fwd_server.providers.base import ChatExchange, EmbeddingsExchange, NewId, Provider
from fwd_server.providers.target_traits import traits_of
from fwd_server.upstream.images import PLACEHOLDER_IMAGE, links_in, with_images
from fwd_server.values.call import Call
from fwd_server.values.chat import ChatRequest
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import ProviderNotAvailable, Refused
from fwd_server.values.foreign import ForeignRequest

AnyExchange = ChatExchange | EmbeddingsExchange
NO_IMAGES: Final[Mapping[str, str]] = {}


class Translation(msgspec.Struct, frozen=True):
    """A call in one provider's language.

    ``lost`` names fields that were left out before a codec saw them; ``own_names`` gives names of the chat shape as the
    caller calls them (None: that is what the caller writes).
    """

    exchange: AnyExchange
    lost: tuple[str, ...] = ()
    own_names: Callable[[tuple[str, ...]], tuple[str, ...]] | None = None

    @property
    def dropped(self) -> tuple[str, ...]:
        """Every field that the provider does not get, by its name."""
        return self.dropped_by(self.exchange)

    def dropped_by(self, exchange: AnyExchange) -> tuple[str, ...]:
        """The same for the exchange that was used in the end: a refused call may have been sent again with less."""
        if self.own_names is None:
            return (*exchange.dropped, *self.lost)
        return tuple(sorted({*self.own_names(exchange.dropped), *self.lost}))


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
        self,
        call: Call,
        deployment: Deployment,
        *,
        selected: bool,
        images: Mapping[str, str] = NO_IMAGES,
        moved: bool = False,
    ) -> Translation:
        """Translate ``call`` for ``deployment``.

        ``selected`` says that this is the provider the call was meant for: ``extra_body`` is in its words, stays
        behind elsewhere, and is then reported as dropped. ``images`` (link -> ``data:`` URL) replace their links.
        ``moved`` says that another model was meant.
        Raises Refused when the provider cannot take the call, or in strict mode not without a loss.
        """
        request = call.request
        lost: tuple[str, ...] = ()
        # A field of one vendor may mean something else at another, so it is never passed on blindly.
        if not selected and request.extra_body:
            request, lost = request.without_extra_body(), ("extra_body",)
        provider = self.providers[deployment.provider]
        exchange: AnyExchange
        own_names = None
        if isinstance(request, ForeignRequest):
            native = provider.native.get(request.language)
            if native is not None:
                return Translation(native.open(request, deployment, self._now(), self._new_id, moved=moved))
            form, own_names = request.chat_for(traits_of(deployment)), request.own_names
            if form.answer is not None:
                return Translation(LocalExchange(form.answer), form.dropped, own_names)
            request, lost = form.request, form.dropped
        if isinstance(request, ChatRequest):
            if provider.chat is None:
                raise _not_available(deployment, "chat completions")
            if images:
                request = with_images(request, images)
            exchange = provider.chat.open(request, deployment, self._now(), self._new_id)
        else:
            if provider.embeddings is None:
                raise _not_available(deployment, "embeddings")
            exchange = provider.embeddings.open(request, deployment)
        translation = Translation(exchange, lost, own_names)
        # Only now are all dropped fields known; the error names all of them, and `param` the first.
        if call.strict and (dropped := translation.dropped):
            raise Refused(
                f"The provider {deployment.provider} cannot take {', '.join(map(repr, dropped))} with this model. "
                "Leave it out, or send the call without 'x-fwd-strict: true' to have it dropped.",
                param=dropped[0],
            )
        return translation

    def _now(self) -> int:
        return int(self._clock.now())

    def image_links(self, call: Call, deployment: Deployment) -> Mapping[str, str]:
        """The links (link -> where it stands) to be opened for this provider: none, unless that is switched on."""
        request, provider = call.request, self.providers[deployment.provider]
        if not self._fetches_images or not isinstance(request, ChatRequest):
            return NO_IMAGES
        if isinstance(request, ForeignRequest):
            if request.language in provider.native:
                return NO_IMAGES
            request = request.chat_for(traits_of(deployment)).request
        return links_in(request, provider.needs_bytes)

    def placeholder_images(self, call: Call, deployment: Deployment) -> Mapping[str, str]:
        """What a dry run shows in place of the images that would be fetched."""
        return dict.fromkeys(self.image_links(call, deployment), PLACEHOLDER_IMAGE)


def _not_available(deployment: Deployment, operation: str) -> ProviderNotAvailable:
    return ProviderNotAvailable(f"The provider {deployment.provider} has no {operation}.")
