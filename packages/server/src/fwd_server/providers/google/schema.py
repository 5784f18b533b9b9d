"""JSON Schema, cut to the subset that Gemini takes in ``parametersJsonSchema`` and ``responseJsonSchema``.

Gemini refuses the whole request at the first keyword it does not know. What the subset can say in another way is
said so; what it cannot say moves into the description, where the model reads it. A ``$ref`` is never inlined: there
is a nesting limit, and definitions may refer to themselves.
https://ai.google.dev/gemini-api/docs/structured-output#json-schema-support
"""

from __future__ import annotations

import math
from typing import Any, Final

import orjson

from fwd_server.chat import Json
from fwd_server.providers.native import obj

_KEPT: Final = frozenset({"type", "title", "required", "minItems", "maxItems", "minimum", "maximum"})
_MAPS: Final = frozenset({"properties", "$defs"})
_LISTS: Final = frozenset({"prefixItems", "anyOf", "oneOf"})
_FORMATS: Final = frozenset({"date-time", "date", "time", "int32", "int64", "float", "double"})
# What may stand beside ``anyOf``: words and definitions. Constraints move into its arms.
_BESIDE: Final = frozenset({"title", "description", "$defs", "definitions"})
_NOTED: Final = {
    "exclusiveMinimum": "exclusive minimum value",
    "exclusiveMaximum": "exclusive maximum value",
    "multipleOf": "multiple of",
    "minLength": "minimum length",
    "maxLength": "maximum length",
    "minProperties": "minimum number of properties",
    "maxProperties": "maximum number of properties",
    "pattern": "pattern",
    "contains": "an item that matches",
    "minContains": "minimum number of such items",
    "maxContains": "maximum number of such items",
    "propertyNames": "property names match",
    "dependentRequired": "dependent required properties",
    "dependentSchemas": "dependent schemas",
    "dependencies": "dependencies",
    "if": "if",
    "then": "then",
    "else": "else",
    "not": "must not match",
    "unevaluatedItems": "other items",
    "unevaluatedProperties": "other properties",
}


def rewrite(schema: Json) -> Json:
    """``schema`` in the subset."""
    return _node(schema, _definitions(schema))


def parameters(schema: object) -> Json | None:
    """A function's parameters in the subset; None for none, which must not be sent as an empty object."""
    cut = rewrite(obj(schema))
    says = cut.keys() - {"type", "title", "description", "required"}
    return cut if says and (says != {"additionalProperties"} or cut["additionalProperties"] is not False) else None


def _definitions(schema: Json) -> Json:
    return {**obj(schema.get("definitions")), **obj(schema.get("$defs"))}


def _node(schema: object, definitions: Json) -> Json:
    if not isinstance(schema, dict):
        return {}
    plain = _inclusive(_spread(_merged(schema, definitions, frozenset())))
    if isinstance(plain.get("$ref"), str):
        return _reference(plain, definitions)
    found: Json = {}
    notes: list[str] = []
    for name, value in plain.items():
        found |= _kept(name, value, definitions)
        notes += _notes(name, value)
    return _described(found, plain.get("description"), notes)


def _reference(schema: Json, definitions: Json) -> Json:
    """A node with ``$ref`` keeps nothing beside it but its description, and at the root the definitions."""
    target = schema["$ref"].replace("#/definitions/", "#/$defs/")
    inner = _kept("$defs", _definitions(schema), definitions)
    return _described({"$ref": target, **inner}, schema.get("description"), [])


def _kept(name: str, value: Any, definitions: Json) -> Json:
    """One keyword as the subset has it; nothing for one that it has not."""
    if name in _KEPT or (name == "format" and value in _FORMATS):
        return {name: value}
    if name == "const":
        return {"enum": [value]}
    if name == "enum":
        values = [one for one in value if one != ""] if isinstance(value, list) else []
        return {"enum": values} if values else {}
    return _holding(name, value, definitions)


