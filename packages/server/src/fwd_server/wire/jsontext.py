"""One strict reader for every JSON body that comes from a caller (contract L5, L6, T5), one for what providers say.

Everything that decides (keys, routing, forwarding) reads the same object, so two readers can never disagree about
what a body says.
"""

from __future__ import annotations

import json
from typing import Any, Final, cast

import orjson

from fwd_server.values.errors import BadRequest

MOST_DEPTH: Final = 64
# orjson reads 1,024 levels and writes 254; half of those leave room for what we put around a value.
WRITABLE_DEPTH: Final = 128
# Fields that decide about routing or money: said twice, they are refused. All parsers keep the last of two
# equal names, but what the caller meant by the first is anybody's guess.
_ONCE: Final = ("model", "stream", "max_tokens", "max_completion_tokens")
_QUOTED: Final = tuple((name, f'"{name}"'.encode()) for name in _ONCE)


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises BadRequest that says what was found and where."""
    value = _load(body)
    if not isinstance(value, dict):
        raise BadRequest(f"The body must be a JSON object, not {_kind(value)}.")
    if _brackets(body) > MOST_DEPTH and _deeper_than(value, MOST_DEPTH):
        raise BadRequest(f"The body is nested deeper than {MOST_DEPTH} levels.")
    if any(name in value and body.count(quoted) > 1 for name, quoted in _QUOTED):
        _refuse_repeated(body)
    return cast("dict[str, Any]", value)


def loads(written: bytes | str) -> Any:
    """Read JSON that can be written again. Raises orjson.JSONDecodeError, for more than 128 levels too (F20, F27)."""
    value = orjson.loads(written)
    brackets = _brackets(written if isinstance(written, bytes) else written.encode())
    if brackets > WRITABLE_DEPTH and _deeper_than(value, WRITABLE_DEPTH):
        raise orjson.JSONDecodeError(f"nested deeper than {WRITABLE_DEPTH} levels", "", 0)
    return value


def _load(body: bytes) -> Any:
    if not body:
        raise BadRequest("The body is empty; it must be a JSON object.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            f"The body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _brackets(written: bytes) -> int:
    """At least as many as there are levels: a quick look that spares the long one."""
    return written.count(b"{") + written.count(b"[")


def _deeper_than(value: object, levels: int) -> bool:
    nodes: list[Any] = [value]
    for _ in range(levels):
        nodes = [
            child
            for node in nodes
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not nodes:
            return False
    return True


def _refuse_repeated(body: bytes) -> None:
    # The hook runs for every object, the outermost last: only its pairs count.
    pairs: list[tuple[str, Any]] = []

    def keep(found: list[tuple[str, Any]]) -> None:
        nonlocal pairs
        pairs = found

    json.loads(body, object_pairs_hook=keep, parse_int=str, parse_float=str)
    names = [name for name, _ in pairs]
    for name in _ONCE:
        if names.count(name) > 1:
            raise BadRequest(f"'{name}' is given more than once.", param=name)
