"""JSON Schema, cut to the subset that Gemini takes in ``parametersJsonSchema`` and ``responseJsonSchema``.

Gemini rejects the whole request at the first keyword it does not know. What the subset can express in another way is
rewritten; what it cannot express moves into the description, where the model reads it. A ``$ref`` is inlined only
where ``allOf`` joins it with something else, because Gemini limits the nesting and definitions may refer to
themselves. Joining copies, so it has a budget that bounds what a schema can grow by (contract T38).
https://ai.google.dev/gemini-api/docs/structured-output#json-schema-support
"""

from __future__ import annotations

import math
from typing import Any, Final

from attrs import define

from fwd_server.providers.lenient import obj
from fwd_server.values.chat import Json
from fwd_server.wire import jsontext

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
    "allOf": "must also match",
    "unevaluatedItems": "other items",
    "unevaluatedProperties": "other properties",
    "default": "default",
    "examples": "examples",
    "example": "example",
    "deprecated": "deprecated",
    "readOnly": "read only",
    "writeOnly": "write only",
    "contentEncoding": "content encoding",
    "contentMediaType": "content media type",
    "contentSchema": "content schema",
    "discriminator": "discriminator",
}
# For these keywords false means something; for all others it means that there is nothing to describe.
_FALSE_MEANS_SOMETHING: Final = frozenset({"default", "unevaluatedItems", "unevaluatedProperties"})
# What is rewritten, described, or only names a schema for other schemas; anything else is reported (``unread``).
KEYWORDS: Final = frozenset(
    {*_KEPT, *_MAPS, *_LISTS, *_NOTED, "description", "definitions", "items", "additionalProperties", "enum", "const"}
    | {"format", "uniqueItems", "patternProperties", "nullable", "$ref"}
    | {"$schema", "$id", "id", "$comment", "$anchor", "$vocabulary", "strict"}
)
_MOST_COPIED: Final = 65_536  # bytes of JSON that joining may add to a schema
_MOST_LOOKED_UP: Final = 8  # definitions within each other


def rewrite_schema(schema: Json) -> Json:
    """Rewrite a JSON Schema in the subset; unknown keywords are left out."""
    definitions = {**obj(schema.get("definitions")), **obj(schema.get("$defs"))}
    return _Rewriter(definitions).rewrite_node(schema, frozenset())


def rewrite_parameters(schema: object) -> Json | None:
    """A function's parameters in the subset; None if there are none.

    Gemini refuses an object without properties ("should be non-empty for OBJECT type").
    """
    # A function is always given an object, so null cannot be allowed in its place.
    cut = rewrite_schema({name: value for name, value in obj(schema).items() if name != "nullable"})
    says = cut.keys() - {"type", "title", "description", "required"}
    return cut if says and (says != {"additionalProperties"} or cut["additionalProperties"] is not False) else None


