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
    written: dict[str, Any] = schema.rewrite_schema(keywords, "schema").schema
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
    assert schema.rewrite_schema(kept, "schema").schema == kept
    assert schema.fits_subset(kept)


@pytest.mark.parametrize(
    "name", ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"]
)
def test_the_formats_of_the_subset(name: str) -> None:
    """Those that the provider checks."""
    assert schema.fits_subset({"type": "string", "format": name})


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
    assert not schema.fits_subset({keyword: value})


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
        schema.rewrite_schema({"type": "object", "additionalProperties": value}, "f.schema", exact=True)
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
    found = schema.load_of({"properties": {"a": inner}, "required": ["a"], "$defs": {"e": {"items": {"type": []}}}})
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
    assert schema.fits_subset(schema.rewrite_schema(given_schema, "schema").schema)


# -- what Claude cannot compile

STRING = {"type": "string"}


def node(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


@pytest.mark.parametrize(
    "recursive",
    [
        {**node(a=ref("A")), "$defs": {"A": node(a={"type": "array", "items": ref("A")})}},
        {**node(a=ref("A")), "$defs": {"A": node(b=ref("B")), "B": node(a={"anyOf": [ref("A"), {"type": "null"}]})}},
        node(children={"type": "array", "items": {"$ref": "#"}}),
        node(a=node(b={"$ref": "#/properties/a"})),
        {**node(a=STRING), "$defs": {"unused": node(a=ref("unused"))}},
        {**node(a={"allOf": [ref("A")]}), "$defs": {"A": node(a={"allOf": [ref("A")]})}},
        node(a={"$ref": "#/definitions/missing"}),
        node(a={"$ref": "https://example.com/schema.json"}),
    ],
)
def test_a_schema_that_leads_back_to_itself_is_refused(recursive: dict[str, Any]) -> None:
    """By its name; and so is one that leads out of itself. A tool is sent without ``strict`` then."""
    with pytest.raises(Refused) as refused:
        schema.rewrite_schema(recursive, "response_format.json_schema.schema")
    assert refused.value.param == "response_format.json_schema.schema"
    assert not schema.fits_subset(recursive)


def test_a_definition_used_twice_is_no_cycle() -> None:
    """Also through another one; and a name in a default is no reference."""
    twice = {**node(a=ref("P"), b=ref("P"), c=ref("Q")), "$defs": {"P": node(x=STRING), "Q": node(p=ref("P"))}}
    assert schema.fits_subset(twice)
    assert (
        schema.fits_subset(
            node(a={"type": "object", "$ref": "#/$defs/P", "default": {"$ref": "#"}}) | {"$defs": {"P": STRING}}
        )
        is False
    )
    assert schema.fits_subset({**STRING, "default": {"$ref": "#"}})


def test_a_long_chain_of_references() -> None:
    """Longer than Python's stack; the last link decides."""
    links = {f"A{i}": ref(f"A{i + 1}") for i in range(5000)}
    assert schema.fits_subset({**node(a=ref("A0")), "$defs": {**links, "A5000": STRING}})
    assert not schema.fits_subset({**node(a=ref("A0")), "$defs": {**links, "A5000": ref("A0")}})


DEFINED = {"$defs": {"Color": {"type": "string", "enum": ["red"]}, "P": node(x=STRING)}}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"allOf": [ref("Color")]}, ref("Color")),
        (
            {"allOf": [ref("Color")], "description": "D", "title": "T"},
            {**ref("Color"), "description": "D", "title": "T"},
        ),
        ({"allOf": [ref("Color"), {"description": "D"}]}, {"type": "string", "enum": ["red"], "description": "D"}),
        ({"allOf": [ref("P"), node(y=STRING)]}, node(x=STRING, y=STRING)),
        ({"allOf": [ref("P")], "properties": {"y": STRING}}, {**node(x=STRING, y=STRING), "required": ["x"]}),
        ({"allOf": [{"allOf": [ref("P")]}, {"required": ["z"]}]}, {**node(x=STRING), "required": ["x", "z"]}),
        ({"allOf": [ref("P"), node(x={"description": "X"})]}, node(x={**STRING, "description": "X"})),
    ],
)
def test_all_of_with_a_reference_is_joined(written: dict[str, Any], expected: dict[str, Any]) -> None:
    """In a property and in a list; what says the same in fewer words is said so."""
    found = schema.rewrite_schema({**node(a=written, b={"type": "array", "items": written}), **DEFINED}, "s").schema
    assert found["properties"] == {"a": expected, "b": {"type": "array", "items": expected}}


