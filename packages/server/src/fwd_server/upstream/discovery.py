"""The models that the providers themselves list: fetched on demand, never at start, and cached briefly.

A request waits a second at most. A list that takes longer is fetched in the background and is there the next time; one
that fails counts as never fetched, and is not tried again for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import define

from fwd_server.clock import Clock
from fwd_server.observe import log
from fwd_server.providers.base import ModelsCodec, Provider
from fwd_server.upstream.deadline import Deadline
from fwd_server.upstream.send import Upstream, read_all
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import UpstreamError, from_status

WAIT_S: Final = 1.0  # for whoever looks
_LIST_TIMEOUT_S: Final = 10.0  # for the provider
_LIST_TTL_S: Final = 3600.0
_FAILURE_PAUSE_S: Final = 60.0  # after a failure
_MAX_LIST_BYTES: Final = 8 << 20

Names = tuple[str, ...]


@define
class _KnownModels:
    """The latest list of a provider, whether it is complete, and until when it is fresh enough."""

    names: Names = ()
    all: bool = False
    until: float = float("-inf")
    task: asyncio.Task[None] | None = None


class ModelDiscovery:
    """The providers' own lists of models. Close it with ``aclose``."""

    def __init__(
        self, providers: Mapping[str, Provider], upstream: Upstream, clock: Clock, wait_s: float = WAIT_S
    ) -> None:
        self.providers = providers  # a reload gives new ones
        self._upstream = upstream
        self._clock = clock
        self._wait_s = wait_s
        self._listed: dict[tuple[str, str], _KnownModels] = {}  # by name and address

    async def refresh_lists(self, endpoints: Iterable[Endpoint]) -> None:
        """Ask for every list that is not fresh, and wait for them, but not long."""
        tasks = [task for endpoint in endpoints if (task := self._list_task(endpoint))]
        if tasks:
            # asyncio.wait does not cancel what is late, so a slow list is there for the next request.
            await asyncio.wait(tasks, timeout=self._wait_s)

    def listed_names(self, endpoint: Endpoint) -> Names:
        """The latest list of the endpoint's provider; empty if it was never fetched or could not be."""
        listed = self._listed.get((endpoint.provider, endpoint.base_url))
        return listed.names if listed else ()

    def knows_all(self, endpoint: Endpoint) -> bool:
        """Whether the provider's list is complete, as that of Ollama is: it serves no other model."""
        listed = self._listed.get((endpoint.provider, endpoint.base_url))
        return listed is not None and listed.all

    async def aclose(self) -> None:
        """Ask for nothing any more."""
        tasks = [listed.task for listed in self._listed.values() if listed.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _list_task(self, endpoint: Endpoint) -> asyncio.Task[None] | None:
        """What asks for the endpoint's list, begun now if nobody has; None if there is nothing to ask."""
        provider = self.providers.get(endpoint.provider)
        if provider is None or provider.models is None:
            return None
        listed = self._listed.setdefault((endpoint.provider, endpoint.base_url), _KnownModels())
        # One request per provider, however many callers look at the list at the same time.
        if listed.task is None and self._clock.monotonic() >= listed.until:
            listed.task = asyncio.create_task(self._refresh_list(endpoint, provider.models, listed))
        return listed.task

    async def _refresh_list(self, endpoint: Endpoint, models: ModelsCodec, listed: _KnownModels) -> None:
        names = None
        try:
            # A list that never ends must not keep its task for ever: `_list_task` starts no other beside it.
            with Deadline(_LIST_TIMEOUT_S, "upstream_timeout"):
                names = await self._fetch_names(endpoint, models)
        except UpstreamError as error:
            log.upstream.info("The list of models of %s could not be read: %s", endpoint.provider, error.message)
        finally:
            listed.task = None
        self._store_list(listed, names, live=models.live)

    def _store_list(self, listed: _KnownModels, names: Names | None, *, live: bool) -> None:
        """Take a list; without a new one the old one stands, unless it is worth nothing any more."""
        # An old list is better than none after a failure; Ollama's is not, because its models can be removed.
        if names is not None or live:
            listed.names, listed.all = names or (), live and names is not None
        kept_s = _FAILURE_PAUSE_S if names is None else _LIST_TTL_S
        listed.until = self._clock.monotonic() + (0.0 if live else kept_s)

    async def _fetch_names(self, endpoint: Endpoint, models: ModelsCodec) -> Names:
        response = await self._upstream.send_request(endpoint, models.request(endpoint))
        try:
            # The error's text is left out: it is logged, and a provider may quote the key in it.
            if response.status != 200:
                raise from_status(response.status, "", provider=endpoint.provider, key_name=endpoint.key_name)
            return models.read(await read_all(response, _MAX_LIST_BYTES))
        finally:
            response.close()
