"""A value that fits a JSON Schema: what ``echo`` answers when the call has a response format.

Small, deterministic and best effort: it follows types, enums, required fields, bounds, lengths, formats, references
and simple patterns; ``not``, ``if`` and cross-field rules it does not. https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

import math
from typing import Any, Final
from urllib.parse import unquote

from fwd_server.providers.echo.patterns import sample_pattern

_MOST_VALUES: Final = 2_000  # a schema may ask for more than any memory holds
_DEEPEST: Final = 24
_ALL_FIELDS_UNTIL: Final = 3  # below this depth only required fields are filled in
_LONGEST_TEXT: Final = 4_096
_MOST_NUMBER: Final = 1 << 53  # bounds beyond what JSON numbers hold exactly are ignored
_LEAST_STEP: Final = 1e-9

_FORMATS: Final = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "regex": ".",
    "json-pointer": "/a",
}


def sample_value(schema: Any) -> Any:
    """A value that fits ``schema``. Texts are named after their field; optional fields are there near the top."""
    return _Sampler(schema).make_value(schema, "text", 0)


class _Sampler:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MOST_VALUES

    def make_value(self, schema: Any, name: str, depth: int) -> Any:
        schema = self._resolve_schema(schema, 0)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][0]
        if self._left < 0 or depth > _DEEPEST:
            return None
        make = getattr(self, f"_{_type_of(schema)}")
        return make(schema, name, depth)

    # -- references and combinations

    def _resolve_schema(self, schema: Any, hops: int) -> dict[str, Any]:
        """The schema with its references followed, all of ``allOf`` and the first of the alternatives joined in."""
        self._left -= 1
        if not isinstance(schema, dict) or hops > _DEEPEST or self._left < 0:
            return {}
        parts = [self._find_reference(schema["$ref"])] if isinstance(schema.get("$ref"), str) else []
        parts += _list_of(schema, "allOf")
        for key in ("anyOf", "oneOf"):
            parts += _list_of(schema, key)[:1]
        if not parts:
            return schema
        joined = {k: v for k, v in schema.items() if k not in ("$ref", "allOf", "anyOf", "oneOf")}
        for part in parts:
            if self._left < 0:
                break
            joined = _join_schemas(joined, self._resolve_schema(part, hops + 1))
            # Joining costs what it copies.
            self._left -= (len(_properties(joined)) + len(_list_of(joined, "required"))) // 8
        return joined

    def _find_reference(self, reference: str) -> Any:
        """``#/$defs/City`` in the root; a reference to elsewhere is not followed."""
        node = self._root
        for step in unquote(reference.removeprefix("#")).split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            node = node.get(step) if isinstance(node, dict) else None
        return node

    # -- one method for each type

    def _null(self, schema: dict[str, Any], name: str, depth: int) -> None:
        return None

    def _boolean(self, schema: dict[str, Any], name: str, depth: int) -> bool:
        return True

    def _integer(self, schema: dict[str, Any], name: str, depth: int) -> int:
        return int(_near_one(schema, whole=True))

    def _number(self, schema: dict[str, Any], name: str, depth: int) -> float:
        return _near_one(schema, whole=False)

    def _string(self, schema: dict[str, Any], name: str, depth: int) -> str:
        least, most = _size_limit(schema, "minLength", 0), _size_limit(schema, "maxLength", _LONGEST_TEXT)
        text = _FORMATS.get(str(schema.get("format")), name)
        if isinstance(schema.get("pattern"), str):
            return sample_pattern(schema["pattern"], least)
        return (text + "." * (min(least, _LONGEST_TEXT) - len(text)))[:most]

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        first = _list_of(schema, "prefixItems")
        most = _size_limit(schema, "maxItems", _MOST_VALUES)
        wanted = min(max(_size_limit(schema, "minItems", min(1, most)), len(first)), most, max(self._left, 0))
        rest = [schema.get("items", {})] * (wanted - len(first))
        values = [self.make_value(item, name, depth + 1) for item in (first + rest)[:wanted]]
        return self._make_unique(values, schema) if schema.get("uniqueItems") is True else values

    def _make_unique(self, values: list[Any], schema: dict[str, Any]) -> list[Any]:
        """The same values made different: by the next of an enum, the next number, a number behind a text."""
        among = self._resolve_schema(schema.get("items"), 0).get("enum")
        if isinstance(among, list):
            return among[: len(values)]
        return [_different_value(value, i) for i, value in enumerate(values)]

    def _object(self, schema: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        fields = _properties(schema)
        required = [key for key in _list_of(schema, "required") if isinstance(key, str)]
        names = required if required or depth >= _ALL_FIELDS_UNTIL else list(fields)
        return {key: self.make_value(fields.get(key, {}), key, depth + 1) for key in names if self._left > 0}


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    value = schema.get("properties")
    return value if isinstance(value, dict) else {}


def _list_of(schema: dict[str, Any], key: str) -> list[Any]:
    value = schema.get(key)
    return value if isinstance(value, list) else []


def _join_schemas(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both schemas at once: their fields together, what only one says, and of two bounds the stricter."""
    joined = {**other, **one}
    if "properties" in joined:
        joined["properties"] = {**_properties(other), **_properties(one)}
    required = [*_list_of(one, "required"), *_list_of(other, "required")]
    if required:
        joined["required"] = required
    for key, stricter in (("minimum", max), ("maximum", min), ("minLength", max), ("maxLength", min)):
        bounds = [bound for bound in (_numeric_bound(one, key), _numeric_bound(other, key)) if bound is not None]
        if bounds:
            joined[key] = stricter(bounds)
    return joined


def _type_of(schema: dict[str, Any]) -> str:
    """The type to make: the one named, the first that is not null, or the one the other keywords speak of."""
    named = schema.get("type")
    if isinstance(named, list):
        named = next((name for name in named if name != "null"), "null")
    if named in ("null", "boolean", "integer", "number", "string", "array", "object"):
        return str(named)
    for key, type_ in (("properties", "object"), ("required", "object"), ("items", "array"), ("minimum", "number")):
        if key in schema:
            return type_
    return "string"


def _size_limit(schema: dict[str, Any], key: str, default: int) -> int:
    value = schema.get(key)
    return value if isinstance(value, int) and value >= 0 else default


def _near_one(schema: dict[str, Any], *, whole: bool) -> float:
    """The number nearest to one that the bounds allow."""
    step = _numeric_bound(schema, "multipleOf") or (1 if whole else 0)
    low, high = _value_limits(schema, step or 0.5)
    value = min(max(1, low), high)
    if step >= _LEAST_STEP:
        value = math.ceil(value / step) * step
        value = value - step if value > high else value
    return value


def _value_limits(schema: dict[str, Any], inside: float) -> tuple[float, float]:
    """The least and the greatest value; an exclusive bound is kept away from by one step."""
    low, above = _numeric_bound(schema, "minimum"), _numeric_bound(schema, "exclusiveMinimum")
    high, below = _numeric_bound(schema, "maximum"), _numeric_bound(schema, "exclusiveMaximum")
    if above is not None and below is not None:
        inside = min(inside, (below - above) / 2)
    lows = [low, above if above is None else above + inside]
    highs = [high, below if below is None else below - inside]
    return (
        max((v for v in lows if v is not None), default=-math.inf),
        min((v for v in highs if v is not None), default=math.inf),
    )


def _numeric_bound(schema: dict[str, Any], key: str) -> float | None:
    value = schema.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if -_MOST_NUMBER <= value <= _MOST_NUMBER else None


def _different_value(value: Any, i: int) -> Any:
    if isinstance(value, str):
        return f"{value}{i + 1}"
    return value + i if isinstance(value, (int, float)) and not isinstance(value, bool) else value
