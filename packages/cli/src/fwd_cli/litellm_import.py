"""From a configuration of LiteLLM's proxy to ``fwd.toml``: pure, and nothing vanishes unreported.

Every value is taken out of the document as it is translated; what is left at the end was not understood and stands in
the report with its path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field, frozen

from fwd_cli.litellm_models import CALL_PARAMETERS, PROVIDERS, STRATEGIES, UNKNOWN_PROVIDERS, ProviderName
from fwd_cli.toml_text import table_text, value_text

Json = dict[str, Any]
_NAME = re.compile(r"[A-Za-z0-9._:/@-]{1,128}|[A-Za-z0-9._:/@-]{0,127}\*")
_MILLION = 1_000_000


@frozen
class Note:
    """Something that was not carried over, or that a person has to do: where it stood, and what."""

    path: str
    text: str


@frozen
class Translated:
    """The text of ``fwd.toml``, what was not carried over, and what is left to do."""

    toml: str
    lost: tuple[Note, ...] = ()
    todo: tuple[Note, ...] = ()


def translate(document: Mapping[str, Any]) -> Translated:
    """The whole of a ``config.yaml``."""
    return _Translation(_copy(document)).run()


@define
class _Instance:
    """A provider instance: its values in ``[providers]``, and its keys by their references."""

    name: str
    values: Json = field(factory=dict)
    keys: list[str] = field(factory=list)

    def key_name(self, reference: str) -> str:
        return f"key-{self.keys.index(reference) + 1}"


@define
class _Translation:
    """One run over one document, which is used up on the way."""

    document: Json
    lost: list[Note] = field(factory=list)
    todo: list[Note] = field(factory=list)
    instances: dict[tuple[str, str], _Instance] = field(factory=dict)
    models: dict[str, Json] = field(factory=dict)
    deployments: dict[str, list[tuple[Json, _Instance, str]]] = field(factory=dict)
    settings: Json = field(factory=dict)

    def run(self) -> Translated:
        for index, entry in enumerate(self.document.pop("model_list", None) or []):
            self._read_deployment(f"model_list[{index}]", entry)
        self._read_router()
        self._read_general()
        self._report_rest(self.document, "")
        return Translated(self._write_toml(), tuple(self.lost), tuple(self.todo))

    # -- model_list

    def _read_deployment(self, path: str, entry: Json) -> None:
        name, params = str(entry.pop("model_name", "")), entry.pop("litellm_params", None) or {}
        target = self._find_target(f"{path}.litellm_params", params)
        # A name that the gateway refuses would make the whole file one that cannot be used.
        if not _NAME.fullmatch(name):
            self.lost.append(Note(f"{path}.model_name", f"{name!r} cannot be a model's name here"))
            return
        if target is None:
            return
        provider, model = target
        # The star of a target stands for what the star of the name took.
        if model.endswith("*") and not name.endswith("*"):
            self.lost.append(Note(f"{path}.litellm_params.model", "a * is only possible if the model's name has one"))
            return
        instance, reference = self._find_instance(f"{path}.litellm_params", params, provider)
        values = {"to": f"{instance.name}:{model}", **_read_limits(params), **_read_times(params)}
        info = entry.pop("model_info", None) or {}
        # A deployment's own prices are more exact than those of the model it serves.
        values |= _price_per_million(params) or _price_per_million(info)
        if isinstance(longest := info.pop("max_input_tokens", None), int):
            values["max_context"] = longest
        defaults = {parameter: params.pop(parameter) for parameter in sorted(CALL_PARAMETERS & params.keys())}
        if defaults:
            values["defaults"] = defaults
        info.pop("id", None)  # a name for LiteLLM's own database
        self._report_rest(params, f"{path}.litellm_params")
        self._report_rest(info, f"{path}.model_info")
        self._report_rest(entry, path)
        self.models.setdefault(name, {})
        self.deployments.setdefault(name, []).append((values, instance, reference))

    def _find_target(self, path: str, params: Json) -> tuple[ProviderName, str] | None:
        """The provider here and the model there."""
        model = str(params.pop("model", ""))
        own = str(params.pop("custom_llm_provider", "") or "")
        prefix, slash, rest = model.partition("/")
        if prefix not in PROVIDERS and (own or not slash or prefix not in UNKNOWN_PROVIDERS):
            # Without a known prefix the slash belongs to the model's name, as in "meta-llama/...".
            prefix, rest = own or (prefix if slash and not params.get("api_base") else _family(model)), model
        if prefix not in PROVIDERS:
            self.lost.append(Note(f"{path}.model", f"{model!r}: the provider {prefix!r} is not known here"))
            return None
        return PROVIDERS[prefix], rest

    def _find_instance(self, path: str, params: Json, provider: ProviderName) -> tuple[_Instance, str]:
        """The instance with this address, and the reference to its key."""
        address = self._read_address(path, params)
        # One instance for each address: the key of one server must not go to another.
        place = (provider.name, address)
        if place not in self.instances:
            name = provider.name if not address else self._instance_name(provider.name, address)
            instance = self.instances[place] = _Instance(name)
            if address:
                instance.values = {"type": provider.name, "base_url": address}
        instance = self.instances[place]
        reference = self._read_key(path, params, provider, instance)
        if reference and reference not in instance.keys:
            instance.keys.append(reference)
        return instance, reference

    def _read_address(self, path: str, params: Json) -> str:
        address = str(params.pop("api_base", None) or params.pop("base_url", None) or "").rstrip("/")
        # fwd.toml holds addresses as they are, so that what decides where a key goes can be read in it.
        if address.startswith("os.environ/"):
            self.lost.append(Note(f"{path}.api_base", f"an address from {address[11:]}: write it out as base_url"))
            return ""
        return address

    def _instance_name(self, provider: str, address: str) -> str:
        # Named after its host, which is what a person knows of it.
        host = re.sub(r"[^a-z0-9]+", "-", (urlsplit(address).hostname or "server").lower()).strip("-")
        name = f"{provider}-{host}"[:32].rstrip("-")
        taken = {instance.name for instance in self.instances.values()}
        return next(one for one in (name, *(f"{name[:29]}-{n}" for n in range(2, 1000))) if one not in taken)

    def _read_key(self, path: str, params: Json, provider: ProviderName, instance: _Instance) -> str:
        """A reference to the key; "" where none is needed."""
        key = params.pop("api_key", None)
        if isinstance(key, str) and key.startswith("os.environ/"):
            return f"env:{key.removeprefix('os.environ/')}"
        # A secret must not be copied into a file that may be in a repository.
        if key:
            stem = instance.name.upper().replace("-", "_")
            number = f"_{len(instance.keys) + 1}" if instance.keys else ""
            variable = f"{stem}_API_KEY{number}"
            self.todo.append(Note(f"{path}.api_key", f"a literal key: put it into .env as {variable}=..."))
            return f"env:{variable}"
        return f"env:{provider.variable}" if provider.variable else ""

    # -- the rest of the document

    def _read_router(self) -> None:
        router = self.document.pop("router_settings", None) or {}
        settings = self.document.pop("litellm_settings", None) or {}
        for path, table in (("router_settings", router), ("litellm_settings", settings)):
            self._read_fallbacks(path, table)
            retries = table.pop("num_retries", None)
            if isinstance(retries, int):
                # LiteLLM counts repetitions, fwd all tries.
                self.settings["attempts"] = retries + 1
            timeout = table.pop("timeout" if table is router else "request_timeout", None)
            if isinstance(timeout, int | float):
                self.settings["total_timeout"] = f"{timeout:g}s"
        strategy = router.pop("routing_strategy", "simple-shuffle")
        if strategy in STRATEGIES:
            for model in self.models.values():
                model["balance"] = STRATEGIES[strategy]
        else:
            # Guessing a similar one would change where the money goes.
            self.lost.append(Note("router_settings.routing_strategy", f"{strategy!r} has no counterpart"))
        self._read_aliases(router.pop("model_group_alias", None) or {})
        for table, name in ((router, "enable_pre_call_checks"), (settings, "drop_params")):
            table.pop(name, None)  # what they ask for is always done here
        self._report_rest(router, "router_settings")
        self._report_rest(settings, "litellm_settings")

    def _read_aliases(self, aliases: Mapping[str, Any]) -> None:
        for alias, target in aliases.items():
            name = target.get("model") if isinstance(target, dict) else target
            path = f"router_settings.model_group_alias.{alias}"
            if name in self.models and _NAME.fullmatch(alias) and alias not in self.models:
                self.models[name].setdefault("aliases", []).append(alias)
            else:
                self.lost.append(Note(path, f"{name!r} is not a model of the list, or the name is taken"))
            if isinstance(target, dict) and target.get("hidden"):
                self.lost.append(Note(f"{path}.hidden", "an alias is listed where its model is"))

    def _read_fallbacks(self, path: str, table: Json) -> None:
        kinds = {
            "fallbacks": "fallback",
            "context_window_fallbacks": "on.context_length",
            "content_policy_fallbacks": "on.content_policy",
        }
        for name, place in kinds.items():
            for entry in table.pop(name, None) or []:
                for model, others in entry.items():
                    self._add_fallback(f"{path}.{name}", model, others, place)
        default = table.pop("default_fallbacks", None)
        if default:
            for model in self.models:
                # LiteLLM's default is for models without one of their own.
                if "fallback" not in self.models[model]:
                    others = [other for other in default if other != model]
                    self._add_fallback(f"{path}.default_fallbacks", model, others, "fallback")

    def _add_fallback(self, path: str, model: str, others: list[Any], place: str) -> None:
        # An entry may also be an object with parameters, which is no name.
        known = [other for other in others if isinstance(other, str) and other in self.models]
        if model not in self.models:
            self.lost.append(Note(path, f"{model!r} is not a model of the list"))
        elif known:
            self.models[model][place] = known
        for other in others:
            if other not in known:
                self.lost.append(Note(path, f"{other!r} is not a model of the list"))

    def _read_general(self) -> None:
        general = self.document.pop("general_settings", None) or {}
        if general.pop("master_key", None):
            self.todo.append(Note("general_settings.master_key", "make keys for callers with: fwd generate-key"))
        self._report_rest(general, "general_settings")

    def _report_rest(self, value: Any, path: str) -> None:
        """What nobody took is not carried over."""
        if isinstance(value, dict) and value:
            for name, entry in value.items():
                self._report_rest(entry, f"{path}.{name}" if path else str(name))
        elif not isinstance(value, dict):
            self.lost.append(Note(path, "it has no counterpart"))

    # -- writing

    def _write_toml(self) -> str:
        # An instance whose deployments were all lost would only be noise.
        used = {id(instance) for entries in self.deployments.values() for _, instance, _ in entries}
        parts = [table_text(("settings",), self.settings)] if self.settings else []
        for instance in self.instances.values():
            values = {**instance.values, **_key_values(instance)}
            if values and id(instance) in used:
                parts.append(table_text(("providers", instance.name), values))
        for name, model in self.models.items():
            parts += self._write_model(name, model)
        return "\n\n".join(parts) + "\n"

    def _write_model(self, name: str, model: Json) -> list[str]:
        entries = [
            {**values, **({"keys": [instance.key_name(reference)]} if len(instance.keys) > 1 else {})}
            for values, instance, reference in self.deployments[name]
        ]
        own = {key: value for key, value in model.items() if key != "balance" or len(entries) > 1}
        if own.get("balance") == "weighted":
            del own["balance"]  # as without it
        on = {key.removeprefix("on."): own.pop(key) for key in list(own) if key.startswith("on.")}
        lines = table_text(("models", name), own)
        lines += "".join(f"\non.{kind} = {value_text(value)}" for kind, value in on.items())
        return [lines, *(table_text(("models", name, "deployments"), one, in_list=True) for one in entries)]


def _key_values(instance: _Instance) -> Json:
    """The keys of an instance, unless they are what the provider's own variable gives anyway."""
    own_variable = f"env:{instance.name.upper().replace('-', '_')}_API_KEY"
    # A server of one's own, such as vLLM, may want no key at all.
    if not instance.keys:
        return {"auth": "none"} if instance.values and instance.values["type"] == "openai" else {}
    if len(instance.keys) == 1:
        return {} if instance.keys == [own_variable] and not instance.values else {"keys": instance.keys}
    return {"keys": [{"key": key, "name": instance.key_name(key)} for key in instance.keys]}


