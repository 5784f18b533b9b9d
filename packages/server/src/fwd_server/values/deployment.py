"""Where a call can be sent: an endpoint as configured, and a model there."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from fwd_server.values.provider_info import ProviderInfo, provider_info
from fwd_server.values.secret import Secret
from fwd_server.values.timeouts import Timeouts


@frozen
class Endpoint:
    """One provider as configured: where it is, its key, and whether it can be used.

    ``type`` names its row in the provider table, where that is not its own name (an instance of ``fwd.toml``).
    ``key`` is bound to ``base_url`` here and never sent anywhere else (contract S11). ``enabled_by`` names the
    variable that turns the endpoint on; ``available`` is False for a provider this version does not speak;
    ``always_tried`` serves an explicit prefix even when nothing turned it on (Ollama on this machine); ``reasoning``
    is the name under which earlier reasoning goes back ("none": it does not; "": the provider's own default).
    """

    provider: str
    base_url: str = ""
    key: Secret | None = None
    default_model: str | None = None
    enabled: bool = False
    enabled_by: str = ""
    available: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    always_tried: bool = False
    timeouts: Timeouts = field(factory=Timeouts)
    reasoning: str = ""
    type: str = ""
    # What others have made of it once: rendered headers, a prepared target. It goes with the endpoint at a reload.
    prepared: dict[object, Any] = field(factory=dict, init=False, eq=False, repr=False)

    @property
    def info(self) -> ProviderInfo:
        """The facts about the provider before anything is configured."""
        return provider_info(self.type or self.provider)

    @property
    def key_name(self) -> str:
        """The variable that holds the key, for messages."""
        return self.key.name if self.key else self.enabled_by


@frozen
class Deployment:
    """One way to serve a model: the endpoint, and the model's name there.

    ``provider`` is the provider's name; ``name`` the public name, which routes back to this deployment;
    ``display_name`` the model's name for people, since echo's own has nothing but the prefix. They are made once,
    because a plan lives as long as its routes and every call asks for them a dozen times.
    """

    endpoint: Endpoint = field(repr=False)
    model: str
    provider: str = field(init=False, eq=False, repr=False)
    name: str = field(init=False, eq=False, repr=False)
    display_name: str = field(init=False, eq=False, repr=False)

    @provider.default
    def _find_provider(self) -> str:
        return self.endpoint.provider

    @name.default
    def _make_name(self) -> str:
        return f"{self.endpoint.provider}:{self.model}"

    @display_name.default
    def _make_display_name(self) -> str:
        return self.model or f"{self.endpoint.provider}:"
