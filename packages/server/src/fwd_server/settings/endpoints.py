"""From settings to endpoints: which providers there are, and which of them can be used."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from fwd_server.settings import KNOWN, ProviderSettings, Settings, needs_key, stem_of
from fwd_server.values.deployment import Endpoint

_ECHO: Final = "echo"  # built in; it comes last wherever providers are listed


def endpoints(settings: Settings, spoken: Collection[str]) -> dict[str, Endpoint]:
    """Every endpoint by its name, in the order people see: known providers, those of ``FWD_COMPAT``, ``echo``.

    ``spoken`` are the providers this version has a codec for; every server of ``FWD_COMPAT`` speaks OpenAI's.
    """
    names = [name for name in settings.providers if name != _ECHO]
    return {name: _endpoint(settings.providers[name], settings, spoken) for name in (*names, _ECHO)}


def _endpoint(provider: ProviderSettings, settings: Settings, spoken: Collection[str]) -> Endpoint:
    return Endpoint(
        provider=provider.name,
        base_url=provider.base_url,
        key=provider.api_key,
        default_model=provider.model,
        enabled=_is_on(provider, settings),
        enabled_by=_enabling_variable(provider.name),
        available=provider.name in spoken or provider.name not in KNOWN,
        headers=_attribution(settings) if provider.name == "openrouter" else (),
        always_tried=provider.name == "ollama",
        timeouts=provider.timeouts,
    )


def _is_on(provider: ProviderSettings, settings: Settings) -> bool:
    if provider.name == _ECHO:
        return settings.echo
    if provider.name == "ollama":
        return provider.mentioned
    return provider.api_key is not None or not needs_key(provider.name)


def _enabling_variable(name: str) -> str:
    if name == _ECHO:
        return "FWD_ECHO"
    return f"{stem_of(name)}_API_KEY" if needs_key(name) else f"{stem_of(name)}_BASE_URL"


def _attribution(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Who is asking, for OpenRouter's statistics: https://openrouter.ai/docs/app-attribution."""
    given = (("http-referer", settings.openrouter_referer), ("x-openrouter-title", settings.openrouter_title))
    return tuple((name, value) for name, value in given if value)
