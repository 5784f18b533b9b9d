"""From settings and ``fwd.toml`` to the routing table, with everything that does not fit together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from attrs import define, evolve, field, frozen

from fwd_server.routing.names import find_family, split_provider
from fwd_server.routing.planner import FactsOf, Routes, know_nothing
from fwd_server.routing.table import (
    PRIORITY,
    Changes,
    Deprecation,
    Instance,
    Lane,
    Limits,
    ModelFacts,
    PublicModel,
)
from fwd_server.settings.config_file import ConfigError, ConfigText, ProblemList, parse_config
from fwd_server.settings.config_file_instances import (
    InstanceBuilder,
    build_changes,
    merge_timeouts,
)
from fwd_server.settings.config_file_lines import Path
from fwd_server.settings.config_file_reading import suggest
from fwd_server.settings.config_file_schema import DeploymentConfig, ModelConfig
from fwd_server.settings.config_file_values import Target
from fwd_server.settings.endpoints import build_endpoints
from fwd_server.settings.schema import Settings
from fwd_server.values.deployment import Endpoint
from fwd_server.values.provider_info import provider_info

KnownModels = Callable[[Iterable[Endpoint]], tuple[str, ...]]


@frozen
class BuiltRoutes:
    """A table, and what is worth a warning."""

    routes: Routes
    warnings: tuple[str, ...] = ()


def build_routes(
    settings: Settings, languages: Collection[str], known_models: KnownModels, facts_of: FactsOf
) -> BuiltRoutes:
    """The table that the settings and their file make.

    ``languages`` are those there are codecs for, ``known_models`` gives names for suggestions, ``facts_of`` what
    is known of a model. Raises ConfigError with every problem there is.
    """
    by_variables = build_endpoints(settings, languages)
    file = settings.config_file or parse_config(ConfigText(""), {})
    if settings.config_file is None:
        facts_of = know_nothing  # plans depend on what is known of models only where there is a file
    problems = ProblemList(file)
    built = InstanceBuilder(settings, by_variables, problems).build()
    public = ModelBuilder(settings, built, facts_of, problems).build()
    # Only here, after everything was looked at: whoever writes the file learns of all problems at once.
    if problems.problems:
        raise ConfigError(problems.problems)
    shown = {name: instance.endpoint for name, instance in built.items()}
    routes = Routes(
        shown,
        settings.priority,
        known_models(shown.values()),
        instances=built,
        models=public,
        only_listed=file.config.routing.only_listed,
        facts_of=facts_of,
        version=file.source.version if settings.config_file else "",
    )
    return BuiltRoutes(routes, tuple(map(str, problems.warnings)))


@define
class ModelBuilder:
    """Makes the public models, and notes what is wrong with them."""

    settings: Settings
    instances: Mapping[str, Instance]
    facts_of: FactsOf
    problems: ProblemList
    _names: dict[str, PublicModel] = field(factory=dict)
    _deployments: set[str] = field(factory=set)

    def build(self) -> dict[str, PublicModel]:
        """Every public model by each of its names."""
        configs = {str(name): config for name, config in self.problems.file.config.models.items()}
        for name, config in configs.items():
            self._add(name, self._build_model(name, config), ("models", name))
            # An alias never hides a model of the file, wherever in it that model stands.
            for index, alias in enumerate(config.aliases):
                self._add(alias, self._names[name], ("models", name, "aliases", index), of_file=configs)
        self._add_variable_aliases(configs)
        # Fallbacks may name models that come later in the file, so they are checked when all are known.
        for name, config in configs.items():
            self._check_fallbacks(name, config)
        return self._names

    def _add(
        self,
        name: str,
        model: PublicModel,
        path: Path,
        of_file: Mapping[str, ModelConfig] | None = None,
    ) -> None:
        if name in self._names or (of_file is not None and name in of_file):
            self.problems.note(path, f"there is a model {name!r} already")
        else:
            self._names[name] = model

    def _add_variable_aliases(self, configs: Mapping[str, ModelConfig]) -> None:
        """``FWD_ALIASES``: the short form of ``[models]``, for those who have no file."""
        for alias, target in self.settings.aliases:
            if alias in self._names:
                self.problems.note((), f"FWD_ALIASES: {alias!r} is also a model in the file")
            elif target in self._names:
                self._names[alias] = self._names[target]
            else:
                lane = self._build_lane(alias, DeploymentConfig(to=Target(target)), {}, ())
                self._names[alias] = PublicModel(alias, (lane,) if lane else ())

    def _build_model(self, name: str, config: ModelConfig) -> PublicModel:
        path = ("models", name)
        changes = build_changes(config, self.problems, path)
        lanes = [
            self._build_lane(name, one, changes, (*path, "deployments", index))
            for index, one in enumerate(config.deployments)
        ]
        if config.deployments and not any(one.weight for one in config.deployments):
            self.problems.note(("models", name, "deployments"), "all weights are 0; at least one must be more")
        if not config.deployments:
            self.problems.note(("models", name, "deployments"), "the list is empty; at least one is needed")
        deprecated = config.deprecated
        # Latencies cost something for each call, so they are kept only where a model is balanced by them.
        timed = config.balance == "latency"
        return PublicModel(
            name,
            tuple(evolve(lane, timed=True) if timed else lane for lane in lanes if lane is not None),
            description=config.description or "",
            hidden=config.hidden,
            reveal=config.reveal,
            balance=config.balance,
            sticky=config.sticky,
            fallback=config.fallback,
            on={str(kind): entries for kind, entries in config.on.items()},
            attempts=config.attempts,
            max_price_ratio=config.max_price_ratio,
            deprecated=Deprecation(deprecated.replacement or "", deprecated.sunset or "") if deprecated else None,
        )

    def _build_lane(
        self,
        name: str,
        config: DeploymentConfig,
        changes: Changes,
        path: Path,
    ) -> Lane | None:
        """A deployment; None where it is off, or cannot be used. ``path`` () is FWD_ALIASES."""
        found = self._find_target(config.to, (*path, "to") if path else ())
        if config.name and config.name in self._deployments:
            self.problems.note((*path, "name"), f"there is a deployment {config.name!r} already")
        self._deployments.add(config.name or config.to)
        # The problem is noted; going on with the other deployments finds theirs too.
        if found is None:
            return None
        if config.to.endswith("*") and not name.endswith("*"):
            self.problems.note(
                (*path, "to"), f"* stands for what the * in the model's name matched, but {name!r} has no *"
            )
        instance, upstream = found
        for key in config.keys:
            known = [one.name for one in instance.keys]
            if key not in known:
                self.problems.note((*path, "keys"), f"{instance.name} has no key {key!r}{suggest(key, known)}")
        # After the checks: what is switched off for a while must still be right when it is switched on.
        if not config.enabled:
            return None
        if not (instance.endpoint.enabled or instance.endpoint.always_tried):
            self.problems.warn(path, f"{config.to} is off, set {instance.endpoint.enabled_by}")
            return None
        own = build_changes(config, self.problems, path)
        return self._make_lane(instance, upstream, config, {**instance.changes, **changes, **own})

    def _make_lane(self, instance: Instance, upstream: str, config: DeploymentConfig, changes: Changes) -> Lane:
        # Most deployments share the endpoints of their keys, and with them what is prepared once for each.
        own = config.timeouts is not None or bool(config.headers)
        endpoints = tuple(
            evolve(
                key.endpoint,
                timeouts=merge_timeouts(key.endpoint.timeouts, config.timeouts),
                headers=(*key.endpoint.headers, *config.headers.items()),
            )
            for key in instance.keys
        )
        return Lane(
            config.name or f"{instance.name}:{upstream}",
            instance,
            upstream,
            config.weight,
            config.tier,
            instance.labels | frozenset(config.labels),
            Limits(config.rpm, config.tpm, config.concurrency),
            self._facts(instance, upstream, config),
            changes,
            frozenset(config.keys),
            endpoints if own else None,
        )

    def _facts(self, instance: Instance, upstream: str, config: DeploymentConfig) -> ModelFacts:
        facts = self.facts_of(instance.endpoint.info.name, upstream)
        price = config.price
        if price is not None and price.input is not None and price.output is not None:
            # One number to compare by: prompts are usually about three times as long as answers.
            facts = evolve(facts, price=(3 * price.input + price.output) / 4)
        return facts if config.max_context is None else evolve(facts, context=config.max_context)

    def _find_target(self, to: str, path: Path) -> tuple[Instance, str] | None:
        """The instance that a ``to`` names, and the model there."""
        found = split_provider(to, self.instances)
        if found is None and (family := find_family(to, self.instances)):
            found = (family, to)
        if found is None:
            names = ", ".join(self.instances)
            self.problems.note(
                path, f"{'' if path else 'FWD_ALIASES: '}{to!r} does not name a provider; the providers are {names}"
            )
            return None
        provider, model = found
        # A provider of the table that nothing sets up: the deployment is off, which is a warning and not a mistake.
        if provider not in self.instances:
            self.problems.warn(path, f"{to} is off, set {provider_info(provider).enabled_by}")
            return None
        return self.instances[provider], model

    # -- fallbacks

    def _check_fallbacks(self, name: str, config: ModelConfig) -> None:
        lists: list[tuple[Path, Sequence[str]]] = [(("models", name, "fallback"), config.fallback)]
        lists += [(("models", name, "on", kind), entries) for kind, entries in config.on.items()]
        for path, entries in lists:
            for index, entry in enumerate(entries):
                self._check_fallback(entry, (*path, index))

    def _check_fallback(self, entry: str, path: Path) -> None:
        if entry == PRIORITY:
            if not self.settings.priority:
                self.problems.warn(path, "it has no target: PROVIDERS_PRIORITY is empty")
            return
        if entry in self._names or entry in self._deployments:
            return
        if split_provider(entry, self.instances) is None and find_family(entry, self.instances) is None:
            near = suggest(entry, [*self._names, *self._deployments])
            self.problems.note(path, f"{entry!r} is not a model, a deployment or a provider{near}")