def _read_limits(params: Json) -> Json:
    values = {
        "weight": params.pop("weight", None),
        "tier": params.pop("order", None),
        "rpm": params.pop("rpm", None),
        "tpm": params.pop("tpm", None),
        "concurrency": params.pop("max_parallel_requests", None),
    }
    return {name: value for name, value in values.items() if value is not None}


def _read_times(params: Json) -> Json:
    times = {"total": params.pop("timeout", None), "first_event": params.pop("stream_timeout", None)}
    known = {name: f"{seconds:g}s" for name, seconds in times.items() if isinstance(seconds, int | float)}
    return {"timeouts": known} if known else {}


def _price_per_million(table: Json) -> Json:
    """Prices of a token become prices of a million."""
    names = {
        "input": "input_cost_per_token",
        "output": "output_cost_per_token",
        "cached": "cache_read_input_token_cost",
    }
    found = {name: table.pop(theirs) for name, theirs in names.items() if isinstance(table.get(theirs), int | float)}
    return {"price": {name: round(value * _MILLION, 6) for name, value in found.items()}} if found else {}


def _family(model: str) -> str:
    """The provider that LiteLLM takes for a model without prefix."""
    # The same guess as in LiteLLM, so that the same file means the same.
    return "anthropic" if model.startswith("claude") else "gemini" if model.startswith("gemini") else "openai"


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _copy(entry) for name, entry in value.items()}
    return [_copy(entry) for entry in value] if isinstance(value, list) else value
