"""Values that are valid on their own and cannot be used together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from urllib.parse import urlsplit

from attrs import frozen

from fwd_server.routing.names import cut_prefix
from fwd_server.settings.problems import HIDDEN, SettingProblem
from fwd_server.settings.schema import ProviderSettings, Settings
from fwd_server.settings.units import is_everywhere, is_loopback, port_of, write_duration
from fwd_server.values.provider_info import stem_of


@frozen
class SettingsChecks:
    """Looks for contradictions. ``broken`` are variables with a problem of their own: not reported twice."""

    settings: Settings
    sources: Mapping[str, tuple[str, str]]
    broken: Set[str]

    def find_problems(self) -> Iterator[SettingProblem]:
        """Every contradiction there is."""
        for provider in self.settings.providers.values():
            yield from self._check_key(provider)
            yield from self._check_base_url(provider)
            yield from self._check_model(provider)
            yield from self._check_total(provider)
        for name in dict.fromkeys(self.settings.priority):
            yield from self._check_priority(name)
        if self.settings.ssl_keyfile and not self.settings.ssl_certfile:
            yield self._make_problem(
                "FWD_SSL_KEYFILE", repr(str(self.settings.ssl_keyfile)), "only with FWD_SSL_CERTFILE"
            )

    def _make_problem(self, name: str, found: str, allowed: str) -> SettingProblem:
        return SettingProblem(name, self.sources[name][0], found, allowed)

    def _check_key(self, provider: ProviderSettings) -> Iterator[SettingProblem]:
        # A common mistake: the gateway's own key pasted where the provider's belongs. It would be sent to the provider.
        if provider.api_key and provider.api_key.reveal().startswith("fwd_"):
            allowed = "a key of the provider, not one of a gateway (fwd_...)"
            yield self._make_problem(provider.api_key.name, HIDDEN, allowed)

    def _check_base_url(self, provider: ProviderSettings) -> Iterator[SettingProblem]:
        variable = f"{stem_of(provider.name)}_BASE_URL"
        if provider.base_url and leads_back(self.settings, provider.base_url):
            yield self._make_problem(variable, repr(provider.base_url), "an address other than the gateway's own")
        added = provider.name in self.settings.compat and self.broken.isdisjoint(("FWD_COMPAT", variable))
        if added and not provider.base_url:
            source = f"needed by FWD_COMPAT, {self.sources['FWD_COMPAT'][0]}"
            yield SettingProblem(variable, source, "nothing", f"the address of {provider.name}, as https://host/v1")

    def _check_model(self, provider: ProviderSettings) -> Iterator[SettingProblem]:
        """A default model must have a name, and no other provider's prefix."""
        if provider.model is None:
            return
        model = cut_prefix(provider.model, provider.name)
        prefix, colon, _ = provider.model.partition(":")
        foreign = bool(colon) and prefix != provider.name and prefix in self.settings.providers
        if foreign or (not model and not provider.info.built_in):
            allowed = f"a model of {provider.name}, with or without the prefix {provider.name}:"
            yield self._make_problem(f"{stem_of(provider.name)}_MODEL", repr(provider.model), allowed)

    def _check_total(self, provider: ProviderSettings) -> Iterator[SettingProblem]:
        """An attempt may be given less time than a whole call, not more."""
        own, whole = provider.timeouts.total_s, self.settings.total_timeout
        # It could never take effect: the call's own time is over first.
        if own > whole and "FWD_TOTAL_TIMEOUT" not in self.broken:
            allowed = f"at most FWD_TOTAL_TIMEOUT, which is {write_duration(whole)}"
            yield self._make_problem(f"FWD_{stem_of(provider.name)}_TOTAL_TIMEOUT", write_duration(own), allowed)

    def _check_priority(self, name: str) -> Iterator[SettingProblem]:
        """An entry of the priority list must be known, stand there once, and have a key and a model."""
        provider = self.settings.providers.get(name)
        if provider is None:
            allowed = f"names from {', '.join(self.settings.providers)}"
            yield self._make_problem("PROVIDERS_PRIORITY", repr(name), allowed)
        elif self.settings.priority.count(name) > 1:
            yield self._make_problem("PROVIDERS_PRIORITY", f"{name!r} more than once", "each name once")
        elif missing := self._missing_variables(provider):
            yield self._make_problem(
                "PROVIDERS_PRIORITY", f"{name!r} without {missing}", f"providers that are set up: set {missing}"
            )

    def _missing_variables(self, provider: ProviderSettings) -> str:
        """The settings a provider still needs to be in the priority list."""
        if provider.info.built_in:
            return "" if self.settings.echo else "FWD_ECHO=true"
        stem = stem_of(provider.name)
        wanted = {
            f"{stem}_API_KEY": provider.api_key or not provider.info.key_required,
            f"{stem}_MODEL": provider.model,
        }
        return " and ".join(name for name, there in wanted.items() if not there and name not in self.broken)


def leads_back(settings: Settings, base_url: str) -> bool:
    """Whether an address is the gateway's own."""
    parts = urlsplit(base_url)
    host, own = (parts.hostname or "").rstrip("."), settings.host
    return port_of(parts) == settings.port and (host == own.lower() or (_is_here(host) and _is_here(own)))


def _is_here(host: str) -> bool:
    return is_loopback(host) or is_everywhere(host)


def readable_keys(settings: Settings) -> Iterator[str]:
    """A warning for each key that would travel unencrypted to another machine."""
    for provider in settings.providers.values():
        parts = urlsplit(provider.base_url)
        if provider.api_key and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            stem = stem_of(provider.name)
            yield f"{stem}_BASE_URL is plain http: {stem}_API_KEY is sent unencrypted to {parts.hostname}; use https"
