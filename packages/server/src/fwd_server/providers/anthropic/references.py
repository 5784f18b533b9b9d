"""References within a JSON Schema: where they lead, and whether they lead back.

https://json-schema.org/understanding-json-schema/structuring
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

from fwd_server.values.chat import Json

# Keywords whose values are data and not schemas, and keywords whose values are schemas by a name.
LITERALS: Final = frozenset({"enum", "const", "default", "examples"})
NAMED: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
)


def child_schemas(schema: Json) -> Iterator[Json]:
    """The schemas directly within one."""
    for keyword, value in schema.items():
        if keyword in LITERALS:
            continue
        if keyword in NAMED and isinstance(value, dict):
            value = list(value.values())
        yield from (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict))


def resolve_reference(root: Json, reference: object) -> Json | None:
    """The schema that a reference within ``root`` leads to; None where it leads elsewhere or nowhere."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    node: Any = root
    for step in pointer_steps(reference):
        if isinstance(node, list) and step.isdecimal() and int(step) < len(node):
            node = node[int(step)]
        elif isinstance(node, dict) and step in node:
            node = node[step]
        else:
            return None
    return node if isinstance(node, dict) else None


def pointer_steps(reference: str) -> list[str]:
    """The names along a JSON Pointer in a fragment, as ``#/$defs/a~1b``."""
    return [unquote(step).replace("~1", "/").replace("~0", "~") for step in reference.split("/")[1:]]


def unusable_reference(root: Json) -> str | None:
    """A reference that strict schemas cannot have: one that leads out of ``root``, to nothing, or back to itself.

    A definition that is used twice is no cycle; one that is part of itself is, through however many others. The walk
    keeps its own stack, because a chain of references may be longer than Python's.
    """
    open_nodes, done = {id(root)}, set[int]()
    stack: list[tuple[Json, Iterator[tuple[str, Json | None]]]] = [(root, _next_schemas(root, root))]
    while stack:
        node, steps = stack[-1]
        step = next(steps, None)
        if step is None:
            stack.pop()
            open_nodes.discard(id(node))
            done.add(id(node))
            continue
        reference, target = step
        if target is None or id(target) in open_nodes:
            return reference
        if id(target) not in done:
            open_nodes.add(id(target))
            stack.append((target, _next_schemas(root, target)))
    return None


def _next_schemas(root: Json, node: Json) -> Iterator[tuple[str, Json | None]]:
    """Where one comes from ``node``: the reference on the way ("" for what is directly within), and the schema."""
    if "$ref" in node:
        yield str(node["$ref"]), resolve_reference(root, node["$ref"])
    for child in child_schemas(node):
        yield "", child