@define
class _Rewriter:
    """Rewrites the nodes of one schema. ``inside`` holds the definitions that a node was looked up from."""

    definitions: Json
    room: int = _MOST_COPIED

    def rewrite_node(self, schema: object, inside: frozenset[str]) -> Json:
        """One node and everything in it."""
        if not isinstance(schema, dict):
            return {}
        merged, inside = self._merge_all_of(_with_null(schema), inside)
        plain = _inclusive_bounds(self._spread_over_arms(_with_null(merged)))
        if isinstance(plain.get("$ref"), str):
            return self._rewrite_reference(plain, inside)
        kept: Json = {}
        notes: list[str] = []
        for name, value in plain.items():
            kept |= self._keep_keyword(name, value, inside)
            notes += _keyword_notes(name, value)
        return _with_description(kept, plain.get("description"), notes)

    def _rewrite_reference(self, schema: Json, inside: frozenset[str]) -> Json:
        """A node with ``$ref`` keeps nothing beside it but its description, and at the root the definitions."""
        # Gemini refuses a node with both a reference and other keywords (pitfall 21): those become words.
        target = schema["$ref"].replace("#/definitions/", "#/$defs/")
        named = {name: value for name, value in schema.items() if name in ("$defs", "definitions")}
        inner = {
            key: one for name, value in named.items() for key, one in self._keep_schemas(name, value, inside).items()
        }
        beside = {name: value for name, value in schema.items() if name not in ("$ref", "title", "description", *named)}
        notes = [
            f"{_NOTED.get(name, name)}: {_show_value(value)}" for name, value in beside.items() if name in KEYWORDS
        ]
        return _with_description({"$ref": target, **inner}, schema.get("description"), notes)

    def _keep_keyword(self, name: str, value: Any, inside: frozenset[str]) -> Json:
        """One keyword as the subset has it; nothing for one that it has not."""
        if name in _KEPT or _is_format(name, value):
            return {name: value}
        if name == "const":
            return {"enum": [value]}
        if name == "enum":
            # Gemini refuses an empty text among the values; the notes say that it is allowed.
            values = [one for one in value if one != ""] if isinstance(value, list) else []
            return {"enum": values} if values else {}
        return self._keep_schemas(name, value, inside)

    def _keep_schemas(self, name: str, value: Any, inside: frozenset[str]) -> Json:
        """One of the keywords that hold schemas, each of them rewritten."""
        name = _RENAMED.get(name, name)
        if name == "items" and isinstance(value, list):
            name = "prefixItems"  # how older drafts wrote it
        if name in _MAPS and isinstance(value, dict):
            inner = {key: self.rewrite_node(one, inside) for key, one in value.items()}
            return {name: inner} if inner else {}
        if name in _LISTS and isinstance(value, list):
            return {name: [self.rewrite_node(one, inside) for one in value]}
        # A boolean schema is legal anywhere else, too, but Gemini takes one only here.
        if name == "additionalProperties" and isinstance(value, bool):
            return {name: value}
        return {name: self.rewrite_node(value, inside)} if name in ("items", "additionalProperties") else {}

    def _merge_all_of(self, schema: Json, inside: frozenset[str]) -> tuple[Json, frozenset[str]]:
        """``allOf`` joined into its node; a ``$ref`` among several arms is looked up, or else described in words."""
        if "allOf" not in schema:
            return schema, inside
        arms = schema["allOf"] if isinstance(schema["allOf"], list) else []
        merged = {name: value for name, value in schema.items() if name != "allOf"}
        if len(arms) == 1 and not merged.keys() - _BESIDE:
            return self._merge_all_of({**obj(arms[0]), **merged}, inside)
        unjoined: list[Json] = []
        for arm in map(obj, arms):
            joinable, inside = self._merge_arm(arm, inside)
            merged = _join_nodes(merged, joinable)
            unjoined += [] if joinable else [arm] * bool(arm)
        if unjoined:
            merged["allOf"] = [*merged.get("allOf", ()), *unjoined]
        return merged, inside

    def _merge_arm(self, arm: Json, inside: frozenset[str]) -> tuple[Json, frozenset[str]]:
        """What an arm of ``allOf`` says; nothing for a ``$ref`` that is not to be looked up."""
        target = arm.get("$ref")
        if not isinstance(target, str):
            return self._merge_all_of(arm, inside)
        definition = obj(self.definitions.get(target.rpartition("/")[2]))
        # A definition that leads back to itself would be joined for ever.
        if target in inside or len(inside) >= _MOST_LOOKED_UP or not self._may_copy(definition, 1):
            return {}, inside
        return self._merge_all_of(definition, inside | {target})

    def _spread_over_arms(self, schema: Json) -> Json:
        """Constraints beside ``anyOf`` (or ``oneOf``), in each of its arms; an arm that is a ``$ref`` takes none."""
        name = "anyOf" if isinstance(schema.get("anyOf"), list) else "oneOf"
        arms = schema.get(name)
        beside = {key: value for key, value in schema.items() if key not in _BESIDE and key != name}
        if not isinstance(arms, list) or not beside:
            return schema
        if not self._may_copy(beside, len(arms)):
            rest = {key: value for key, value in schema.items() if key != name}
            return {**rest, "allOf": [{name: arms}]}  # which at this point means words
        kept = {key: value for key, value in schema.items() if key not in beside}
        return {**kept, name: [obj(arm) if "$ref" in obj(arm) else _join_nodes(obj(arm), beside) for arm in arms]}

    def _may_copy(self, value: Json, times: int) -> bool:
        # Counted as written, because that is what is sent, and what nested copies multiply.
        size = len(jsontext.dumps(value)) * times
        if size > self.room:
            return False
        self.room -= size
        return True


