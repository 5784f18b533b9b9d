"""A value that fits a JSON Schema."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_server.providers.echo.samples import sample_value

TYPES = {"null": type(None), "boolean": bool, "integer": int, "number": (int, float), "string": str}
TYPES |= {"array": list, "object": dict}


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """A validator of its own, by the words of the specification."""
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    checks = {
        "type": lambda s: isinstance(value, TYPES[s] if isinstance(s, str) else tuple(TYPES[t] for t in s)),
        "const": lambda s: value == s,
        "enum": lambda s: value in s,
        "minimum": lambda s: value >= s,
        "maximum": lambda s: value <= s,
        "exclusiveMinimum": lambda s: value > s,
        "exclusiveMaximum": lambda s: value < s,
        "multipleOf": lambda s: value % s == 0,
        "minLength": lambda s: len(value) >= s,
        "maxLength": lambda s: len(value) <= s,
        "pattern": lambda s: re.search(s, value) is not None,
        "minItems": lambda s: len(value) >= s,
        "maxItems": lambda s: len(value) <= s,
        "uniqueItems": lambda s: len({orjson.dumps(v) for v in value}) == len(value),
        "items": lambda s: all(fits(v, s, root) for v in value[len(schema.get("prefixItems", [])) :]),
        "prefixItems": lambda s: all(fits(v, i, root) for v, i in zip(value, s, strict=False)),
        "required": lambda s: set(s) <= set(value),
        "properties": lambda s: all(fits(value[k], s[k], root) for k in s if k in value),
        "additionalProperties": lambda s: s is not False or set(value) <= set(schema["properties"]),
        "allOf": lambda s: all(fits(value, part, root) for part in s),
        "anyOf": lambda s: any(fits(value, part, root) for part in s),
        "oneOf": lambda s: any(fits(value, part, root) for part in s),
    }
    return all(check(schema[key]) for key, check in checks.items() if key in schema)


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 8},
        "age": {"type": "integer", "minimum": 18},
        "mood": {"enum": ["good", "bad"]},
        "friend": {"$ref": "#/$defs/Friend"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 3, "uniqueItems": True},
    },
    "required": ["name", "age", "mood", "friend", "tags"],
    "additionalProperties": False,
    "$defs": {"Friend": {"type": ["null", "object"], "properties": {"since": {"type": "number"}}}},
}


@pytest.mark.parametrize(
    "schema",
    [
        PERSON,
        {"type": "null"},
        {"type": "boolean"},
        {"const": {"a": 1}},
        {"type": "integer", "minimum": 5, "maximum": 5},
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 3},
        {"type": "integer", "maximum": -3},
        {"type": "integer", "minimum": 10, "multipleOf": 7},
        {"type": "integer", "minimum": 1, "maximum": 9, "multipleOf": 5},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.1},
        {"type": "number", "minimum": 0.5, "multipleOf": 0.25},
        {"type": "string", "maxLength": 2},
        {"type": "string", "pattern": r"^[A-Z]{3}-\d+$", "minLength": 9},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "null"}},
        {"type": "array", "minItems": 3, "uniqueItems": True, "items": {"type": "integer"}},
        {"type": "array", "minItems": 2, "uniqueItems": True, "items": {"enum": ["a", "b", "c"]}},
        {"type": "array", "maxItems": 0},
        {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"oneOf": [{"type": "array", "items": {"type": "boolean"}}, {"type": "null"}]},
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "integer", "minimum": 2}}, "required": ["a"]},
                {"properties": {"b": {"type": "string"}}, "required": ["b"]},
            ]
        },
        {"type": "integer", "minimum": 3, "allOf": [{"minimum": 7}, {"maximum": 8}]},
        {"properties": {"a": {"type": "string"}}},
        {"items": {"type": "integer"}},
        {"minimum": 4},
        {"required": ["a"]},
    ],
)
def test_the_value_fits(schema: dict[str, Any]) -> None:
    """Types, bounds, lengths, required and nested fields, references, combinations."""
    assert fits(sample_value(schema), schema, schema)


def test_a_form_is_filled_in_readably() -> None:
    """Texts are named after their field, so that a demo can be read."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "when": {"format": "date"}}}
    assert sample_value(schema) == {"city": "city", "when": "2026-01-31"}


def test_optional_fields_are_left_out_where_some_are_required() -> None:
    """What is not asked for is not made up."""
    assert sample_value({"properties": {"a": {}, "b": {}}, "required": ["b"]}) == {"b": "b"}


def test_a_recursive_schema_ends() -> None:
    """Contract T5: a form within itself is filled in as far as it must be."""
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    assert sample_value({"$ref": "#/$defs/Node", "$defs": {"Node": node}}) == {"next": {"next": {"next": {}}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"$ref": "#/$defs/A", "$defs": {"A": {"required": ["x"], "properties": {"x": {"$ref": "#/$defs/A"}}}}},
        {"$ref": "#", "allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"type": "array", "minItems": 10**9, "items": {"type": "array", "minItems": 10**9}},
        {"type": "string", "minLength": 10**9},
        {"type": "integer", "minimum": 1e300, "multipleOf": 1e-300},
        {"type": "array", "minItems": 5, "uniqueItems": True, "items": {"type": "object"}},
        {"$ref": "https://example.com/schema"},
        {"allOf": [{"properties": 7}], "properties": {"a": {}}},
        {"allOf": [{"$ref": "#/$defs/A"}] * 5_000, "$defs": {"A": {"required": ["a"] * 5_000}}},
        {"allOf": [{"$ref": "#/$defs/A"}] * 5_000, "$defs": {"A": {"properties": {str(i): {} for i in range(5_000)}}}},
    ],
)
def test_no_schema_takes_more_than_a_little(schema: dict[str, Any]) -> None:
    """Contract T5: what a caller may ask for is bounded, whatever it says."""
    assert len(orjson.dumps(sample_value(schema))) < 100_000


def test_a_reference_may_have_escapes() -> None:
    """https://www.rfc-editor.org/rfc/rfc6901"""
    assert sample_value({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"const": 7}}}) == 7


KEYWORDS = sorted({*PERSON, "allOf", "anyOf", "items", "prefixItems", "enum", "const", "minimum", "multipleOf", "$ref"})
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYWORDS) | st.text(), inner),
)


@given(ANYTHING)
def test_no_schema_breaks_it(schema: Any) -> None:
    """A schema that is none still gives some JSON value."""
    orjson.dumps(sample_value(schema))