def _holding(name: str, value: Any, definitions: Json) -> Json:
    """One of the keywords that hold schemas, each of them rewritten."""
    name = {"definitions": "$defs"}.get(name, name)
    if name == "items" and isinstance(value, list):
        name = "prefixItems"  # how older drafts wrote it
    if name in _MAPS and isinstance(value, dict):
        inner = {key: _node(one, definitions) for key, one in value.items()}
        return {name: inner} if inner else {}
    if name in _LISTS and isinstance(value, list):
        return {name: [_node(one, definitions) for one in value]}
    if name == "additionalProperties" and isinstance(value, bool):
        return {name: value}
    return {name: _node(value, definitions)} if name in ("items", "additionalProperties") else {}


# -- what the subset says in another way


def _inclusive(schema: Json) -> Json:
    """Exclusive bounds of whole numbers as inclusive ones."""
    kinds = schema.get("type")
    if kinds != "integer" and not (isinstance(kinds, list) and "integer" in kinds and "number" not in kinds):
        return schema
    changed = dict(schema)
    for name, shift, tighter in (("minimum", _above, max), ("maximum", _below, min)):
        bound = changed.pop(f"exclusive{name.title()}", None)
        if bound is True:  # draft 4: it makes the other bound exclusive
            bound = changed.get(name)
        if isinstance(bound, (int, float)) and not isinstance(bound, bool):
            changed[name] = tighter(shift(bound), changed.get(name, shift(bound)))
    return changed


def _above(bound: float) -> int:
    return math.floor(bound) + 1


def _below(bound: float) -> int:
    return math.ceil(bound) - 1


def _merged(schema: Json, definitions: Json, seen: frozenset[str]) -> Json:
    """``allOf`` joined into its node. Of several arms a ``$ref`` is looked up, once and no deeper."""
    arms = schema.get("allOf")
    if not isinstance(arms, list):
        return schema
    merged = {name: value for name, value in schema.items() if name != "allOf"}
    if len(arms) == 1 and not merged.keys() - _BESIDE:
        return {**obj(arms[0]), **merged}
    for arm in map(obj, arms):
        target = arm.get("$ref")
        if isinstance(target, str):
            arm = {} if target in seen else obj(definitions.get(target.rpartition("/")[2]))
            seen |= {target}
        merged = _joined(merged, _merged(arm, definitions, seen))
    return merged


def _joined(first: Json, second: Json) -> Json:
    """Two nodes that hold together. Where they differ in a plain keyword, the first one counts."""
    joined = {**second, **first}
    both = first.keys() & second.keys()
    if "required" in both:
        joined["required"] = list(dict.fromkeys([*first["required"], *second["required"]]))
    for name in _MAPS & both:
        joined[name] = {**second[name], **first[name]}
        for key in first[name].keys() & second[name].keys():
            joined[name][key] = {"allOf": [first[name][key], second[name][key]]}
    return joined


def _spread(schema: Json) -> Json:
    """Constraints beside ``anyOf`` (or ``oneOf``), in each of its arms; an arm that is a ``$ref`` takes none."""
    name = "anyOf" if isinstance(schema.get("anyOf"), list) else "oneOf"
    arms = schema.get(name)
    beside = {key: value for key, value in schema.items() if key not in _BESIDE and key != name}
    if not isinstance(arms, list) or not beside:
        return schema
    kept = {key: value for key, value in schema.items() if key not in beside}
    return {**kept, name: [obj(arm) if "$ref" in obj(arm) else _joined(obj(arm), beside) for arm in arms]}


# -- what only words can say


def _notes(name: str, value: Any) -> list[str]:
    if name == "patternProperties":
        return [f"properties matching {pattern}: {_shown(one)}" for pattern, one in obj(value).items()]
    if name == "uniqueItems":
        return ["all array items must be unique"] if value else []
    if name == "format":
        return [] if value in _FORMATS else [f"format: {_shown(value)}"]
    return [f"{_NOTED[name]}: {_shown(value)}"] if name in _NOTED else []


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _described(found: Json, description: Any, notes: list[str]) -> Json:
    words = [description] if isinstance(description, str) and description else []
    if notes:
        words.append(f"Note: {', '.join(notes)}.")
    return {**found, "description": " ".join(words)} if words else found