_RENAMED: Final = {"definitions": "$defs"}


def _is_format(name: str, value: object) -> bool:
    return name == "format" and isinstance(value, str) and value in _FORMATS


# -- what the subset says in another way


def _with_null(schema: Json) -> Json:
    """OpenAPI's ``nullable: true`` as a type with null, or as an alternative where there is more than a type.

    https://spec.openapis.org/oas/v3.0.3#schema-object. Where the schema does not even name a type, null is allowed
    anyway.
    """
    if "nullable" not in schema:
        return schema
    plain = {name: value for name, value in schema.items() if name != "nullable"}
    if schema["nullable"] is not True:
        return plain
    # An enum or a reference would go on excluding null, whatever the type beside it says.
    if any(name in plain for name in ("allOf", "$ref", "enum", "const")):
        if ("const" in plain and plain["const"] is None) or None in _listed(plain.get("enum")):
            return plain
        beside = {name: plain.pop(name) for name in _BESIDE if name in plain}
        return {**beside, "anyOf": [plain, {"type": "null"}]}
    for name in ("anyOf", "oneOf"):
        if isinstance(plain.get(name), list):
            return {**plain, name: [*plain[name], *([] if any(map(_is_null, plain[name])) else [{"type": "null"}])]}
    kinds = plain.get("type")
    if isinstance(kinds, str):
        kinds = [kinds]
    if isinstance(kinds, list) and "null" not in kinds:
        plain["type"] = [*kinds, "null"]
    return plain


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_null(arm: Any) -> bool:
    return obj(arm).get("type") == "null"


def _inclusive_bounds(schema: Json) -> Json:
    """Exclusive bounds of whole numbers as inclusive ones."""
    kinds = schema.get("type")
    if kinds != "integer" and not (isinstance(kinds, list) and "integer" in kinds and "number" not in kinds):
        return schema
    changed = dict(schema)
    for name, shift, tighter in (("minimum", _next_above, max), ("maximum", _next_below, min)):
        exclusive = f"exclusive{name.title()}"
        other = _exact_number(changed.get(name))
        # Draft 4 says with True that the other bound is exclusive.
        bound = other if changed.get(exclusive) is True else _exact_number(changed.get(exclusive))
        if bound is not None:
            del changed[exclusive]
            changed[name] = shift(bound) if other is None else tighter(shift(bound), other)
    return changed


def _exact_number(value: object) -> float | None:
    """A number that doubles hold exactly; None for any other, whose bound is described in words."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) <= 2**53 else None


def _next_above(bound: float) -> int:
    return math.floor(bound) + 1


def _next_below(bound: float) -> int:
    return math.ceil(bound) - 1


def _join_nodes(first: Json, second: Json) -> Json:
    """Two nodes that hold together. Where they differ in a plain keyword, the first one counts."""
    joined = {**second, **first}
    one, other = first.get("required"), second.get("required")
    if isinstance(one, list) and isinstance(other, list):
        joined["required"] = [*one, *(name for name in other if name not in one)]
    for name in _MAPS & first.keys() & second.keys():
        here, there = obj(first[name]), obj(second[name])
        both = {key: {"allOf": [here[key], there[key]]} for key in here.keys() & there.keys()}
        joined[name] = {**there, **here, **both}
    return joined


# -- what only words can say


def _keyword_notes(name: str, value: Any) -> list[str]:
    if name == "patternProperties":
        return [f"properties matching {pattern}: {_show_value(one)}" for pattern, one in obj(value).items()]
    if name == "uniqueItems":
        return ["all array items must be unique"] if value else []
    if name == "format":
        return [] if _is_format(name, value) else [f"format: {_show_value(value)}"]
    if name == "enum":
        return ["may be an empty text"] if "" in _listed(value) else []
    if name not in _NOTED or value is None or (value is False and name not in _FALSE_MEANS_SOMETHING):
        return []
    return [f"{_NOTED[name]}: {_show_value(value)}"]


def _show_value(value: Any) -> str:
    return value if isinstance(value, str) else jsontext.dumps(value).decode()


def _with_description(node: Json, description: Any, notes: list[str]) -> Json:
    words = [description] if isinstance(description, str) and description else []
    if notes:
        words.append(f"Note: {', '.join(notes)}.")
    return {**node, "description": " ".join(words)} if words else node
