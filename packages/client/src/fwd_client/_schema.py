"""JSON schemas from Python types, and Python values from JSON."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Final, get_args, get_origin
from uuid import UUID

import attrs
from attrs import define, field
from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError
from cattrs.preconf.json import configure_converter
from cattrs.v import format_exception

from fwd_client._errors import ConfigurationError

PLAIN: Final[Mapping[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    UUID: {"type": "string", "format": "uuid"},
    Any: {},
    dict: {"type": "object"},
    list: {"type": "array"},
}
_SEQUENCES: Final = frozenset(
    {list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Set}
)
_MAPPINGS: Final = frozenset({dict, collections.abc.Mapping})


def class_schema(cls: type[Any]) -> dict[str, Any]:
    """The schema of one class, an object at its root, with the classes it uses under `$defs`."""
    book = Book()
    schema = book.schema(cls)
    # Providers want an object at the root, not a reference to one.
    name = schema.get("$ref", "").rpartition("/")[2]
    if name not in book.defs:
        raise ConfigurationError(f"into= needs a class with fields, not {cls!r}.")
    root = book.defs[name]
    if f"'#/$defs/{name}'" not in str(book.defs):  # only a class that holds itself is needed twice
        del book.defs[name]
    return {**root, "$defs": book.defs} if book.defs else root


@define
class Book:
    """Schemas of types, and the classes met on the way."""

    defs: dict[str, Any] = field(factory=dict)
    _classes: dict[Any, str] = field(factory=dict)

    def schema(self, hint: Any) -> dict[str, Any]:
        """The schema of one type; `ConfigurationError` for a type that JSON has no picture of."""
        if _is_known(hint):
            return dict(PLAIN[hint])
        if get_origin(hint) is not None:
            return self._container_schema(hint)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return {"enum": [member.value for member in hint]}
        foreign = _foreign_schema(hint)
        if foreign is not None or _is_plain_class(hint):
            return {"$ref": f"#/$defs/{self._definition_name(hint, foreign)}"}
        raise ConfigurationError(
            f"No JSON schema for {hint!r}.",
            hint="Use str, int, float, bool, None, Literal, Enum, list, dict, Optional, datetime, attrs, dataclass, "
            "msgspec or pydantic classes.",
        )

    def _container_schema(self, hint: Any) -> dict[str, Any]:
        origin, args = get_origin(hint), get_args(hint)
        if origin is typing.Literal:
            return {"enum": list(args)}
        if origin is typing.Annotated:
            return self.schema(args[0]) | _note_description(args[1:])
        if origin in {typing.Union, types.UnionType}:
            return {"anyOf": [self.schema(arg) for arg in args]}
        if origin in _SEQUENCES:
            return {"type": "array", "items": self.schema(args[0])}
        if origin in _MAPPINGS:
            return {"type": "object", "additionalProperties": self.schema(args[1])}
        raise ConfigurationError(f"No JSON schema for {hint!r}.")

    def _definition_name(self, cls: type[Any], foreign: dict[str, Any] | None) -> str:
        if cls in self._classes:
            return self._classes[cls]
        # Two modules may have a class of the same name.
        name = cls.__name__ if cls.__name__ not in self.defs else f"{cls.__name__}{len(self.defs)}"
        self._classes[cls] = name
        self.defs[name] = {}  # known before its fields are, so that a class may hold itself
        self.defs[name] = self._adopt_schema(foreign) if foreign is not None else self._object_schema(cls)
        return name

    def _object_schema(self, cls: type[Any]) -> dict[str, Any]:
        hints = typing.get_type_hints(cls, include_extras=True)
        schema = closed_object({name: self.schema(hints[name]) for name in _field_names(cls)})
        return schema | _note_description([(cls.__doc__ or "") if _has_own_words(cls) else ""])

    def _adopt_schema(self, foreign: dict[str, Any]) -> dict[str, Any]:
        """The schema another library made: its definitions join ours, its objects are closed as ours are."""
        # OpenAI's strict mode refuses open objects and optional fields.
        foreign = _closed_schema(foreign)
        self.defs.update(foreign.pop("$defs", {}))
        return dict(self.defs[foreign["$ref"].rpartition("/")[2]]) if "$ref" in foreign else foreign


def closed_object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    """An object of just these fields, all required unless told otherwise."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def is_strict(schema: dict[str, Any]) -> bool:
    """Whether providers can enforce the schema to the letter: no open objects anywhere."""
    is_open = schema.get("type") == "object" and schema.get("additionalProperties") is not False
    # An empty schema allows everything, which no provider enforces.
    return not is_open and schema != {} and all(is_strict(item) for item in _inner_schemas(schema))


