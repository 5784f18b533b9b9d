"""JSON Schema in the subset that Gemini takes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_server.providers.google.schema import rewrite_parameters, rewrite_schema
from fwd_server.values.chat import Json


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$schema": "x", "$id": "i", "strict": True, "x-own": 2, "type": "string"}, {"type": "string"}),
        ({"default": 1, "type": "integer"}, {"type": "integer", "description": "Note: default: 1."}),
        ({"default": False}, {"description": "Note: default: false."}),
        ({"default": None, "deprecated": False}, {}),
        ({"unevaluatedProperties": False}, {"description": "Note: other properties: false."}),
        ({"examples": ["a"], "description": "D"}, {"description": 'D Note: examples: ["a"].'}),
        ({"$ref": "#/$defs/A", "default": "x"}, {"$ref": "#/$defs/A", "description": "Note: default: x."}),
        ({"format": "date"}, {"format": "date"}),
        ({"const": 3}, {"enum": [3]}),
        ({"enum": ["", "a", None]}, {"enum": ["a", None], "description": "Note: may be an empty text."}),
        ({"enum": [""], "type": "string"}, {"type": "string", "description": "Note: may be an empty text."}),
        ({"items": True}, {"items": {}}),
        ({"items": [{"const": 1}]}, {"prefixItems": [{"enum": [1]}]}),
        ({"properties": {}}, {}),
        ({"properties": 5, "anyOf": 5}, {}),
        ({"additionalProperties": {"const": 1}}, {"additionalProperties": {"enum": [1]}}),
        ({"definitions": {"A": {"const": 1}}}, {"$defs": {"A": {"enum": [1]}}}),
        ({"uniqueItems": False}, {}),
        ({"exclusiveMinimum": False}, {}),
        ({"patternProperties": 5}, {}),
    ],
)
def test_what_the_subset_knows_is_kept_or_said_in_its_way(schema: Json, expected: Json) -> None:
    """Pitfall 20."""
    assert rewrite_schema(schema) == expected


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
    assert rewrite_schema(schema)["description"] == f"Note: {note}."
    assert rewrite_schema({**schema, "description": "A."})["description"] == f"A. Note: {note}."


@pytest.mark.parametrize("name", ["date-time", "date", "time", "int32", "int64", "float", "double"])
def test_the_formats_of_the_subset(name: str) -> None:
    assert rewrite_schema({"format": name}) == {"format": name}


@pytest.mark.parametrize("name", ["type", "title", "required", "minItems", "maxItems", "minimum", "maximum"])
def test_the_plain_keywords_of_the_subset(name: str) -> None:
    assert rewrite_schema({name: 1}) == {name: 1}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("exclusiveMinimum", "exclusive minimum value"),
        ("exclusiveMaximum", "exclusive maximum value"),
        ("multipleOf", "multiple of"),
        ("minLength", "minimum length"),
        ("maxLength", "maximum length"),
        ("minProperties", "minimum number of properties"),
        ("maxProperties", "maximum number of properties"),
        ("pattern", "pattern"),
        ("contains", "an item that matches"),
        ("minContains", "minimum number of such items"),
        ("maxContains", "maximum number of such items"),
        ("propertyNames", "property names match"),
        ("dependentRequired", "dependent required properties"),
        ("dependentSchemas", "dependent schemas"),
        ("dependencies", "dependencies"),
        ("if", "if"),
        ("then", "then"),
        ("else", "else"),
        ("not", "must not match"),
        ("unevaluatedItems", "other items"),
        ("unevaluatedProperties", "other properties"),
    ],
)
def test_every_other_keyword_has_its_words(name: str, words: str) -> None:
    assert rewrite_schema({"type": "x", name: 7}) == {"type": "x", "description": f"Note: {words}: 7."}


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
        found = rewrite_schema({"type": kind, **schema})
        assert (found.get("minimum"), found.get("maximum")) == (minimum, maximum)


@pytest.mark.parametrize("bound", [1e300, "x", [1]])
def test_a_bound_that_is_no_number_is_left_to_words(bound: object) -> None:
    found = rewrite_schema({"type": "integer", "exclusiveMinimum": bound})
    assert found.keys() == {"type", "description"}


@pytest.mark.parametrize("junk", [None, 5, "x", [], {}, [[1]], {"a": 5}])
@pytest.mark.parametrize(
    "name", ["type", "properties", "required", "items", "enum", "format", "anyOf", "allOf", "$defs"]
)
def test_a_broken_schema_is_the_providers_to_refuse(name: str, junk: object) -> None:
    """Whatever a caller calls a schema, reading it fails nowhere."""
    node = {name: junk, "minimum": junk, "exclusiveMinimum": junk}
    arms = [node, {"required": ["a"], "properties": {"a": {}}}]
    assert isinstance(
        rewrite_schema({**node, "allOf": arms, "items": {"type": "integer", **node, "oneOf": arms}}), dict
    )


def test_a_reference_keeps_only_its_description() -> None:
    """Pitfalls 21, 22: nothing beside it, and never inlined, for it may refer to itself."""
    node = {"type": "object", "properties": {"next": {"$ref": "#/definitions/A", "title": "T", "description": "D"}}}
    found = rewrite_schema({"$ref": "#/definitions/A", "definitions": {"A": node}})
    inner = {"type": "object", "properties": {"next": {"$ref": "#/$defs/A", "description": "D"}}}
    assert found == {"$ref": "#/$defs/A", "$defs": {"A": inner}}


def test_constraints_beside_any_of_move_into_its_arms() -> None:
    """Pitfall 21."""
    arms: list[Json] = [{"required": ["b"]}, {"type": "null"}, {"$ref": "#/$defs/A"}]
    schema = {"description": "D", "type": "object", "required": ["a"], "anyOf": arms}
    assert rewrite_schema(schema) == {
        "description": "D",
        "anyOf": [
            {"type": "object", "required": ["b", "a"]},
            {"type": "null", "required": ["a"]},
            {"$ref": "#/$defs/A"},
        ],
    }


def test_one_of_stays_what_it_is() -> None:
    assert rewrite_schema({"oneOf": [{"type": "null"}]}) == {"oneOf": [{"type": "null"}]}


def merged(*arms: Any, **beside: Any) -> Json:
    return rewrite_schema({**beside, "allOf": list(arms)})


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


def test_a_reference_among_several_is_looked_up() -> None:
    base = {"type": "object", "properties": {"a": {}}}
    found = merged({"$ref": "#/$defs/A"}, {"required": ["a"]}, **{"$defs": {"A": base}})
    assert found == {"$defs": {"A": base}, **base, "required": ["a"]}


def test_a_reference_to_itself_is_left_to_words() -> None:
    loop = {"title": "T", "allOf": [{"$ref": "#/$defs/A"}, {"type": "object"}]}
    found = merged({"$ref": "#/$defs/A"}, {"minItems": 1}, **{"$defs": {"A": loop}})
    assert (found["type"], found["minItems"]) == ("object", 1)
    assert found["description"] == 'Note: must also match: [{"$ref":"#/$defs/A"}].'


def test_definitions_within_definitions_are_looked_up_to_a_depth() -> None:
    chain = {f"D{i}": {"allOf": [{"$ref": f"#/$defs/D{i + 1}"}, {"required": [f"{i}"]}]} for i in range(2000)}
    found = merged({"$ref": "#/$defs/D0"}, {}, **{"$defs": chain})
    assert len(found["required"]) == 8


def nested(levels: int) -> Json:
    inner = nested(levels - 1) if levels else {}
    return {"properties": {"p": inner}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}


@pytest.mark.parametrize(
    "schema",
    [
        nested(28),
        {"properties": {"p": {"title": "x" * 60_000}}, "anyOf": [{}] * 1000},
        {
            "$defs": {"A": {"title": "x" * 60_000}},
            "properties": {str(i): {"allOf": [{"$ref": "A"}, {}]} for i in range(99)},
        },
    ],
)
def test_joining_has_a_budget(schema: Json) -> None:
    """Contract T38: what would be copied over and over is left to words."""
    size = len(orjson.dumps(schema))
    assert len(orjson.dumps(rewrite_schema(schema))) < 30 * size + 200_000
    assert "must also match" in str(rewrite_schema(schema))


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
    assert rewrite_parameters(schema) is None


def test_an_open_object_without_names_is_sent() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    assert rewrite_parameters(schema) == schema
    assert rewrite_parameters({"type": "object", "additionalProperties": True}) is not None


# -- null

NULL = {"type": "null"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, {"type": ["string", "null"]}),
        ({"type": ["string", "integer"]}, {"type": ["string", "integer", "null"]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"type": "integer", "exclusiveMinimum": 1}, {"type": ["integer", "null"], "minimum": 2}),
        (
            {"type": "string", "enum": ["a"], "title": "T"},
            {"title": "T", "anyOf": [{"type": "string", "enum": ["a"]}, NULL]},
        ),
        ({"enum": ["a", None]}, {"enum": ["a", None]}),
        ({"const": "a"}, {"anyOf": [{"enum": ["a"]}, NULL]}),
        ({"const": None}, {"enum": [None]}),
        ({"$ref": "#/$defs/A", "description": "D"}, {"description": "D", "anyOf": [{"$ref": "#/$defs/A"}, NULL]}),
        ({"allOf": [{"$ref": "#/$defs/A"}]}, {"anyOf": [{"$ref": "#/$defs/A"}, NULL]}),
        ({"allOf": [{"type": "string"}, {"title": "T"}]}, {"anyOf": [{"type": "string", "title": "T"}, NULL]}),
        ({"anyOf": [{"type": "string"}]}, {"anyOf": [{"type": "string"}, NULL]}),
        ({"oneOf": [{"type": "string"}, NULL]}, {"oneOf": [{"type": "string"}, NULL]}),
        ({}, {}),
    ],
)
def test_nullable_is_a_type_with_null_or_an_alternative(schema: Json, expected: Json) -> None:
    """OpenAPI's own word: https://spec.openapis.org/oas/v3.0.3#schema-object."""
    assert rewrite_schema({**schema, "nullable": True}) == expected
    assert rewrite_schema({**schema, "nullable": False}) == rewrite_schema(schema)


places = st.lists(
    st.sampled_from(["properties", "items", "additionalProperties", "anyOf", "$defs", "allOf"]), max_size=5
)


@given(path=places, form=st.booleans())
def test_nullable_holds_at_any_depth(path: list[str], form: bool) -> None:
    """In tools and in answer formats."""
    schema: Json = {"type": "string", "nullable": True}
    for name in path:
        schema = {
            name: {"a": schema}
            if name in ("properties", "$defs")
            else [schema]
            if name[1:] == "nyOf" or name == "allOf"
            else schema
        }
    cut = rewrite_schema(schema) if form else rewrite_parameters({"type": "object", "properties": {"p": schema}})
    assert '"null"' in orjson.dumps(cut).decode()
    assert "nullable" not in orjson.dumps(cut).decode()


def test_a_functions_parameters_are_never_null() -> None:
    """Gemini takes an object there and nothing else."""
    schema = {"type": "object", "nullable": True, "properties": {"a": {"type": "string"}}}
    assert rewrite_parameters(schema) == {"type": "object", "properties": {"a": {"type": "string"}}}
