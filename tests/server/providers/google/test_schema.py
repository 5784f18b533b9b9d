"""JSON Schema in the subset that Gemini takes."""

from __future__ import annotations

from typing import Any

import pytest

from fwd_server.chat import Json
from fwd_server.providers.google.schema import parameters, rewrite


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$schema": "x", "default": 1, "strict": True, "x-own": 2, "type": "string"}, {"type": "string"}),
        ({"format": "date"}, {"format": "date"}),
        ({"const": 3}, {"enum": [3]}),
        ({"enum": ["", "a", None]}, {"enum": ["a", None]}),
        ({"enum": [""], "type": "string"}, {"type": "string"}),
        ({"items": True}, {"items": {}}),
        ({"items": [{"const": 1}]}, {"prefixItems": [{"enum": [1]}]}),
        ({"properties": {}}, {}),
        ({"properties": 5, "anyOf": 5}, {}),
        ({"additionalProperties": {"const": 1}}, {"additionalProperties": {"enum": [1]}}),
        ({"definitions": {"A": {"const": 1}}}, {"$defs": {"A": {"enum": [1]}}}),
        ({"uniqueItems": False}, {}),
        ({"patternProperties": 5}, {}),
    ],
)
def test_what_the_subset_knows_is_kept_or_said_in_its_way(schema: Json, expected: Json) -> None:
    """Pitfall 20."""
    assert rewrite(schema) == expected


@pytest.mark.parametrize(
    ("schema", "note"),
    [
        ({"minLength": 2, "pattern": "^a"}, "minimum length: 2, pattern: ^a"),
        ({"uniqueItems": True}, "all array items must be unique"),
        ({"format": "email"}, "format: email"),
        ({"not": {"type": "null"}}, 'must not match: {"type":"null"}'),
        ({"type": "number", "exclusiveMinimum": 0}, "exclusive minimum value: 0"),
    ],
)
def test_what_it_does_not_know_is_said_in_words(schema: Json, note: str) -> None:
    assert rewrite(schema)["description"] == f"Note: {note}."
    assert rewrite({**schema, "description": "A."})["description"] == f"A. Note: {note}."


@pytest.mark.parametrize(
    ("schema", "minimum", "maximum"),
    [
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 10}, 1, 9),
        ({"exclusiveMinimum": 0.5, "exclusiveMaximum": 9.5}, 1, 9),
        ({"exclusiveMinimum": 0, "minimum": 5, "exclusiveMaximum": 10, "maximum": 7}, 5, 7),
        ({"exclusiveMinimum": True, "minimum": 0}, 1, None),
        ({"exclusiveMinimum": False, "minimum": 0}, 0, None),
        ({"exclusiveMinimum": True}, None, None),
    ],
)
def test_exclusive_bounds_of_whole_numbers_become_inclusive(
    schema: Json, minimum: int | None, maximum: int | None
) -> None:
    for kind in ("integer", ["integer", "null"]):
        found = rewrite({"type": kind, **schema})
        assert (found.get("minimum"), found.get("maximum")) == (minimum, maximum)


def test_a_reference_keeps_only_its_description() -> None:
    """Pitfalls 21, 22: nothing beside it, and never inlined, for it may refer to itself."""
    node = {"type": "object", "properties": {"next": {"$ref": "#/definitions/A", "title": "T", "description": "D"}}}
    found = rewrite({"$ref": "#/definitions/A", "definitions": {"A": node}})
    inner = {"type": "object", "properties": {"next": {"$ref": "#/$defs/A", "description": "D"}}}
    assert found == {"$ref": "#/$defs/A", "$defs": {"A": inner}}


def test_constraints_beside_any_of_move_into_its_arms() -> None:
    """Pitfall 21."""
    arms: list[Json] = [{"required": ["b"]}, {"type": "null"}, {"$ref": "#/$defs/A"}]
    schema = {"description": "D", "type": "object", "required": ["a"], "anyOf": arms}
    assert rewrite(schema) == {
        "description": "D",
        "anyOf": [
            {"type": "object", "required": ["b", "a"]},
            {"type": "null", "required": ["a"]},
            {"$ref": "#/$defs/A"},
        ],
    }


def test_one_of_stays_what_it_is() -> None:
    assert rewrite({"oneOf": [{"type": "null"}]}) == {"oneOf": [{"type": "null"}]}


def merged(*arms: Any, **beside: Any) -> Json:
    return rewrite({**beside, "allOf": list(arms)})


def test_all_of_a_reference_is_the_reference() -> None:
    assert merged({"$ref": "#/$defs/A"}, description="D") == {"$ref": "#/$defs/A", "description": "D"}


def test_all_of_several_is_one_node() -> None:
    first = {"properties": {"a": {"type": "string"}, "b": {"minItems": 1}}, "required": ["a"]}
    second = {"properties": {"b": {"maxItems": 2}}, "required": ["a", "b"]}
    assert merged(first, second, type="object") == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"minItems": 1, "maxItems": 2}},
        "required": ["a", "b"],
    }


def test_a_reference_among_several_is_looked_up_once() -> None:
    loop = {"allOf": [{"$ref": "#/$defs/A"}, {"title": "T"}], "type": "object"}
    found = merged({"$ref": "#/$defs/A"}, {"$ref": "#/$defs/none"}, **{"$defs": {"A": loop}})
    assert (found["type"], found["title"]) == ("object", "T")


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {}, "required": [], "additionalProperties": False, "description": "None."},
    ],
)
def test_parameters_that_are_none_are_not_sent(schema: object) -> None:
    """Gemini refuses an empty object: "should be non-empty for OBJECT type"."""
    assert parameters(schema) is None


def test_an_open_object_without_names_is_sent() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    assert parameters(schema) == schema
    assert parameters({"type": "object", "additionalProperties": True}) is not None
