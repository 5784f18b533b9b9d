"""Names of properties that Claude does not take, renamed on the way there and named as before on the way back.

The API refuses a request whose tools have others than ``^[a-zA-Z0-9_.-]{1,64}$`` at any depth. One name stands for the
same name everywhere in a tool: in its schema, in its calls of the conversation, and in the calls of the answer.
https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson

from fwd_server.providers import lenient
from fwd_server.providers.anthropic.references import LITERALS, NAMED, child_schemas, pointer_steps
from fwd_server.providers.tool_names import NameTranslator
from fwd_server.values.chat import Json
from fwd_server.wire import jsontext

_LONGEST: Final = 64
_BAD: Final = "[^a-zA-Z0-9_.-]"
# Their keys are names of properties; so are the items of ``required`` and of the lists in the second and third.
_BY_PROPERTY: Final = frozenset({"properties", "dependentRequired", "dependencies", "dependentSchemas"})


def renaming_of(schema: object) -> NameTranslator | None:
    """The names to change in a tool's schema; None where there are none, as nearly always."""
    renaming = NameTranslator(_LONGEST, _BAD)
    # Good names are reserved first, so that no changed name takes the place of one that is in the schema.
    names = set(_property_names(schema)) if isinstance(schema, dict) else set[str]()
    if all(map(renaming.is_good, names)):
        return None
    renaming.reserve_names(sorted(names))
    return renaming


def _property_names(schema: Json) -> Iterator[str]:
    yield from lenient.obj(schema.get("properties"))
    for child in child_schemas(schema):
        yield from _property_names(child)


def rename_schema(schema: Json, renaming: NameTranslator) -> Json:
    """``schema`` with other names, wherever it says one."""
    return {keyword: _renamed_value(keyword, value, renaming) for keyword, value in schema.items()}


def _renamed_value(keyword: str, value: Any, renaming: NameTranslator) -> Any:
    if keyword in LITERALS:
        return rename_keys(value, renaming.known_name)
    if keyword == "required":
        return _renamed_items(value, renaming)
    if keyword == "$ref" and isinstance(value, str):
        return _renamed_reference(value, renaming)
    if isinstance(value, dict) and keyword in (NAMED | _BY_PROPERTY):
        to_name = renaming.known_name if keyword in _BY_PROPERTY else str
        return {to_name(name): _renamed_named(inner, renaming) for name, inner in value.items()}
    if isinstance(value, list):
        return [rename_schema(item, renaming) if isinstance(item, dict) else item for item in value]
    return rename_schema(value, renaming) if isinstance(value, dict) else value


def _renamed_named(inner: Any, renaming: NameTranslator) -> Any:
    return rename_schema(inner, renaming) if isinstance(inner, dict) else _renamed_items(inner, renaming)


def _renamed_items(value: Any, renaming: NameTranslator) -> Any:
    if not isinstance(value, list):
        return value
    return [renaming.known_name(item) if isinstance(item, str) else item for item in value]


def _renamed_reference(reference: str, renaming: NameTranslator) -> str:
    """A pointer whose steps below ``properties`` are the new names, which need no escapes."""
    steps, written = pointer_steps(reference), reference.split("/")
    for at in range(1, len(steps)):
        if steps[at - 1] in _BY_PROPERTY and renaming.known_name(steps[at]) != steps[at]:
            written[at + 1] = renaming.known_name(steps[at])
    return "/".join(written)


def rename_keys(value: Any, rename: Callable[[str], str]) -> Any:
    """A value with other keys at every depth."""
    if isinstance(value, dict):
        return {rename(key): rename_keys(inner, rename) for key, inner in value.items()}
    return [rename_keys(item, rename) for item in value] if isinstance(value, list) else value


def rename_arguments(written: str, rename: Callable[[str], str]) -> str:
    """A call's arguments with other keys; what is not JSON, because the answer broke off in it, stays as it is."""
    try:
        return lenient.dumps(rename_keys(jsontext.loads(written), rename))
    except orjson.JSONDecodeError:
        return written
