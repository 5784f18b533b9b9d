"""From settings to endpoints: which providers there are, and which of them can be used."""

from __future__ import annotations

from collections.abc import Collection

from fwd_server.settings import ProviderSettings, Settings
from fwd_server.values.deployment import Endpoint


def build_endpoints(settings: Settings, languages: Collection[str]) -> dict[str, Endpoint]:
    """Every endpoint by its name, in the order people see: known providers, those of ``FWD_COMPAT``, ``echo``.

    ``languages`` are those this version has codecs for.
    """
    # A stable sort: what is built in comes last wherever providers are listed.
    providers = sorted(settings.providers.values(), key=lambda provider: provider.info.built_in)
    return {provider.name: _build_endpoint(provider, settings, languages) for provider in providers}


def _build_endpoint(provider: ProviderSettings, settings: Settings, languages: Collection[str]) -> Endpoint:
    info = provider.info
    return Endpoint(
        provider=provider.name,
        base_url=provider.base_url,
        # The only place where a key and its address meet.
        key=provider.api_key,
        default_model=provider.model,
        enabled=_is_enabled(provider, settings),
        enabled_by=info.enabled_by,
        available=info.language in languages,
        headers=_attribution_headers(settings) if info.attribution else (),
        always_tried=info.always_tried,
        timeouts=provider.timeouts,
        reasoning=provider.reasoning,
    )


def _is_enabled(provider: ProviderSettings, settings: Settings) -> bool:
    """With a key, if one is required, or once something names the provider; and with an address."""
    info = provider.info
    if info.built_in:
        return settings.echo
    is_named = provider.api_key is not None if info.key_required else provider.mentioned
    return is_named and bool(provider.base_url)


def _attribution_headers(settings: Settings) -> tuple[tuple[str, str], ...]:
    """The app's name and address for OpenRouter's statistics: https://openrouter.ai/docs/app-attribution."""
    headers = (("http-referer", settings.openrouter_referer), ("x-openrouter-title", settings.openrouter_title))
    return tuple((name, value) for name, value in headers if value)
