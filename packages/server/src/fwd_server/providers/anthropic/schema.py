"""JSON Schema, cut to the subset that Claude's structured outputs know.

What the subset cannot say moves into the description, where the model reads it; the caller's own validation still
holds. https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from attrs import define, field, frozen

from fwd_server.providers.anthropic import patterns
from fwd_server.providers.anthropic.references import child_schemas, resolve_reference, unusable_reference
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused
from fwd_server.wire import jsontext

_KEPT: Final = ("type", "required", "title", "default", "description")
_SILENT: Final = frozenset({"$schema", "$id", "$comment"})
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_DEFINITIONS: Final = ("$defs", "definitions")
_ARMS: Final = ("anyOf", "allOf")
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


@frozen
class Rewritten:
    """A schema in the subset, and the paths of objects that were open and had to be closed."""

    schema: Json
    closed: tuple[str, ...] = ()


def rewrite_schema(schema: Json, param: str, *, exact: bool = False) -> Rewritten:
    """``schema`` in the subset, in which every object is closed.

    Raises Refused that names ``param`` for what the subset cannot say even in words: a schema that refers to itself or
    out of itself. With ``exact`` (the caller's ``strict``) an object that is open is refused by its path.
    """
    reference = unusable_reference(schema)
    if reference is not None:
        raise Refused(
            f"anthropic cannot enforce '{param}': '{reference[:64]}' refers to itself, or outside the schema.",
            param=param,
        )
    writer = _SubsetWriter(schema)
    written = writer.write(schema, param)
    # `strict` is a promise about the answer; without it closing the object is the lesser evil, and is reported.
    if exact and writer.closed:
        raise Refused(
            f"anthropic cannot keep to '{writer.closed[0]}' exactly: a strict schema must not have an object that is "
            "open (with free keys). Close it, or leave 'strict' out to have it closed.",
            param=writer.closed[0],
        )
    return Rewritten(written, tuple(writer.closed))


def fits_subset(schema: Json) -> bool:
    """Whether ``schema`` lies within the subset as it is."""
    return unusable_reference(schema) is None and rewrite_schema(schema, "").schema == schema


@frozen
class Load:
    """The share of a schema in the budget that all strict schemas of a request have."""

    optional: int = 0
    unions: int = 0

    def __add__(self, other: Load) -> Load:
        return Load(self.optional + other.optional, self.unions + other.unions)


def load_of(schema: object) -> Load:
    """The load of a schema and everything in it."""
    if not isinstance(schema, dict):
        return Load()
    optional = len(_object_at(schema, "properties").keys() - set(schema.get("required") or ()))
    union = "anyOf" in schema or isinstance(schema.get("type"), list)
    return sum((load_of(child) for child in _counted_children(schema)), Load(optional, int(union)))


def _counted_children(schema: Json) -> Iterator[Any]:
    yield from _object_at(schema, "properties").values()
    for name in _DEFINITIONS:
        yield from _object_at(schema, name).values()
    for name in _ARMS:
        yield from _list_at(schema, name)
    yield schema.get("items")


_ANNOTATIONS: Final = frozenset({"title", "description", "default", *_SILENT})
_REPLACED: Final = frozenset({"definitions", "additionalProperties"})
# Joining writes a definition once for every use of it: definitions that use others twice would grow without end, and a
# chain of them would become a schema too deep to be written.
_MOST_JOINS: Final = 200
_DEEPEST_JOIN: Final = 16


@define
class _SubsetWriter:
    """Writes the schemas of one root into the subset."""

    root: Json
    closed: list[str] = field(factory=list)
    _joins: int = 0
    _join_depth: int = 0

    def write(self, schema: Any, path: str) -> Any:
        """One schema and everything in it."""
        if not isinstance(schema, dict):
            return schema
        # The API knows `anyOf` only. That it must be exactly one cannot be said there.
        schema = _without_one_of(schema)
        joined, notes = self._without_all_of(schema)
        self._join_depth += joined is not schema
        written = self._write_joined(joined, notes, path)
        self._join_depth -= joined is not schema
        return written

    def _write_joined(self, schema: Json, notes: list[str], path: str) -> Json:
        found: Json = {name: schema[name] for name in _KEPT if name in schema}
        found.update(self._inner(schema, path))
        # Compared as a whole, because half an `allOf` would allow more than the caller wrote.
        if found.get("allOf", schema.get("allOf")) != schema.get("allOf"):
            del found["allOf"]  # an arm would lose something: the note below quotes all of them
        for name, value in schema.items():
            if name in found or name in _SILENT or name in _REPLACED:
                continue
            if _is_kept(name, value):
                found[name] = value
            else:
                notes += _write_note(name, value)
        return self._closed(_with_notes(found, notes), schema, path)

    def _inner(self, schema: Json, path: str) -> Json:
        """The keywords that hold schemas, each rewritten."""
        found: Json = {}
        if isinstance(schema.get("$ref"), str):
            # Draft 7 calls them "definitions"; the API knows the newer name only.
            found["$ref"] = schema["$ref"].replace("#/definitions/", "#/$defs/")
        definitions = {key: value for name in _DEFINITIONS for key, value in _object_at(schema, name).items()}
        for name, values in (("properties", _object_at(schema, "properties")), ("$defs", definitions)):
            if values or name in schema:
                found[name] = {key: self.write(value, f"{path}.{name}.{key}") for key, value in values.items()}
        if "items" in schema and not isinstance(schema["items"], list):
            found["items"] = self.write(schema["items"], f"{path}.items")
        for name in _ARMS:
            if name in schema:
                found[name] = [self.write(arm, f"{path}.{name}[{i}]") for i, arm in enumerate(_list_at(schema, name))]
        return found

    def _without_all_of(self, schema: Json) -> tuple[Json, list[str]]:
        """A schema whose ``allOf`` is joined into it, and the note to write instead where it cannot be.

        The API takes no reference within ``allOf``, and an arm that is an object would be closed, so that two of them
        could never both hold. What is neither may stay.
        """
        arms = [arm for arm in _list_at(schema, "allOf") if isinstance(arm, dict)]
        if not arms:
            return schema, []
        rest = {name: value for name, value in schema.items() if name != "allOf"}
        # Pydantic writes a described reference this way, so this is by far the most common form.
        alone = arms[0] if len(arms) == 1 else {}
        if "$ref" in alone and rest.keys() | alone.keys() <= _ANNOTATIONS | {"$ref", *_DEFINITIONS}:
            return {**alone, **rest}, []
        joined = self._joined([rest, *arms]) if self._join_depth < _DEEPEST_JOIN else None
        if joined is not None:
            return joined, []
        if any(_is_object(arm) or _has_reference(arm) for arm in arms):
            return rest, _write_note("allOf", arms)
        return schema, []

    def _joined(self, schemas: list[Json]) -> Json | None:
        """One schema that says what all of them say; None where two say different things under one keyword."""
        merged: Json = {}
        pending = list(reversed(schemas))
        while pending:
            schema = pending.pop()
            target = resolve_reference(self.root, schema["$ref"]) if "$ref" in schema else None
            if target is not None or "allOf" in schema:
                self._joins += 1
                if self._joins > _MOST_JOINS:
                    return None
                inner = [arm for arm in _list_at(schema, "allOf") if isinstance(arm, dict)]
                pending += [*reversed(inner), *([target] if target is not None else [])]
                schema = {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}
            if not _merge_keywords(merged, schema):
                return None
        return merged

    def _closed(self, found: Json, schema: Json, path: str) -> Json:
        """Close an object, and remember its path if it was meant to have free keys."""
        if not _is_object(schema):
            return found
        # An object that lists its keys was not meant to have others, although JSON Schema would allow them.
        known = any(schema.get(name) for name in ("properties", "$ref", "anyOf", "oneOf", "allOf"))
        extra = schema.get("additionalProperties")
        if extra not in (None, False) or schema.get("patternProperties") or (extra is None and not known):
            self.closed.append(path)
        found["additionalProperties"] = False
        return found


def _without_one_of(schema: Json) -> Json:
    """``oneOf`` as ``anyOf``; a node that has both keeps both, the second within ``allOf``."""
    arms = _list_at(schema, "oneOf")
    rest = {name: value for name, value in schema.items() if name != "oneOf"}
    if not arms:
        return rest if "oneOf" in schema else schema
    if "anyOf" in rest:
        return {**rest, "allOf": [*_list_at(rest, "allOf"), {"anyOf": arms}]}
    return {**rest, "anyOf": arms}


def _merge_keywords(merged: Json, schema: Json) -> bool:
    """Add what ``schema`` says to ``merged``; False where the two contradict each other."""
    for name, value in schema.items():
        old = merged.get(name)
        if name not in merged or name in ("$schema", "$id", "$comment"):
            merged[name] = value
        elif name == "required" and isinstance(old, list) and isinstance(value, list):
            merged[name] = [*old, *(item for item in value if item not in old)]
        elif name in ("properties", *_DEFINITIONS) and isinstance(old, dict) and isinstance(value, dict):
            both = {
                key: {"allOf": [old[key], value[key]]} for key in old.keys() & value.keys() if old[key] != value[key]
            }
            merged[name] = {**old, **value, **both}
        elif name == "additionalProperties":
            merged[name] = False if False in (old, value) else old
        elif old != value and name not in _ANNOTATIONS:
            return False
    return True


def _is_object(schema: Json) -> bool:
    kind = schema.get("type")
    named = kind == "object" or (isinstance(kind, list) and "object" in kind)
    return named or (kind is None and ("properties" in schema or "additionalProperties" in schema))


def _has_reference(schema: Json) -> bool:
    return "$ref" in schema or any(_has_reference(child) for child in child_schemas(schema))


def _is_kept(name: str, value: object) -> bool:
    if name == "format":
        return isinstance(value, str) and value in _FORMATS
    if name == "pattern":
        return isinstance(value, str) and patterns.is_supported(value)
    if name == "enum":
        return isinstance(value, list) and all(map(_is_plain, value))
    if name == "const":
        return _is_plain(value)
    return name == "minItems" and value in (0, 1)


def _is_plain(value: object) -> bool:
    """Whether a value may stand in ``enum`` and ``const``: objects and lists may not."""
    return not isinstance(value, (dict, list))


def _write_note(name: str, value: object) -> list[str]:
    if name == "uniqueItems":
        return ["all array items must be unique"] if value else []
    shown = value if isinstance(value, str) else jsontext.dumps(value).decode()
    return [f"{_WORDS.get(name, name)}: {shown}"]


def _with_notes(found: Json, notes: list[str]) -> Json:
    if notes:
        before = f"{found['description']} " if found.get("description") else ""
        found["description"] = f"{before}Note: {', '.join(notes)}."
    return found


def _object_at(schema: Json, name: str) -> Json:
    found = schema.get(name)
    return found if isinstance(found, dict) else {}


def _list_at(schema: Json, name: str) -> list[Any]:
    found = schema.get(name)
    return found if isinstance(found, list) else []
