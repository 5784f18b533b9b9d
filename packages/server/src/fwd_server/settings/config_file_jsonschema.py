"""The JSON Schema of ``fwd.toml``, made from its classes: editors complete names and mark mistakes with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import attrs

from fwd_server.settings.config_file_schema import SHORT_FORMS, Config, ErrorKindName, HeaderName
from fwd_server.settings.config_file_values import KIND_NAMES, VALUE_KINDS
from fwd_server.settings.schema import own_variables

_NAME_SCHEMAS: Final[Mapping[Any, dict[str, Any]]] = {
    ErrorKindName: {"enum": list(KIND_NAMES)},
    HeaderName: {"type": "string"},
}


def config_schema() -> dict[str, Any]:
    """The schema of the whole file."""
    schema = _class_schema(Config)
    settings = {variable.field: {"description": variable.help} for variable in own_variables()}
    settings.pop("config")  # it says where the file is, so it cannot stand in it
    schema["properties"]["settings"] |= {"properties": settings, "additionalProperties": False}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "fwd.toml", **schema}


def _class_schema(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    properties = {}
    for field in attrs.fields(cls):
        properties[field.name] = {"description": field.metadata["help"], **_type_schema(hints[field.name])}
    table = {
        "type": "object",
        "properties": properties,
        "required": [field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING],
        "additionalProperties": False,
    }
    return {"anyOf": [{"type": "string"}, table]} if cls in SHORT_FORMS else table


def _type_schema(type_: Any) -> dict[str, Any]:
    origin, arguments = get_origin(type_), get_args(type_)
    if type_ in VALUE_KINDS:
        return dict(VALUE_KINDS[type_].schema)
    if attrs.has(type_):
        return _class_schema(type_)
    if type(None) in arguments:
        return _type_schema(next(option for option in arguments if option is not type(None)))
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _type_schema(arguments[0])}
    return _mapping_schema(*arguments)


def _mapping_schema(name_type: Any, entry_type: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    if entry_type is not Any:
        schema["additionalProperties"] = _type_schema(entry_type)
    name_schema = _NAME_SCHEMAS.get(name_type) or (VALUE_KINDS[name_type].schema if name_type in VALUE_KINDS else None)
    return {**schema, "propertyNames": dict(name_schema)} if name_schema else schema
