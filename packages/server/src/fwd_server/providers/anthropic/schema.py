"""JSON Schema, cut to the subset that Claude's structured outputs know.

What the subset cannot say moves into the description, where the model reads it; the caller's own validation still
holds. https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from attrs import frozen

from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused
from fwd_server.wire import jsontext

_KEPT: Final = ("type", "enum", "const", "required", "title", "default", "description")
_SILENT: Final = frozenset({"$schema", "$id", "$comment"})
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_DEFINITIONS: Final = ("$defs", "definitions")
_ARMS: Final = ("anyOf", "allOf")
_LOOK_AROUND: Final = ("(?=", "(?!", "(?<=", "(?<!")
_WORDS: Final = {
    "minimum": "minimum value",
    "maximum": "maximum value",
    "exclusiveMinimum": "exclusive minimum value",
    "exclusiveMaximum": "exclusive maximum value",
    "multipleOf": "multiple of",
    "minLength": "minimum length",
    "maxLength": "maximum length",
    "minItems": "minimum number of items",
    "maxItems": "maximum number of items",
    "minProperties": "minimum number of properties",
    "maxProperties": "maximum number of properties",
}


def rewrite(schema: Json, param: str, *, exact: bool = False) -> Json:
    """``schema`` in the subset. Every object is closed; ``exact`` refuses to close one that is declared open.

    Raises Refused that names ``param``.
    """
    cut: Json = _node(schema, lambda: _refuse(param) if exact else None)
    return cut


def fits(schema: Json) -> bool:
    """Whether ``schema`` lies within the subset as it is."""
    return rewrite(schema, "") == schema


@frozen
class Load:
    """What a schema costs of the budget that all strict schemas of a request share."""

    optional: int = 0
    unions: int = 0

    def __add__(self, other: Load) -> Load:
        return Load(self.optional + other.optional, self.unions + other.unions)


def load(schema: object) -> Load:
    """The load of a schema and everything in it."""
    if not isinstance(schema, dict):
        return Load()
    optional = len(_object(schema, "properties").keys() - set(schema.get("required") or ()))
    union = "anyOf" in schema or isinstance(schema.get("type"), list)
    return sum((load(child) for child in _children(schema)), Load(optional, int(union)))


def _children(schema: Json) -> Iterator[Any]:
    yield from _object(schema, "properties").values()
    for name in _DEFINITIONS:
        yield from _object(schema, name).values()
    for name in _ARMS:
        yield from _list(schema, name)
    yield schema.get("items")


def _node(schema: Any, on_open: Callable[[], None]) -> Any:
    if not isinstance(schema, dict):
        return schema
    found = {name: schema[name] for name in _KEPT if name in schema}
    found.update(_inner(schema, on_open))
    notes: list[str] = []
    for name, value in schema.items():
        if name in found or name in _SILENT or name in _REPLACED:
            continue
        if _is_kept(name, value):
            found[name] = value
        else:
            notes += _note(name, value)
    return _close(_described(found, notes), schema, on_open)


_REPLACED: Final = frozenset({"oneOf", "definitions", "additionalProperties"})


def _inner(schema: Json, on_open: Callable[[], None]) -> Json:
    """The keywords that hold schemas, each rewritten."""
    found: Json = {}
    if isinstance(schema.get("$ref"), str):
        found["$ref"] = schema["$ref"].replace("#/definitions/", "#/$defs/")
    definitions = {key: value for name in _DEFINITIONS for key, value in _object(schema, name).items()}
    for name, values in (("properties", _object(schema, "properties")), ("$defs", definitions)):
        if values or name in schema:
            found[name] = {key: _node(value, on_open) for key, value in values.items()}
    if "items" in schema and not isinstance(schema["items"], list):
        found["items"] = _node(schema["items"], on_open)
    found.update(_arms(schema, on_open))
    return found


def _arms(schema: Json, on_open: Callable[[], None]) -> Json:
    """``anyOf``, ``allOf``, and ``oneOf`` as ``anyOf``; a node that has both keeps both, within ``allOf``."""
    arms: Json = {name: [_node(arm, on_open) for arm in _list(schema, name)] for name in _ARMS if name in schema}
    one_of = [_node(arm, on_open) for arm in _list(schema, "oneOf")]
    if one_of and "anyOf" in arms:
        arms["allOf"] = [*arms.get("allOf", ()), {"anyOf": one_of}]
    elif one_of:
        arms["anyOf"] = one_of
    return arms


def _is_kept(name: str, value: object) -> bool:
    if name == "format":
        return value in _FORMATS if isinstance(value, str) else False
    if name == "pattern":
        return isinstance(value, str) and not any(look in value for look in _LOOK_AROUND)
    return name == "minItems" and value in (0, 1)


def _note(name: str, value: object) -> list[str]:
    if name == "uniqueItems":
        return ["all array items must be unique"] if value else []
    shown = value if isinstance(value, str) else jsontext.dumps(value).decode()
    return [f"{_WORDS.get(name, name)}: {shown}"]


def _described(found: Json, notes: list[str]) -> Json:
    if notes:
        before = f"{found['description']} " if found.get("description") else ""
        found["description"] = f"{before}Note: {', '.join(notes)}."
    return found


def _close(found: Json, schema: Json, on_open: Callable[[], None]) -> Json:
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema:
        if schema.get("additionalProperties") not in (None, False):
            on_open()
        found["additionalProperties"] = False
    return found


def _refuse(param: str) -> None:
    raise Refused(
        f"anthropic cannot keep to '{param}' exactly: a strict schema must not have an object that is open "
        "('additionalProperties' true or a schema). Close it, or leave 'strict' out to have it closed.",
        param=param,
    )


def _object(schema: Json, name: str) -> Json:
    found = schema.get(name)
    return found if isinstance(found, dict) else {}


def _list(schema: Json, name: str) -> list[Any]:
    found = schema.get(name)
    return found if isinstance(found, list) else []