def test_all_of_that_contradicts_itself_is_told() -> None:
    """What cannot be one schema goes into the description."""
    found = schema.rewrite_schema({**node(a={"allOf": [ref("Color"), {"type": "integer"}]}), **DEFINED}, "s").schema
    told = found["properties"]["a"]["description"]
    assert told == 'Note: allOf: [{"$ref":"#/$defs/Color"},{"type":"integer"}].'


def test_joining_does_not_grow_without_end() -> None:
    """Definitions that use others twice, fifty deep."""
    layers = {f"A{i}": {"allOf": [ref(f"A{i + 1}"), {"properties": {"n": ref(f"A{i + 1}")}}]} for i in range(50)}
    found = schema.rewrite_schema({**node(a={"allOf": [ref("A0"), STRING]}), "$defs": {**layers, "A50": STRING}}, "s")
    assert len(str(found.schema)) < 1_000_000


@pytest.mark.parametrize(
    "pattern",
    [
        "^[a-z]{2,4}$", r"^\d+(\.\d+)?$", "a|b", "[^\\]]*", "(?:ab)+", r"\w\s.", r"a\{b\}", "[a-z.*+?()-]", "x{3}",
        "ü", "",
    ],
)  # fmt: skip
def test_patterns_that_stay(pattern: str) -> None:
    """What the page lists."""
    assert schema.fits_subset({"type": "string", "pattern": pattern})


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(ab)\1$", r"(?P<n>a)(?P=n)", r"(?<n>a)\k<n>", r"\bfoo\b", r"a\B", "(?=a)b", "(?<!a)b", "(?i)a", r"\p{L}",
        r"\u0041", r"\Astart", "a{1,1000}", "a{5000}", "(a", "a)", "[a", "*a", "a\\", "a++", "a+?",
    ],
)  # fmt: skip
def test_patterns_that_are_told(pattern: str) -> None:
    """References to groups, boundaries, look-around, flags, classes of Unicode, large counts and what is no pattern."""
    assert rewritten(type="string", pattern=pattern) == {"type": "string", "description": f"Note: pattern: {pattern}."}


@pytest.mark.parametrize("value", [{"x": 1}, [1], []])
def test_only_plain_values_stay_in_enum_and_const(value: Any) -> None:
    """One that is not takes the whole keyword into the description."""
    assert rewritten(enum=["a", 1, None, True, 0.5]) == {"enum": ["a", 1, None, True, 0.5]}
    assert rewritten(const=value).keys() == {"description"}
    assert "enum" not in rewritten(type="string", enum=["a", value])


@pytest.mark.parametrize(
    ("opened", "path"),
    [
        ({"type": "object"}, "s.properties.a"),
        ({"type": "object", "properties": {}}, "s.properties.a"),
        ({"type": ["object", "null"], "additionalProperties": STRING}, "s.properties.a"),
        ({"additionalProperties": {"type": "integer"}}, "s.properties.a"),
        ({**node(b=STRING), "additionalProperties": True}, "s.properties.a"),
        ({**node(b=STRING), "patternProperties": {"^x": STRING}}, "s.properties.a"),
        ({"type": "array", "items": {"type": "object"}}, "s.properties.a.items"),
        ({"anyOf": [STRING, {"type": "object"}]}, "s.properties.a.anyOf[1]"),
        (node(b=node(c={"type": "object"})), "s.properties.a.properties.b.properties.c"),
    ],
)
def test_an_open_object_is_told_where_it_is_closed(opened: dict[str, Any], path: str) -> None:
    """At any depth; and refused where the schema must be exact."""
    assert schema.rewrite_schema(node(a=opened), "s").closed == (path,)
    with pytest.raises(Refused) as refused:
        schema.rewrite_schema(node(a=opened), "s", exact=True)
    assert refused.value.param == path


@pytest.mark.parametrize("known", [node(b=STRING), {"type": "object", "properties": {"b": STRING}}, {"type": "string"}])
def test_an_object_with_known_keys_is_closed_in_silence(known: dict[str, Any]) -> None:
    """Nobody meant it to have others."""
    assert schema.rewrite_schema(node(a=known), "s").closed == ()
