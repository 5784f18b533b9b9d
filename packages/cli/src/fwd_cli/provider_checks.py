"""Whether each provider that is set up here can be reached and takes its key: its list of models is asked, no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import httpx

from fwd_cli.findings import Finding
from fwd_server.settings import ProviderSettings, stem_of

if TYPE_CHECKING:
    from fwd_server.settings import Settings

WITHIN_S = 5.0


def providers(settings: Settings, transport: httpx.BaseTransport | None = None) -> Iterator[Finding]:
    """One finding for each provider with a key or an address of its own; ``transport`` is for tests."""
    with httpx.Client(timeout=WITHIN_S, transport=transport) as client:
        for provider in settings.providers.values():
            without_key = provider.mentioned and not provider.info.key_required
            if not provider.info.built_in and (provider.api_key or without_key):
                yield _asked(client, provider)


def _asked(client: httpx.Client, provider: ProviderSettings) -> Finding:
    info = provider.info
    url = provider.base_url.rstrip("/") + (info.key_check_path or info.models_path)
    name, variable = f"provider {provider.name}", stem_of(provider.name)
    try:
        status = client.get(url, headers=_headers(provider)).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fix = info.start_command or f"correct {variable}_BASE_URL, or set HTTPS_PROXY"
        return Finding(name, "bad", f"{url} cannot be reached: {error}", fix)
    if status in (401, 403):
        return Finding(name, "bad", f"it refuses the key ({status})", f"correct {variable}_API_KEY")
    if status >= 400:
        return Finding(name, "note", f"it answers {status} to {url}: whether the key is good is not known")
    return Finding(name, "ok", "it answers, and takes the key" if provider.api_key else "it answers")


def _headers(provider: ProviderSettings) -> Mapping[str, str]:
    """The key in the way this provider reads it."""
    key = ((name, secret.reveal()) for name, secret in provider.info.auth.header_pair(provider.api_key))
    return dict([*key, *provider.info.headers])
