"""JSON Schema in the subset of structured outputs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwd_server.providers.anthropic import schema
from fwd_server.providers.anthropic.schema import Load
from fwd_server.values.errors import Refused


def rewritten(**keywords: Any) -> dict[str, Any]:
    written: dict[str, Any] = schema.rewrite(keywords, "schema").schema
    return written


@pytest.mark.parametrize(
    "kept",
    [
        {"type": "string", "enum": ["a"], "title": "T", "default": "a", "description": "D"},
        {"type": "string", "pattern": "^a+$"},
        {"type": "array", "items": {"const": 1}, "minItems": 1},
        {"anyOf": [{"type": "null"}, {"type": "integer"}]},
        {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
    ],
)
def test_the_subset_passes(kept: dict[str, Any]) -> None:
    """What the provider knows is not touched."""
    assert schema.rewrite(kept, "schema").schema == kept
    assert schema.fits(kept)


@pytest.mark.parametrize(
    "name", ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"]
)
def test_the_formats_of_the_subset(name: str) -> None:
    """Those that the provider checks."""
    assert schema.fits({"type": "string", "format": name})


@pytest.mark.parametrize("pattern", ["(?=a)b", "(?!a)b", "(?<=a)b", "(?<!a)b"])
def test_a_pattern_that_looks_around_is_told(pattern: str) -> None:
    """Both ways, both senses."""
    assert rewritten(pattern=pattern) == {"description": f"Note: pattern: {pattern}."}


@pytest.mark.parametrize(
    ("keyword", "value", "note"),
    [
        ("minimum", 0, "minimum value: 0"),
        ("maxLength", 5, "maximum length: 5"),
        ("minItems", 3, "minimum number of items: 3"),
        ("uniqueItems", True, "all array items must be unique"),
        ("format", "phone", "format: phone"),
        ("format", 1, "format: 1"),
        ("not", {"const": 1}, 'not: {"const":1}'),
    ],
)
def test_what_cannot_be_said_is_told(keyword: str, value: Any, note: str) -> None:
    """A keyword outside the subset moves into the description (pitfall 23)."""
    assert rewritten(**{keyword: value}) == {"description": f"Note: {note}."}
    assert not schema.fits({keyword: value})


def test_notes_follow_the_description() -> None:
    """Several are one sentence."""
    found = rewritten(type="integer", description="Years", minimum=0, maximum=9)
    assert found["description"] == "Years Note: minimum value: 0, maximum value: 9."


def test_what_says_nothing_is_left_out() -> None:
    """Names of the schema itself, and a rule that is off."""
    assert rewritten(**{"$schema": "x", "$id": "y", "$comment": "z", "uniqueItems": False}) == {}


def test_every_object_is_closed() -> None:
    """Also those deep inside, and one that may be null."""
    inner = {"type": ["object", "null"], "additionalProperties": True}
    found = rewritten(type="array", items={"properties": {"a": inner}})
    assert found["items"]["additionalProperties"] is False
    assert found["items"]["properties"]["a"]["additionalProperties"] is False


@pytest.mark.parametrize("value", [True, {"type": "string"}, {}])
def test_an_open_object_is_refused_where_it_must_be_exact(value: Any) -> None:
    """A strict schema is never made narrower in silence."""
    with pytest.raises(Refused, match="open") as caught:
        schema.rewrite({"type": "object", "additionalProperties": value}, "f.schema", exact=True)
    assert caught.value.param == "f.schema"


def test_old_definitions_get_their_new_name() -> None:
    """Draft 7 calls them ``definitions``."""
    found = rewritten(**{"$ref": "#/definitions/a", "definitions": {"a": {"type": "null"}}})
    assert found == {"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}


def test_one_of_becomes_any_of() -> None:
    """Beside an ``anyOf`` it goes into ``allOf``, so that both still hold."""
    one, two = {"type": "string"}, {"type": "null"}
    assert rewritten(oneOf=[one]) == {"anyOf": [one]}
    assert rewritten(oneOf=[one], anyOf=[two]) == {"anyOf": [two], "allOf": [{"anyOf": [one]}]}


def test_what_is_no_schema_passes_as_it_is() -> None:
    """A schema may be ``true``; tuples of items cannot be expressed."""
    assert rewritten(properties={"a": True}) == {"properties": {"a": True}, "additionalProperties": False}
    assert rewritten(items=[{"type": "null"}]) == {"description": 'Note: items: [{"type":"null"}].'}


def test_the_load_of_a_schema() -> None:
    """Optional properties and unions count wherever they stand."""
    inner = {"properties": {"b": {"type": ["string", "null"]}, "c": {"anyOf": [{"properties": {"d": {}}}]}}}
    found = schema.load({"properties": {"a": inner}, "required": ["a"], "$defs": {"e": {"items": {"type": []}}}})
    assert found == Load(optional=3, unions=3)


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
    optional = {
        "properties": named,
        "$defs": named,
        "definitions": named,
        "items": inner | st.lists(inner, max_size=1),
        **{name: st.lists(inner, max_size=2) for name in ("anyOf", "oneOf", "allOf")},
        "additionalProperties": st.booleans() | inner,
        "type": st.sampled_from(["object", "string", ["object", "null"]]),
        "minimum": st.integers(-9, 9),
        "description": st.text(max_size=3),
    }
    return st.fixed_dictionaries({}, optional=optional)


@settings(deadline=None)
@given(st.recursive(st.booleans() | st.just({}), _deeper, max_leaves=8).filter(lambda found: isinstance(found, dict)))
def test_what_is_rewritten_fits(given_schema: dict[str, Any]) -> None:
    """Law: a schema in the subset stays as it is, whatever it was made from."""
    assert schema.fits(schema.rewrite(given_schema, "schema").schema)
