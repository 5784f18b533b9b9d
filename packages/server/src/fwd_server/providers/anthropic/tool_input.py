"""A function's parameters as Claude takes them: one object.

The API refuses the whole request for a tool with ``anyOf``, ``oneOf`` or ``allOf`` at the top of its schema.
https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use
"""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field

from fwd_server.providers.anthropic.references import resolve_reference
from fwd_server.values.chat import Json

EMPTY: Final[Json] = {"type": "object", "properties": {}}
_UNIONS: Final = ("anyOf", "oneOf")
_MERGED: Final = ("anyOf", "oneOf", "allOf", "$ref")


@define
class _Object:
    """A schema's view of an object: the schemas of each property, the required ones, whether it is closed.

    ``has_union`` says that the object may be one of several, so that properties and required are all that is sure.
    """

    properties: dict[str, list[Any]] = field(factory=dict)
    required: list[str] = field(factory=list)
    is_closed: bool = False
    has_union: bool = False

    def add_properties(self, other: _Object) -> None:
        for name, schemas in other.properties.items():
            own = self.properties.setdefault(name, [])
            own += [schema for schema in schemas if schema not in own]

    def require(self, names: list[str]) -> None:
        self.required += [name for name in names if name not in self.required]


def as_object(schema: Json) -> tuple[Json, bool]:
    """``schema`` as one object, and whether that says exactly the same.

    It has the properties of the schema itself and of all arms; required is what the schema, ``allOf`` or a reference
    requires, and of ``anyOf`` and ``oneOf`` what every arm does. So whatever fitted before still fits. Which arms
    there were is noted in the description. Unions further down stay.
    """
    if not any(name in schema for name in _MERGED):
        return {**schema, "type": "object"}, True
    reader = _ObjectReader(schema)
    found = reader.read(schema)
    rest = {name: value for name, value in schema.items() if name not in _MERGED}
    properties = {name: _any_of(schemas) for name, schemas in found.properties.items()}
    merged: Json = {**rest, "type": "object", "properties": properties}
    if found.required:
        merged["required"] = found.required
    if found.is_closed:
        merged["additionalProperties"] = False
    notes = [note for name in _UNIONS for note in reader.arm_notes(schema, name)]
    if notes:
        before = f"{schema['description']} " if schema.get("description") else ""
        merged["description"] = f"{before}Note: {' '.join(notes)}"
    return merged, not found.has_union and all(len(schemas) == 1 for schemas in found.properties.values())


def _any_of(schemas: list[Any]) -> Any:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


@define
class _ObjectReader:
    """Reads the schemas of one root, each once: arms and references may lead to the same one, or back."""

    root: Json
    _read: dict[int, _Object] = field(factory=dict)

    def read(self, schema: Json) -> _Object:
        """What ``schema`` says with all its arms and references."""
        if id(schema) in self._read:
            return self._read[id(schema)]
        properties, required = schema.get("properties"), schema.get("required")
        # Stored before its parts are read: a reference that leads back finds it, instead of running in circles.
        found = self._read[id(schema)] = _Object(
            {name: [inner] for name, inner in properties.items()} if isinstance(properties, dict) else {},
            [name for name in required if isinstance(name, str)] if isinstance(required, list) else [],
            schema.get("additionalProperties") is False,
        )
        for part in self._always(schema):
            inner = self.read(part)
            found.add_properties(inner)
            found.require(inner.required)
            found.is_closed = found.is_closed or inner.is_closed
            found.has_union = found.has_union or inner.has_union
        for name in _UNIONS:
            arms = [self.read(arm) for arm in _object_arms(schema, name)]
            for arm in arms:
                found.add_properties(arm)
            if arms:
                found.has_union = True
                found.require([name for name in arms[0].required if all(name in arm.required for arm in arms)])
                found.is_closed = found.is_closed or all(arm.is_closed for arm in arms)
        return found

    def _always(self, schema: Json) -> list[Json]:
        """The schemas that hold beside ``schema`` in any case."""
        target = resolve_reference(self.root, schema["$ref"]) if "$ref" in schema else None
        return [*([target] if target is not None else []), *_schemas_in(schema.get("allOf"))]

    def arm_notes(self, schema: Json, name: str) -> list[str]:
        """The requirements of a union's arms, worded for the model."""
        arms = [self.read(arm) for arm in _object_arms(schema, name)]
        if len(arms) < 2:
            return []
        listed = " or ".join(f"({', '.join(arm.required or arm.properties)})" for arm in arms)
        return [f"give the properties of {'one' if name == 'oneOf' else 'at least one'} of these: {listed}."]


def _object_arms(schema: Json, name: str) -> list[Json]:
    """The arms that an object can fit: parameters are never null, a text or a list."""
    return [arm for arm in _schemas_in(schema.get(name)) if _may_be_object(arm)]


def _may_be_object(schema: Json) -> bool:
    kind = schema.get("type")
    return kind in (None, "object") or (isinstance(kind, list) and "object" in kind)


def _schemas_in(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
