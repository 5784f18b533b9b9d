"""Whether each provider that is set up here can be reached and takes its key: its list of models is asked, no model.

The paths are those of the providers' own references; OpenRouter's list is public, so its key is asked about itself:
https://openrouter.ai/docs/api-reference/api-keys/get-current-api-key
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import httpx

from fwd_cli.findings import Finding
from fwd_server.settings import ProviderSettings, needs_key, stem_of

if TYPE_CHECKING:
    from fwd_server.settings import Settings

WITHIN_S = 5.0
_PATHS = {"openrouter": "/key", "ollama": "/api/tags"}


def providers(settings: Settings, transport: httpx.BaseTransport | None = None) -> Iterator[Finding]:
    """One finding for each provider with a key or an address of its own; ``transport`` is for tests."""
    with httpx.Client(timeout=WITHIN_S, transport=transport) as client:
        for provider in settings.providers.values():
            if provider.name != "echo" and (provider.api_key or (provider.mentioned and not needs_key(provider.name))):
                yield _asked(client, provider)


def _asked(client: httpx.Client, provider: ProviderSettings) -> Finding:
    url = provider.base_url.rstrip("/") + _PATHS.get(provider.name, "/models")
    name, variable = f"provider {provider.name}", stem_of(provider.name)
    try:
        status = client.get(url, headers=_headers(provider)).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fix = "ollama serve" if provider.name == "ollama" else f"correct {variable}_BASE_URL, or set HTTPS_PROXY"
        return Finding(name, "bad", f"{url} cannot be reached: {error}", fix)
    if status in (401, 403):
        return Finding(name, "bad", f"it refuses the key ({status})", f"correct {variable}_API_KEY")
    if status >= 400:
        return Finding(name, "note", f"it answers {status} to {url}: whether the key is good is not known")
    return Finding(name, "ok", "it answers, and takes the key" if provider.api_key else "it answers")


def _headers(provider: ProviderSettings) -> Mapping[str, str]:
    """The key in the way this provider reads it."""
    if provider.api_key is None:
        return {}
    key = provider.api_key.reveal()
    if provider.name == "anthropic":
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}
    return {"x-goog-api-key": key} if provider.name == "google" else {"authorization": f"Bearer {key}"}
