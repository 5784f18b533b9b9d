"""From ``[providers]`` and the variables of providers to instances: where each is, and with which keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from attrs import evolve, frozen

from fwd_server.routing.planner import single_key
from fwd_server.routing.table import Change, Changes, Instance, Limits, ProviderKey
from fwd_server.settings.checks import leads_back
from fwd_server.settings.config_file import ProblemList
from fwd_server.settings.config_file_lines import Path
from fwd_server.settings.config_file_reading import suggest
from fwd_server.settings.config_file_schema import (
    DeploymentConfig,
    KeyConfig,
    ModelConfig,
    ProviderConfig,
    TimeoutsConfig,
)
from fwd_server.settings.config_file_secrets import BadReference, is_reference, name_of
from fwd_server.settings.config_file_values import show_value
from fwd_server.settings.schema import ProviderSettings, Settings
from fwd_server.values.chat import ChatBody
from fwd_server.values.cloud_token import cloud_token, missing_extra
from fwd_server.values.deployment import Endpoint
from fwd_server.values.provider_info import PROVIDER_TABLE, ProviderInfo, provider_info, stem_of
from fwd_server.values.secret import Secret
from fwd_server.values.timeouts import Timeouts

COMPATIBLE: Final = "compat"  # the type of a server that is known by its address only


@frozen
class InstanceBuilder:
    """Makes the instances of a file. ``endpoints`` are those that the variables alone make."""

    settings: Settings
    endpoints: Mapping[str, Endpoint]
    problems: ProblemList

    def build(self) -> dict[str, Instance]:
        """Every instance by its name: those of the variables first, changed where the file has them, then new ones."""
        instances = {name: variable_instance(self.settings, endpoint) for name, endpoint in self.endpoints.items()}
        for name, config in self.problems.file.config.providers.items():
            instances[name] = self._build_instance(name, config, instances.get(name))
        return instances

    def _build_instance(self, name: str, config: ProviderConfig, old: Instance | None) -> Instance:
        endpoint = self._build_endpoint(name, config)
        keys = tuple(self._build_keys(name, config, endpoint)) or self._build_token(name, config, endpoint)
        if not keys and config.auth == "key" and old is not None:
            keys = tuple(evolve(key, endpoint=evolve(endpoint, key=key.endpoint.key)) for key in old.keys)
        keys = keys or (single_key(endpoint),)
        has_key = any(key.endpoint.key is not None for key in keys)
        enabled = config.enabled and (has_key or config.auth == "none" or not endpoint.info.key_required)
        keys = tuple(evolve(key, endpoint=evolve(key.endpoint, enabled=enabled)) for key in keys)
        changes = build_changes(config, self.problems, ("providers", name))
        return Instance(name, keys, config.rotate == "spread", frozenset(config.labels), changes)

    def _build_token(self, name: str, config: ProviderConfig, endpoint: Endpoint) -> tuple[ProviderKey, ...]:
        """The token of a cloud in the place of keys, where the table asks for one."""
        if config.auth == "key" or config.auth == "none":
            return ()
        extra = missing_extra(config.auth)
        if extra:
            self.problems.note(
                ("providers", name, "auth"), f"{config.auth!r} needs more packages: pip install 'fwd-server[{extra}]'"
            )
        token = cloud_token(config.auth, name, endpoint.base_url)
        return (ProviderKey(config.auth, evolve(endpoint, key=token), f"{name} {config.auth}"),)

    def _build_endpoint(self, name: str, config: ProviderConfig) -> Endpoint:
        info = self._find_type(name, config)
        old = self.settings.providers.get(name) or ProviderSettings(name, timeouts=_own_times(info, self.settings))
        base_url = config.base_url or old.base_url or info.base_url
        is_known = config.type in (None, COMPATIBLE, *PROVIDER_TABLE)  # if not, that is the problem
        if not base_url and not info.built_in and is_known:
            self.problems.note(
                ("providers", name), "base_url is missing: the address of the server, as https://host/v1"
            )
        if config.base_url and leads_back(self.settings, config.base_url):
            self.problems.note(("providers", name, "base_url"), "it is the gateway's own address")
        for header, value in config.headers.items():
            if is_reference(value):
                self.problems.note(
                    ("providers", name, "headers", header), "a header must not contain a secret; use keys"
                )
        existing = self.endpoints.get(name)
        return Endpoint(
            provider=name,
            base_url=base_url,
            default_model=old.model,
            enabled_by=f"{stem_of(name)}_API_KEY or providers.{name}.keys",
            headers=(*(existing.headers if existing else ()), *config.headers.items()),
            always_tried=existing.always_tried if existing and config.enabled else False,
            timeouts=merge_timeouts(old.timeouts, config.timeouts),
            type=info.name,
            reasoning=old.reasoning,
        )

    def _find_type(self, name: str, config: ProviderConfig) -> ProviderInfo:
        if config.type is None or config.type in (name, COMPATIBLE):
            return provider_info(name)
        if config.type not in PROVIDER_TABLE:
            known = (*PROVIDER_TABLE, COMPATIBLE)
            self.problems.note(
                ("providers", name, "type"),
                f"{config.type!r} is not a known provider{suggest(config.type, known)}",
            )
        return provider_info(config.type)

    def _build_keys(self, name: str, config: ProviderConfig, endpoint: Endpoint) -> Iterator[ProviderKey]:
        names = set[str]()
        for index, key in enumerate(config.keys):
            path = ("providers", name, "keys", index)
            place = f"providers.{name}.keys[{index}]"
            shown = key.name or name_of(key.key, place)
            if shown in names:
                self.problems.note(path, f"there is a key {shown!r} already; give one of them another name")
            names.add(shown)
            try:
                secret = Secret(self.problems.file.resolve(key.key), name_of(key.key, place))
            except BadReference as error:
                self.problems.note(path, f"no key from {_shown(key)}: {error}")
                continue
            yield ProviderKey(
                shown,
                evolve(endpoint, key=secret),
                key_identity(name, secret),
                key.weight,
                Limits(key.rpm, key.tpm, key.concurrency),
                key.models,
            )


def build_changes(
    config: ProviderConfig | ModelConfig | DeploymentConfig, problems: ProblemList, path: Path
) -> Changes:
    """What one table changes of the parameters of calls; merged with ``{**outer, **inner}``."""
    changes: dict[str, Change] = {}
    entries = (
        *(("default", name, value) for name, value in config.defaults.items()),
        *(("force", name, value) for name, value in config.force.items()),
        *(("deny", name, None) for name in config.deny),
        *(("drop", name, None) for name in config.drop),
    )
    for action, name, value in entries:
        if name in changes:
            place = (*path, _LISTS[action], name) if value is not None else (*path, _LISTS[action])
            problems.note(place, f"{name} is also in {_LISTS[changes[name].action]}; keep it in one of them")
        if value is not None and not fits_chat(name, value):
            problems.note(
                (*path, _LISTS[action], name), f"found {show_value(value)}; a chat completion takes no such value"
            )
        changes[name] = Change(action, value)
    return changes


def fits_chat(name: str, value: Any) -> bool:
    """Whether a parameter of a chat completion may have this value; of one that nobody knows nothing is said."""
    try:
        msgspec.convert({"messages": [{"role": "user", "content": ""}], name: value}, ChatBody)
    except msgspec.ValidationError:
        return False
    return True


_LISTS: Final = {"default": "defaults", "force": "force", "deny": "deny", "drop": "drop"}


def variable_instance(settings: Settings, endpoint: Endpoint) -> Instance:
    """A provider as its variables have it: ``OPENAI_API_KEY``, then ``OPENAI_API_KEY_2`` and so on."""
    provider = settings.providers[endpoint.provider]
    secrets = [secret for secret in (provider.api_key, *provider.more_keys) if secret is not None]
    if not secrets:
        return Instance(endpoint.provider, (single_key(endpoint),))
    keys = (
        ProviderKey(secret.name, evolve(endpoint, key=secret), key_identity(endpoint.provider, secret))
        for secret in secrets
    )
    return Instance(endpoint.provider, tuple(keys))


def key_identity(instance: str, secret: Secret) -> str:
    """The identity of a key: it changes with the secret and reveals nothing about it."""
    # Made of the secret, so that a replaced key starts without the cooldown of the old one.
    return f"{instance} {hashlib.sha256(secret.reveal().encode()).hexdigest()[:16]}"


def merge_timeouts(timeouts: Timeouts, config: TimeoutsConfig | None) -> Timeouts:
    """The times with those of the file in their places."""
    if config is None:
        return timeouts
    own = {
        "connect_s": config.connect,
        "first_byte_s": config.first_byte,
        "first_event_s": config.first_event,
        "idle_s": config.idle,
        "total_s": config.total,
    }
    return evolve(timeouts, **{name: seconds for name, seconds in own.items() if seconds is not None})


def _own_times(info: ProviderInfo, settings: Settings) -> Timeouts:
    return evolve(settings.timeouts, **{f"{what}_s": seconds for what, seconds in info.timeouts.items()})


def _shown(key: KeyConfig) -> str:
    """A reference as a message may show it; a command may hold what nobody should read."""
    return "the command" if key.key.startswith("cmd:") else key.key
