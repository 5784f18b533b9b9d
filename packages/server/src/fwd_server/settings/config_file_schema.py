"""The schema of ``fwd.toml``: one attrs class for each kind of table, from which errors and JSON Schema are made.

A field's type says which values it takes (``config_file_values``), its ``help`` what it means. The names are those of
the file.
"""
# ruff: noqa: RUF009 - item() makes an attrs field

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NewType

from attrs import field, frozen

from fwd_server.settings.config_file_values import (
    Attempts,
    Count,
    Day,
    Duration,
    EntryName,
    FallbackEntry,
    Flag,
    ModelName,
    ModelPattern,
    Parameter,
    Parameters,
    Price,
    ProviderName,
    Ratio,
    Reference,
    Target,
    Text,
    Tier,
    Url,
    Weight,
)

Balance = Literal["order", "weighted", "least-busy", "latency", "cheapest"]
Sticky = Literal["off", "session", "key", "prefix"]
ErrorKindName = NewType("ErrorKindName", str)
HeaderName = NewType("HeaderName", str)


def item(help: str, default: Any = None, **more: Any) -> Any:
    """A name that may be left out."""
    return field(default=default, metadata={"help": help}, **more)


def needed(help: str) -> Any:
    """A name that must be there."""
    return field(metadata={"help": help})


def table(help: str) -> Any:
    """A table that is empty where it is left out."""
    return field(factory=dict, metadata={"help": help})


@frozen(kw_only=True)
class KeyConfig:
    """A key of a provider. A text alone is its ``key``."""

    key: Reference = needed('Where to read the key from: "env:NAME", "file:PATH" or "cmd:COMMAND".')
    name: EntryName | None = item("Its name in logs and receipts; default: its number.")
    weight: Weight = item("Its share of the calls with rotate = spread.", 1)
    rpm: Count | None = item("Maximum requests per minute.")
    tpm: Count | None = item("Maximum tokens per minute.")
    concurrency: Count | None = item("Maximum concurrent calls.")
    models: tuple[ModelPattern, ...] = item("Models of the provider that may use it; default: all.", ())


@frozen(kw_only=True)
class TimeoutsConfig:
    """Times of a provider or a deployment, as FWD_<WHAT>_TIMEOUT."""

    connect: Duration | None = item("For a connection.")
    first_byte: Duration | None = item("For the head of an answer.")
    first_event: Duration | None = item("For the first event of a stream.")
    idle: Duration | None = item("Maximum silence in the middle of an answer.")
    total: Duration | None = item("For one attempt.")


@frozen(kw_only=True)
class ProviderConfig:
    """A provider instance; its name is a prefix of models."""

    type: ProviderName | None = item(
        "Its provider in the table of providers; default: the one of the same name, else compatible."
    )
    base_url: Url | None = item("Its address; default: the provider's own.")
    keys: tuple[KeyConfig, ...] = item("Its keys; default: the variables of the provider.", ())
    rotate: Literal["fill", "spread"] = item("fill: the first usable key; spread: all by weight.", "fill")
    auth: Literal["key", "none", "entra", "aws", "google"] = item(
        "How requests are authenticated: with a key, not at all, or with a token of a cloud that is renewed.", "key"
    )
    headers: Mapping[HeaderName, Text] = table("Headers sent with every request; a value may be a reference.")
    labels: tuple[EntryName, ...] = item("Labels for all its deployments.", ())
    timeouts: TimeoutsConfig | None = item("Its own timeouts.")
    enabled: Flag = item("false: disabled.", True)
    defaults: Parameters = table("Parameters for calls that do not set them.")
    force: Parameters = table("Parameters that override the caller's.")
    deny: tuple[Parameter, ...] = item("Parameters that are refused (400 parameter_not_allowed).", ())
    drop: tuple[Parameter, ...] = item("Parameters that are left out and listed in x-fwd-dropped.", ())


@frozen(kw_only=True)
class PriceConfig:
    """Prices per million tokens in USD, instead of the table's."""

    input: Price | None = item("Prompt.")
    output: Price | None = item("Answer.")
    cached: Price | None = item("Prompt tokens that were read from a cache.")


