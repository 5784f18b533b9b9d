"""A rehearsal of failures: a gateway with the user's settings, and stand-ins for the providers."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping

from attrs import frozen

from fwd_cli.child import Gateway, gateway
from fwd_cli.standins import standing_in
from fwd_client import APIError, Client, FwdError
from fwd_server.settings import LoadedSettings, ProviderSettings, documented_variables, stem_of, timeout_variables

GROUPS = ("Routing", "Timeouts", "Timeouts of providers")
ANY_MODEL = "any-model"
# The gateway masks its keys wherever they appear in a provider's words, so this one must not be a word of ours.
STAND_IN_KEY = f"drill-{secrets.token_urlsafe(24)}"
_HELLO = "hello"


@frozen
class Scene:
    """One provider that fails: the plan for a call of its model, and the outcome.

    ``answered`` is the provider that answered instead; empty when the caller got ``error``.
    """

    provider: str
    model: str
    plan: tuple[str, ...]
    answered: str = ""
    attempts: int = 0
    took_s: float = 0.0
    error: str = ""


def configured(loaded: LoadedSettings) -> tuple[ProviderSettings, ...]:
    """The providers that are set up here: those in the list first, then those with a key or any setting."""
    settings = loaded.settings
    listed = [settings.providers[name] for name in settings.priority]
    others = [p for p in settings.providers.values() if p.api_key or p.mentioned]
    # By name, since a provider in the list has a key as well.
    return tuple({provider.name: provider for provider in [*listed, *others]}.values())


def rehearse(loaded: LoadedSettings, texts: Mapping[str, str], provider: ProviderSettings, status: int) -> Scene:
    """Make one provider fail and call its model. ``texts`` are the settings as written."""
    name = provider.name
    model = f"echo:fail?status={status}" if provider.info.built_in else _named(provider)
    # A gateway for each scene: a cooldown of the last one would change what the next one shows.
    with standing_in(name, status) as url, gateway(stand_in_settings(loaded, texts, url)) as running:
        plan = _planned_providers(running, model)
        started = time.monotonic()
        try:
            with _make_client(running) as client:
                answer = client.chat.completions.create(model=model, messages=_HELLO)
        except FwdError as error:
            failed = error.attempts if isinstance(error, APIError) else None
            return Scene(name, model, plan, "", failed or 0, time.monotonic() - started, error.message)
    who = f"{answer.provider} ({answer.receipt.model})"
    return Scene(name, model, plan, who, answer.attempts or 0, time.monotonic() - started)


def _named(provider: ProviderSettings) -> str:
    model = provider.model or ANY_MODEL
    return model if model.startswith(f"{provider.name}:") else f"{provider.name}:{model}"


def _make_client(running: Gateway) -> Client:
    # A client that tries again would hide what the gateway did.
    return Client(base_url=running.url, api_key=running.key, max_retries=0)


def _planned_providers(running: Gateway, model: str) -> tuple[str, ...]:
    """The providers that would be asked for this model, in their order; none is."""
    with _make_client(running) as client:
        # Asked before the failure, which changes the order.
        plan = client.chat.completions.create(model=model, messages=_HELLO, extra_headers={"x-fwd-dry-run": "true"})
    return tuple(str(step.get("provider")) for step in plan.extra.get("plan", ()))


def stand_in_settings(loaded: LoadedSettings, texts: Mapping[str, str], url: str) -> dict[str, str]:
    """The settings that decide which provider is asked, with stand-ins for all addresses and keys."""
    times = (variable for name in loaded.settings.providers for variable in timeout_variables(name))
    # Limits, logs and keys of callers change nothing about who answers.
    deciding = {variable.name for variable in (*documented_variables(), *times) if variable.group in GROUPS}
    settings = {name: text for name, text in texts.items() if name in deciding and text}
    for provider in loaded.settings.providers.values():
        settings |= _of_provider(provider, url)
    return settings


def _of_provider(provider: ProviderSettings, url: str) -> dict[str, str]:
    stem = stem_of(provider.name)
    values = {f"{stem}_MODEL": provider.model or ""}
    if not provider.info.built_in:
        is_on = provider.api_key or provider.mentioned
        # Without its key a provider is off, as it would be in the real gateway.
        values[f"{stem}_API_KEY"] = STAND_IN_KEY if provider.api_key else ""
        values[f"{stem}_BASE_URL"] = f"{url}/{provider.name}" if is_on else ""
    return values
