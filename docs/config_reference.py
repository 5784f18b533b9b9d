"""The reference of ``fwd.toml``, from the classes that read it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from fwd_server.settings import config_file_schema as schema
from fwd_server.settings.config_file_values import KIND_NAMES, VALUE_KINDS

TABLES = (
    ("[routing]", schema.RoutingConfig),
    ("[providers.NAME]", schema.ProviderConfig),
    ("keys of a provider", schema.KeyConfig),
    ("[models.NAME]", schema.ModelConfig),
    ("[[models.NAME.deployments]]", schema.DeploymentConfig),
    ("timeouts", schema.TimeoutsConfig),
    ("price", schema.PriceConfig),
    ("deprecated", schema.DeprecatedConfig),
)


def reference_tables() -> str:
    """A table for each class, with what is allowed and the default of each of its names."""
    return "\n\n".join(_table(title, cls) for title, cls in TABLES)


def _table(title: str, cls: type) -> str:
    hints = get_type_hints(cls)
    rows = [f"| `{field.name}` | {field.metadata['help']} | {_allowed(hints[field.name])} | {_default(field)} |"
            for field in attrs.fields(cls)]  # fmt: skip
    return "\n".join([f"### `{title}`", "", "| name | meaning | allowed | default |", "|---|---|---|---|", *rows])


def _allowed(type_: Any) -> str:
    return " or ".join(dict.fromkeys(_words(type_))).replace("|", "\\|")


def _words(type_: Any) -> Iterator[str]:
    if type_ in VALUE_KINDS:
        yield VALUE_KINDS[type_].allowed.removeprefix("write ").removesuffix(" is allowed").replace(" is allowed,", ",")
        return
    arguments = get_args(type_)
    origin = get_origin(type_)
    if origin is tuple:
        yield f"a list, each: {_allowed(arguments[0])}"
    elif origin is types.UnionType or str(origin) == "typing.Union":
        for one in arguments:
            if one is not type(None):
                yield from _words(one)
    elif arguments and all(isinstance(one, str) for one in arguments):
        yield ", ".join(f"`{one}`" for one in arguments)
    elif arguments:
        names = ", ".join(f"`{name}`" for name in KIND_NAMES)
        kinds = f" of {names}" if arguments[0] is schema.ErrorKindName else ""
        yield f"a table{kinds}, each: {_allowed(arguments[1])}"
    elif attrs.has(type_):
        yield "a table, see below" + (" (or a text)" if type_ in schema.SHORT_FORMS else "")
    else:
        yield "a text"


def _default(field: Any) -> str:
    value = field.default
    if value is attrs.NOTHING:
        return "needed"
    if value is None or isinstance(value, attrs.Factory) or value == ():  # type: ignore[arg-type]
        return ""
    return f"`{str(value).lower()}`"
