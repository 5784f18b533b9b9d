"""The base of every object that the gateway answers with.

Null and absent are the same here: both are None, and `to_dict()` omits them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import field, fields, frozen


@frozen
class Value:
    """An object of the wire: its known fields, and in `extra` all the others."""

    extra: Mapping[str, Any] = field(factory=dict, repr=False, kw_only=True)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object again, unknown fields included, without those that are None."""
        known = {a.name: _plain_value(getattr(self, a.name)) for a in fields(type(self)) if a.name not in _OURS}
        return {name: value for name, value in known.items() if value is not None} | dict(self.extra)

    def to_json(self, *, indent: int | None = None) -> str:
        """`to_dict()` as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent)


_OURS = frozenset({"extra", "receipt"})


def _plain_value(value: Any) -> Any:
    if isinstance(value, Value):
        return value.to_dict()
    # Lists are tuples here, so that a frozen answer cannot change.
    if isinstance(value, tuple):
        return [_plain_value(item) for item in value]
    return value