@frozen(kw_only=True)
class DeploymentConfig:
    """One way to serve a model. A text alone is its ``to``."""

    to: Target = needed('Provider and its model, as "openai:gpt-5".')
    name: EntryName | None = item("Its name, unique in the file; default: to.")
    weight: Weight = item("Its share of the calls; 0: only when all others of its tier are unavailable.", 1)
    tier: Tier = item("Lower tiers come first.", 0)
    keys: tuple[EntryName, ...] = item("Names of the provider's keys it may use; default: all.", ())
    labels: tuple[EntryName, ...] = item("Labels, in addition to those of the provider.", ())
    rpm: Count | None = item("Maximum requests per minute.")
    tpm: Count | None = item("Maximum tokens per minute.")
    concurrency: Count | None = item("Maximum concurrent calls.")
    max_context: Count | None = item("Context length in tokens, instead of the table's.")
    price: PriceConfig | None = item("Prices, instead of the table's.")
    headers: Mapping[HeaderName, Text] = table("Headers, in addition to those of the provider.")
    timeouts: TimeoutsConfig | None = item("Its own timeouts.")
    enabled: Flag = item("false: disabled.", True)
    defaults: Parameters = table("Parameters for calls that do not set them.")
    force: Parameters = table("Parameters that override the caller's.")
    deny: tuple[Parameter, ...] = item("Parameters that are refused (400 parameter_not_allowed).", ())
    drop: tuple[Parameter, ...] = item("Parameters that are left out and listed in x-fwd-dropped.", ())


@frozen(kw_only=True)
class DeprecatedConfig:
    """A model that will go; answers carry deprecation and sunset headers."""

    replacement: ModelName | None = item("The model to use instead.")
    sunset: Day | None = item("The day it is removed.")


@frozen(kw_only=True)
class ModelConfig:
    """A public name. A text alone is the ``to`` of its one deployment."""

    deployments: tuple[DeploymentConfig, ...] = needed("Its deployments.")
    description: Text | None = item("A description for people.")
    aliases: tuple[ModelName, ...] = item("Other names for it.", ())
    hidden: Flag = item("true: it works but is not listed.", False)
    reveal: Flag = item("false: callers see its name but not what serves it.", True)
    balance: Balance = item("How the first deployment of a tier is chosen.", "weighted")
    sticky: Sticky = item("What keeps a conversation on one deployment, for its prompt cache.", "off")
    fallback: tuple[FallbackEntry, ...] = item(
        'Models, deployments, or "@priority": where a failed call continues.', ()
    )
    on: Mapping[ErrorKindName, tuple[FallbackEntry, ...]] = table("The same for one kind of failure.")
    attempts: Attempts | None = item("Maximum attempts per call; default: FWD_ATTEMPTS.")
    max_price_ratio: Ratio | None = item("Skip fallbacks that cost more than this many times the first deployment.")
    deprecated: DeprecatedConfig | None = item("It will be removed.")
    defaults: Parameters = table("Parameters for calls that do not set them.")
    force: Parameters = table("Parameters that override the caller's.")
    deny: tuple[Parameter, ...] = item("Parameters that are refused (400 parameter_not_allowed).", ())
    drop: tuple[Parameter, ...] = item("Parameters that are left out and listed in x-fwd-dropped.", ())


@frozen(kw_only=True)
class RoutingConfig:
    """How model names are resolved."""

    only_listed: Flag = item("true: callers can only use the names in [models].", False)


@frozen(kw_only=True)
class Config:
    """The whole of ``fwd.toml``."""

    settings: Mapping[str, Any] = table("Any setting by its field name: FWD_MAX_REQUESTS is max_requests.")
    routing: RoutingConfig = field(factory=RoutingConfig, metadata={"help": "How model names are resolved."})
    providers: Mapping[ProviderName, ProviderConfig] = table("Provider instances by their names.")
    models: Mapping[ModelPattern, ModelConfig] = table("Public names of models.")


# What a text alone stands for.
SHORT_FORMS: Final[Mapping[type, Any]] = {
    KeyConfig: lambda text: {"key": text},
    DeploymentConfig: lambda text: {"to": text},
    ModelConfig: lambda text: {"deployments": [{"to": text}]},
}
