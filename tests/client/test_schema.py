"""JSON schemas from types, values from JSON."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal, Optional

import attrs
import msgspec
import pydantic
import pytest

from fwd_client import ConfigurationError
from fwd_client._schema import Book, class_schema, dump, is_strict, load


class Mood(enum.Enum):
    HAPPY = "happy"
    SAD = "sad"


@attrs.frozen
class Leaf:
    """A leaf, told in words."""

    size: int
    twigs: list[Leaf] = attrs.Factory(list)


@dataclasses.dataclass
class Plain:
    name: Annotated[str, "the full name"]
    born: date
    leaf: Leaf | None


class Inner(pydantic.BaseModel):
    z: float = 1.0


class Model(pydantic.BaseModel):
    a: int
    inner: Inner


class Struct(msgspec.Struct):
    a: int
    next: Struct | None = None


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (float, {"type": "number"}),
        (Any, {}),
        (date, {"type": "string", "format": "date"}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Mood, {"enum": ["happy", "sad"]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Optional[str], {"anyOf": [{"type": "string"}, {"type": "null"}]}),  # noqa: UP045 - both spellings
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (tuple[str, ...], {"type": "array", "items": {"type": "string"}}),
        (Sequence[bool], {"type": "array", "items": {"type": "boolean"}}),
        (Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Annotated[int, "how many"], {"type": "integer", "description": "how many"}),
        (Annotated[int, 3], {"type": "integer"}),
    ],
)
def test_plain_types(hint: Any, schema: dict[str, Any]) -> None:
    """Each type has one picture."""
    assert Book().schema(hint) == schema


@pytest.mark.parametrize("hint", [object, type[int], "text", complex])
def test_types_without_a_picture(hint: Any) -> None:
    """A type JSON cannot show is refused by name."""
    with pytest.raises(ConfigurationError, match="No JSON schema"):
        Book().schema(hint)


def test_not_a_class() -> None:
    """`into=` takes classes with fields."""
    with pytest.raises(ConfigurationError, match="into="):
        class_schema(int)


def test_class_that_holds_itself() -> None:
    """A recursive class is defined once and named where it returns; its own words describe it."""
    schema = class_schema(Leaf)
    assert schema["properties"]["twigs"] == {"type": "array", "items": {"$ref": "#/$defs/Leaf"}}
    assert schema["$defs"]["Leaf"] == {name: item for name, item in schema.items() if name != "$defs"}
    assert schema["description"] == "A leaf, told in words."


def test_class_in_class() -> None:
    """A class used by another stands under `$defs`; a dataclass's made-up docstring is no description."""
    schema = class_schema(Plain)
    assert schema["properties"]["name"] == {"type": "string", "description": "the full name"}
    assert schema["properties"]["leaf"] == {"anyOf": [{"$ref": "#/$defs/Leaf"}, {"type": "null"}]}
    assert list(schema["$defs"]) == ["Leaf"]
    assert "description" not in schema


@pytest.mark.parametrize("cls", [Leaf, Plain, Model, Struct])
def test_strict(cls: type[Any]) -> None:
    """All four kinds of class give closed objects with every field required and no defaults: strict schemas."""
    schema = class_schema(cls)
    assert is_strict(schema)
    assert schema["required"] == list(schema["properties"])
    assert "default" not in str(schema)


def test_shared_names() -> None:
    """Two classes of one name do not become one."""
    book = Book()
    other = dataclasses.make_dataclass("Leaf", [("x", int)])
    assert book.schema(Leaf) != book.schema(other)
    assert book.schema(Leaf) == book.schema(Leaf)


@pytest.mark.parametrize("hint", [dict[str, int], Any, list[dict[str, str]]])
def test_open_parts(hint: Any) -> None:
    """A class with open parts cannot be strict."""
    assert not is_strict(class_schema(dataclasses.make_dataclass("Open", [("x", hint)])))


@pytest.mark.parametrize(
    ("hint", "data", "value"),
    [
        (Leaf, {"size": 1, "twigs": [{"size": 2, "twigs": []}]}, Leaf(1, [Leaf(2)])),
        (
            Plain,
            {"name": "n", "born": "2026-01-02", "leaf": None},
            Plain("n", date(2026, 1, 2), None),
        ),
        (Model, {"a": 1, "inner": {"z": 2}}, Model(a=1, inner=Inner(z=2))),
        (Struct, {"a": 1, "next": {"a": 2}}, Struct(1, Struct(2))),
        (list[Mood], ["sad"], [Mood.SAD]),
        (float, 3, 3.0),
    ],
)
def test_load(hint: Any, data: Any, value: Any) -> None:
    """JSON becomes values, whatever kind of class."""
    class_schema(hint) if hint in {Leaf, Plain} else None
    assert load(hint, data) == value


@pytest.mark.parametrize(
    ("hint", "data", "words"),
    [
        (Leaf, {"size": "1", "twigs": []}, "expected int, found '1' @ $.size"),
        (Leaf, {"twigs": []}, "required field missing @ $.size"),
        (Leaf, {"size": True}, "expected int, found True"),
        (Leaf, {"size": 1, "extra": 2}, "extra"),
        (Leaf, [], "@ $"),
        (bool, "false", "expected bool, found 'false'"),
        (Model, {"a": "x"}, "a"),
        (Struct, {"a": "x"}, "Expected `int`"),
        (list[Mood], ["angry"], "'angry' is not a valid Mood"),
    ],
)
def test_load_what_does_not_fit(hint: Any, data: Any, words: str) -> None:
    """Nothing is converted by guess: the error says what was found, and where."""
    with pytest.raises(ValueError, match=r".") as caught:
        load(hint, data)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (Leaf(1), {"size": 1, "twigs": []}),
        (Model(a=1, inner=Inner()), {"a": 1, "inner": {"z": 1.0}}),
        (Struct(1), {"a": 1, "next": None}),
        ([Mood.SAD, date(2026, 1, 2)], ["sad", "2026-01-02"]),
    ],
)
def test_dump(value: Any, data: Any) -> None:
    """Values become JSON, whatever kind of class."""
    assert dump(value) == data
