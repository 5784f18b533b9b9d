"""What may stand in ``fwd.toml``: one attrs class for each kind of table, from which errors and schema are made.

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

    key: Reference = needed('Where the key is: "env:NAME", "file:PATH" or "cmd:COMMAND".')
    name: EntryName | None = item("What it is called in logs and receipts; else it is counted.")
    weight: Weight = item("Share of the calls with rotate = spread.", 1)
    rpm: Count | None = item("Most requests a minute.")
    tpm: Count | None = item("Most tokens a minute.")
    concurrency: Count | None = item("Most calls at once.")
    models: tuple[ModelPattern, ...] = item("Models of the provider it may be used for; else all.", ())


@frozen(kw_only=True)
class TimeoutsConfig:
    """Times of a provider or a deployment, as FWD_<WHAT>_TIMEOUT."""

    connect: Duration | None = item("For a connection.")
    first_byte: Duration | None = item("For the head of an answer.")
    first_event: Duration | None = item("For the first event of a stream.")
    idle: Duration | None = item("For silence in the middle of an answer.")
    total: Duration | None = item("For one attempt.")


@frozen(kw_only=True)
class ProviderConfig:
    """A provider instance; its name is a prefix of models."""

    type: ProviderName | None = item("Which provider of the table it is; default: its own name, else compatible.")
    base_url: Url | None = item("Where it is; default: the provider's own address.")
    keys: tuple[KeyConfig, ...] = item("Its keys; default: the variables of the provider.", ())
    rotate: Literal["fill", "spread"] = item("fill: the first usable key; spread: all by weight.", "fill")
    auth: Literal["key", "none"] = item("How it is asked: with a key, or without.", "key")
    headers: Mapping[HeaderName, Text] = table("Fixed headers of every request; a value may be a reference.")
    labels: tuple[EntryName, ...] = item("Labels of all its deployments.", ())
    timeouts: TimeoutsConfig | None = item("Times that are its own.")
    enabled: Flag = item("false: as if it were not there.", True)
    defaults: Parameters = table("Parameters where the caller gives none.")
    force: Parameters = table("Parameters whatever the caller gives.")
    deny: tuple[Parameter, ...] = item("Parameters that are 400 parameter_not_allowed.", ())
    drop: tuple[Parameter, ...] = item("Parameters that are left out, and said in x-fwd-dropped.", ())


@frozen(kw_only=True)
class PriceConfig:
    """What a million tokens cost, in USD, in place of the table."""

    input: Price | None = item("Prompt.")
    output: Price | None = item("Answer.")
    cached: Price | None = item("Prompt that was read from a cache.")


@frozen(kw_only=True)
class DeploymentConfig:
    """One way to serve a model. A text alone is its ``to``."""

    to: Target = needed('Provider and model there, as "openai:gpt-5".')
    name: EntryName | None = item("What it is called, once in the file; default: to.")
    weight: Weight = item("Share of the calls; 0: only when all others of its tier are out.", 1)
    tier: Tier = item("Lower tiers come first.", 0)
    keys: tuple[EntryName, ...] = item("Names of the provider's keys it may use; else all.", ())
    labels: tuple[EntryName, ...] = item("Labels, besides those of the provider.", ())
    rpm: Count | None = item("Most requests a minute.")
    tpm: Count | None = item("Most tokens a minute.")
    concurrency: Count | None = item("Most calls at once.")
    max_context: Count | None = item("Longest prompt in tokens, in place of the table.")
    price: PriceConfig | None = item("Prices, in place of the table.")
    headers: Mapping[HeaderName, Text] = table("Fixed headers, besides those of the provider.")
    timeouts: TimeoutsConfig | None = item("Times that are its own.")
    enabled: Flag = item("false: as if it were not there.", True)
    defaults: Parameters = table("Parameters where the caller gives none.")
    force: Parameters = table("Parameters whatever the caller gives.")
    deny: tuple[Parameter, ...] = item("Parameters that are 400 parameter_not_allowed.", ())
    drop: tuple[Parameter, ...] = item("Parameters that are left out, and said in x-fwd-dropped.", ())


@frozen(kw_only=True)
class DeprecatedConfig:
    """A model that will go; answers carry deprecation and sunset headers."""

    replacement: ModelName | None = item("The model to use instead.")
    sunset: Day | None = item("The day it goes.")


@frozen(kw_only=True)
class ModelConfig:
    """A public name. A text alone is the ``to`` of its one deployment."""

    deployments: tuple[DeploymentConfig, ...] = needed("The ways to serve it.")
    description: Text | None = item("A line for people.")
    aliases: tuple[ModelName, ...] = item("More names for it.", ())
    hidden: Flag = item("true: it works and is in no list.", False)
    reveal: Flag = item("false: callers see its name and nothing behind it.", True)
    balance: Balance = item("How the first deployment of a tier is chosen.", "weighted")
    sticky: Sticky = item("What keeps a conversation at one deployment, for its prompt cache.", "off")
    fallback: tuple[FallbackEntry, ...] = item('Models, deployments, or "@priority": where a failed call goes on.', ())
    on: Mapping[ErrorKindName, tuple[FallbackEntry, ...]] = table("The same for one kind of failure.")
    attempts: Attempts | None = item("Most attempts for one call; default: FWD_ATTEMPTS.")
    max_price_ratio: Ratio | None = item("Skip fallbacks that cost more than this many times the first deployment.")
    deprecated: DeprecatedConfig | None = item("It will go.")
    defaults: Parameters = table("Parameters where the caller gives none.")
    force: Parameters = table("Parameters whatever the caller gives.")
    deny: tuple[Parameter, ...] = item("Parameters that are 400 parameter_not_allowed.", ())
    drop: tuple[Parameter, ...] = item("Parameters that are left out, and said in x-fwd-dropped.", ())


@frozen(kw_only=True)
class RoutingConfig:
    """How names are looked up."""

    only_listed: Flag = item("true: callers reach the names of [models] and nothing else.", False)


@frozen(kw_only=True)
class Config:
    """The whole of ``fwd.toml``."""

    settings: Mapping[str, Any] = table("Any setting by its field name: FWD_MAX_REQUESTS is max_requests.")
    routing: RoutingConfig = field(factory=RoutingConfig, metadata={"help": "How names are looked up."})
    providers: Mapping[ProviderName, ProviderConfig] = table("Provider instances by their names.")
    models: Mapping[ModelPattern, ModelConfig] = table("Public names of models.")


# What a text alone stands for.
SHORT_FORMS: Final[Mapping[type, Any]] = {
    KeyConfig: lambda text: {"key": text},
    DeploymentConfig: lambda text: {"to": text},
    ModelConfig: lambda text: {"deployments": [{"to": text}]},
}