def _inner_schemas(schema: dict[str, Any]) -> list[Any]:
    """The schemas inside a schema."""
    named = [item for key in ("properties", "$defs") for item in schema.get(key, {}).values()]
    return [*named, *schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]


def _closed_schema(schema: Any) -> Any:
    """A foreign schema with closed objects, every field required and no defaults, as strict providers want it."""
    if isinstance(schema, list):
        return [_closed_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _closed_schema(item) for name, item in schema.items() if name != "default"}
    properties = schema.get("properties")
    return {**found, **closed_object(found["properties"])} if isinstance(properties, dict) else found


def _is_known(hint: Any) -> bool:
    return isinstance(hint, collections.abc.Hashable) and hint in PLAIN


def _is_plain_class(hint: Any) -> bool:
    return isinstance(hint, type) and (attrs.has(hint) or dataclasses.is_dataclass(hint))


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and hasattr(hint, "__struct_fields__")


def _is_pydantic(hint: Any) -> bool:
    return isinstance(hint, type) and hasattr(hint, "model_json_schema")


def _foreign_schema(hint: Any) -> dict[str, Any] | None:
    if _is_pydantic(hint):
        return typing.cast("dict[str, Any]", hint.model_json_schema())
    if _is_struct(hint):
        import msgspec

        return msgspec.json.schema(hint)
    return None


def _note_description(notes: Any) -> dict[str, Any]:
    # `Annotated[int, "in degrees"]`: the model reads the words, other notes are for programs.
    text = next((note.strip() for note in notes if isinstance(note, str) and note.strip()), "")
    return {"description": text} if text else {}


def _field_names(cls: Any) -> list[str]:
    if not attrs.has(cls):
        return [one.name for one in dataclasses.fields(cls)]
    attrs.resolve_types(
        cls, include_extras=True
    )  # cattrs does not look into list["Name"] by itself (nor can Python 3.10)
    return [one.name for one in attrs.fields(cls)]


def _has_own_words(cls: type[Any]) -> bool:
    """Whether a person wrote the docstring: a dataclass without one gets its signature instead."""
    return not (cls.__doc__ or "").startswith(f"{cls.__name__}(")


_converter = Converter(forbid_extra_keys=True)
configure_converter(_converter)


def _strict_hook(kind: type[Any], *allowed: type[Any]) -> Callable[[Any, Any], Any]:
    """A hook that takes this type and no other, where cattrs would convert: `bool("false")` is True."""

    def check(value: Any, _: Any) -> Any:
        # bool is an int in Python, but `true` is no number to a reader of JSON.
        if not isinstance(value, (kind, *allowed)) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"expected {kind.__name__}, found {value!r}")
        return kind(value)

    return check


_converter.register_structure_hook(str, _strict_hook(str))
_converter.register_structure_hook(bool, _strict_hook(bool))
_converter.register_structure_hook(int, _strict_hook(int))
_converter.register_structure_hook(float, _strict_hook(float, int))
_converter.register_structure_hook_func(_is_pydantic, lambda value, cls: cls.model_validate(value))


def _convert_struct(value: Any, cls: Any) -> Any:
    import msgspec

    try:
        return msgspec.convert(value, cls)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


_converter.register_structure_hook_func(_is_struct, _convert_struct)


def load(hint: Any, data: Any) -> Any:
    """A value of the type from parsed JSON; `ValueError` says what is wrong and where."""
    try:
        return _converter.structure(data, hint)
    except (BaseValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError("; ".join(transform_error(error, format_exception=_error_words))) from error


def _error_words(error: BaseException, hint: type[Any] | None) -> str:
    return str(error) if isinstance(error, (TypeError, ValueError)) else format_exception(error, hint)


def dump(value: Any) -> Any:
    """A value as what JSON can hold."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if _is_struct(type(value)):
        import msgspec

        return msgspec.to_builtins(value)
    return _converter.unstructure(value)
