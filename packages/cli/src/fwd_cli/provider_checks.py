"""Whether each provider that is set up here can be reached and takes its key: its list of models is asked, no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import httpx

from fwd_cli.findings import Finding
from fwd_server.values.cloud_token import CloudToken
from fwd_server.values.provider_info import stem_of

if TYPE_CHECKING:
    from fwd_server.routing.table import Instance
    from fwd_server.settings import Settings
    from fwd_server.values.provider_info import ProviderInfo
    from fwd_server.values.secret import Secret

WITHIN_S = 5.0


def providers(settings: Settings, transport: httpx.BaseTransport | None = None) -> Iterator[Finding]:
    """One finding for each provider with a key or an address of its own; ``transport`` is for tests."""
    with httpx.Client(timeout=WITHIN_S, transport=transport) as client:
        for provider in settings.providers.values():
            # A server without a key is only asked where somebody set it up.
            without_key = provider.mentioned and not provider.info.key_required
            if not provider.info.built_in and (provider.api_key or without_key):
                stem = stem_of(provider.name)
                fixes = (provider.info.start_command or f"correct {stem}_BASE_URL", f"correct {stem}_API_KEY")
                name = f"provider {provider.name}"
                yield _ask_provider(client, name, provider.info, provider.base_url, provider.api_key, *fixes)


def instances(found: Iterable[Instance], transport: httpx.BaseTransport | None = None) -> Iterator[Finding]:
    """One finding for each key of each provider that is on, those of ``fwd.toml`` included."""
    with httpx.Client(timeout=WITHIN_S, transport=transport) as client:
        for instance in found:
            for key in instance.keys:
                endpoint = key.endpoint
                if isinstance(endpoint.key, CloudToken):
                    detail = "its token is renewed by the running gateway, whose /ready says whether there is one"
                    yield Finding(f"provider {instance.name} with {key.name}", "note", detail)
                elif endpoint.enabled and not endpoint.info.built_in:
                    shown = f" with {key.name}" if endpoint.key else ""
                    fixes = (f"correct the address of {instance.name}", f"correct {key.name}")
                    name = f"provider {instance.name}{shown}"
                    yield _ask_provider(client, name, endpoint.info, endpoint.base_url, endpoint.key, *fixes)


def _ask_provider(
    client: httpx.Client,
    name: str,
    info: ProviderInfo,
    base_url: str,
    key: Secret | None,
    address_fix: str,
    key_fix: str,
) -> Finding:
    """What a provider says to a request for its models, with this key."""
    # A list of models costs nothing, and needs the same key as a call.
    url = base_url.rstrip("/") + (info.key_check_path or info.models_path)
    headers = dict([*((name, secret.reveal()) for name, secret in info.auth.header_pair(key)), *info.headers])
    try:
        status = client.get(url, headers=headers).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(name, "bad", f"{url} cannot be reached: {error}", _or_proxy(address_fix))
    # The only answers that are about the key; others leave it open whether it is good.
    if status in (401, 403):
        return Finding(name, "bad", f"it rejects the key ({status})", key_fix)
    if status >= 400:
        return Finding(name, "note", f"it answers {status} to {url}: the key could not be checked")
    return Finding(name, "ok", "it answers and accepts the key" if key else "it answers")


def _or_proxy(fix: str) -> str:
    return f"{fix}, or set HTTPS_PROXY" if fix.startswith("correct ") else fix
