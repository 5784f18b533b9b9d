"""From a call to one provider's request; shared by the attempts and the dry run, which sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from fwd_server.clock import Clock
from fwd_server.gateway.local_answer import LocalExchange
from fwd_server.gateway.parameters import change_request
from fwd_server.providers.base import ChatExchange, EmbeddingsExchange, NewId, Provider
from fwd_server.providers.target_traits import traits_of
from fwd_server.routing.plan import Plan
from fwd_server.routing.table import Seat
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
    caller calls them (None: that is what the caller writes). ``changed`` names those that the gateway's file has set.
    """

    exchange: AnyExchange
    lost: tuple[str, ...] = ()
    own_names: Callable[[tuple[str, ...]], tuple[str, ...]] | None = None
    changed: tuple[str, ...] = ()

    @property
    def dropped(self) -> tuple[str, ...]:
        """Every field that the provider does not get, by its name."""
        return self.dropped_by(self.exchange)

    def dropped_by(self, exchange: AnyExchange) -> tuple[str, ...]:
        """The same for the exchange that was used in the end: a refused call may have been sent again with less.

        What the file has set and the provider does not take is no loss to the caller, who never sent it.
        """
        left_out = exchange.dropped
        if self.changed:
            left_out = tuple(name for name in left_out if name not in self.changed)
        if self.own_names is None:
            return (*left_out, *self.lost)
        return tuple(sorted({*self.own_names(left_out), *self.lost}))

    def changed_by(self, exchange: AnyExchange) -> tuple[str, ...]:
        """What the file has set and the provider gets."""
        return tuple(name for name in self.changed if name not in exchange.dropped) if self.changed else ()


class Aim(NamedTuple):
    """How a deployment relates to the one a call was meant for.

    ``selected``: it is of the same provider, in whose words ``extra_body`` is. ``moved``: it is another model.
    ``conceals``: the caller must not see who answers, so that no bytes of a provider may pass as they are.
    """

    selected: bool = True
    moved: bool = False
    conceals: bool = False


AS_MEANT: Final = Aim()


def aim_of(plan: Plan, target: Deployment) -> Aim:
    """How a deployment of a plan relates to the one that was meant."""
    meant = plan.meant.target
    return Aim(target.provider == meant.provider, target.model != meant.model, not plan.model.reveal)


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
        self, call: Call, seat: Seat, aim: Aim = AS_MEANT, images: Mapping[str, str] = NO_IMAGES
    ) -> Translation:
        """Translate ``call`` for a deployment.

        ``extra_body`` stays behind where another provider was meant, and is then reported as dropped. ``images``
        (link -> ``data:`` URL) replace their links.
        Raises Refused when the provider cannot take the call, or in strict mode not without a loss.
        """
        request, deployment = call.request, seat.target
        lost: tuple[str, ...] = ()
        changed: tuple[str, ...] = ()
        # A field of one vendor may mean something else at another, so it is never passed on blindly.
        if not aim.selected and request.extra_body:
            request, lost = request.without_extra_body(), ("extra_body",)
        provider = self.providers[deployment.provider]
        exchange: AnyExchange
        own_names = None
        if isinstance(request, ForeignRequest):
            native = provider.native.get(request.language)
            # Bytes of the caller's own language may pass as they are only if nothing in them must be hidden or changed.
            if native is not None and not aim.conceals and not seat.lane.changes:
                return Translation(native.open(request, deployment, self._now(), self._new_id, moved=aim.moved))
            form, own_names = request.chat_for(traits_of(deployment)), request.own_names
            if form.answer is not None:
                return Translation(LocalExchange(form.answer), form.dropped, own_names)
            request, lost = form.request, form.dropped
        if seat.lane.changes:
            made = change_request(request, seat.lane.changes)
            request, lost, changed = made.request, (*lost, *made.dropped), made.changed
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
        translation = Translation(exchange, lost, own_names, changed)
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
            # Only the chat shape has the links in one place, whatever language the caller speaks.
            request = request.chat_for(traits_of(deployment)).request
        return links_in(request, provider.needs_bytes)

    def placeholder_images(self, call: Call, deployment: Deployment) -> Mapping[str, str]:
        """Placeholders that a dry run shows instead of the images that would be fetched."""
        return dict.fromkeys(self.image_links(call, deployment), PLACEHOLDER_IMAGE)


def _not_available(deployment: Deployment, operation: str) -> ProviderNotAvailable:
    return ProviderNotAvailable(f"The provider {deployment.provider} has no {operation}.")
