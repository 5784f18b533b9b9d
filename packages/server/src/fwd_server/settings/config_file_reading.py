"""From the parsed TOML to the classes, with every problem there is.

cattrs does the walking; the hooks here refuse what Python would take for the same (a text for a list, true for 1).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, get_args, get_origin

import attrs
import cattrs
from attrs import frozen
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn

from fwd_server.settings.config_file_lines import Path
from fwd_server.settings.config_file_schema import SHORT_FORMS, Config, ErrorKindName, HeaderName
from fwd_server.settings.config_file_values import KIND_NAMES, VALUE_KINDS, BadValue, read_value, show_value

_HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}")
# Set by the gateway itself, or able to change where a request goes or how its end is found (contract S11).
_OWN_HEADERS: Final = re.compile(
    r"authorization|api-key|x-api-key|x-goog-api-key|host|content-.*|transfer-encoding|connection|te|upgrade|trailer"
    r"|keep-alive|proxy-.*|expect|cookie|x-fwd-.*|traceparent|via"
)


@frozen
class PathProblem:
    """Something that cannot be used, and where."""

    path: Path
    message: str


def structure_config(document: Mapping[str, Any]) -> tuple[Config | None, list[PathProblem]]:
    """The document as classes; None where there is a problem."""
    try:
        return _CONVERTER.structure(document, Config), []
    except ClassValidationError as error:
        return None, list(_flatten(error, ()))


def suggest(name: str, known: Iterable[str]) -> str:
    """``; did you mean weight?``, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


# -- errors


def _flatten(error: Exception, path: Path) -> Iterator[PathProblem]:
    """Every problem in a tree of exceptions, with its path."""
    if isinstance(error, ClassValidationError | IterableValidationError):
        for inner in error.exceptions:
            yield from _flatten(inner, (*path, *_steps_of(inner)))
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl)]
        for name in sorted(error.extra_fields):
            yield PathProblem((*path, name), f"not a known name here{suggest(name, known)}")
    elif isinstance(error, KeyError):
        yield PathProblem(path[:-1], f"{path[-1]} is missing")
    else:
        yield PathProblem(path, str(error))


def _steps_of(error: BaseException) -> Path:
    """Where cattrs was when it met the error: one step, or none."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return (note.name,)
        if isinstance(note, IterableValidationNote):
            return (note.index,)
    return ()


# -- hooks


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    converter.register_structure_hook_factory(attrs.has, lambda cls: _class_hook(cls, converter))
    converter.register_structure_hook_factory(_is_tuple, lambda type_: _tuple_hook(type_, converter))
    converter.register_structure_hook_factory(_is_mapping, lambda type_: _mapping_hook(type_, converter))
    converter.register_structure_hook_func(
        _is_optional, lambda value, type_: _structure_optional(value, type_, converter)
    )
    converter.register_structure_hook_func(lambda type_: type_ in VALUE_KINDS, read_value)
    converter.register_structure_hook_func(_is_choice, _read_choice)
    return converter


def _class_hook(cls: type, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    read_table: Callable[[Any, Any], Any] = make_dict_structure_fn(cls, converter)

    def structure(value: Any, type_: Any) -> Any:
        # A bare text is the short form of a table, such as "openai:gpt-5" for a deployment.
        if isinstance(value, str) and cls in SHORT_FORMS:
            value = SHORT_FORMS[cls](value)
        if not isinstance(value, dict):
            short = " or a text" if cls in SHORT_FORMS else ""
            raise BadValue(show_value(value), f"a table{short} is allowed")
        return read_table(value, type_)

    return structure


def _tuple_hook(type_: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    entry_type = get_args(type_)[0]

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise BadValue(show_value(value), "a list is allowed")
        return tuple(_structure_each(enumerate(value), entry_type, converter))

    return structure


def _mapping_hook(type_: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    name_type, entry_type = get_args(type_)

    def structure(value: Any, _: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise BadValue(show_value(value), "a table is allowed")
        if entry_type is Any:
            return value
        names = _structure_each(((name, name) for name in value), name_type, converter)
        return dict(zip(names, _structure_each(value.items(), entry_type, converter), strict=True))

    return structure


def _structure_each(entries: Iterable[tuple[Any, Any]], type_: Any, converter: cattrs.Converter) -> list[Any]:
    """Every entry, by its index or name; all that is wrong is collected."""
    values = [_try_structure(index, entry, type_, converter) for index, entry in entries]
    errors = [value for value in values if isinstance(value, Exception)]
    if errors:
        raise IterableValidationError("entries", errors, type_)
    return values


def _try_structure(index: int | str, entry: Any, type_: Any, converter: cattrs.Converter) -> Any:
    """An entry, or the error that it gives, with a note of its place as cattrs itself would make it."""
    try:
        return _read_name(entry, type_) if type_ in _NAMES else converter.structure(entry, type_)
    except (BadValue, ClassValidationError, IterableValidationError) as error:
        note = IterableValidationNote(f"at {index}", index, type_)
        # Set by hand: `add_note` exists only from Python 3.11 on.
        error.__notes__ = [*getattr(error, "__notes__", ()), note]
        return error


def _read_name(name: str, type_: Any) -> str:
    """The name of an entry, where it is no kind of value."""
    if type_ is str:
        return name
    if type_ is ErrorKindName:
        if name not in KIND_NAMES:
            raise BadValue(show_value(name), f"a kind of failure is allowed here{suggest(name, KIND_NAMES)}")
        return name
    lowered = name.lower()
    if not _HEADER.fullmatch(lowered) or _OWN_HEADERS.fullmatch(lowered):
        raise BadValue(show_value(name), "a header is allowed that the gateway does not set itself")
    return lowered


_NAMES: Final = (str, ErrorKindName, HeaderName)


def _structure_optional(value: Any, type_: Any, converter: cattrs.Converter) -> Any:
    (bare,) = (option for option in get_args(type_) if option is not type(None))
    return converter.structure(value, bare)


def _read_choice(value: Any, type_: Any) -> str:
    choices = get_args(type_)
    if not isinstance(value, str) or value not in choices:
        near = suggest(value, choices) if isinstance(value, str) else ""
        raise BadValue(show_value(value), f"one of {', '.join(choices)} is allowed{near}")
    return value


def _is_choice(type_: Any) -> bool:
    origin: Any = get_origin(type_)
    return origin is Literal


def _is_tuple(type_: Any) -> bool:
    return get_origin(type_) is tuple


def _is_mapping(type_: Any) -> bool:
    origin = get_origin(type_)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_optional(type_: Any) -> bool:
    return type(None) in get_args(type_)


_CONVERTER: Final = _make_converter()
