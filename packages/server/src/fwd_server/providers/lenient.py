"""Lenient readers of what a provider sent: a value of an unexpected type counts as missing.

So no answer, however broken, raises anything but an ``UpstreamError``."""

from __future__ import annotations

from typing import Any

import orjson

from fwd_server.values.chat import Json
from fwd_server.values.errors import upstream_failure
from fwd_server.wire import jsontext


def obj(value: object) -> Json:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[Json]:
    """The objects in ``value`` if it is a list, else none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """``value`` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def load(body: bytes, *, keep_halves: bool = False) -> Any:
    """The JSON of an answer. Raises UpstreamError (``bad_payload``, contract F20).

    ``keep_halves`` is for answers whose text comes in several pieces: a character may be cut between two of them.
    """
    try:
        return jsontext.loads(body, keep_halves=keep_halves)
    except orjson.JSONDecodeError:
        raise upstream_failure("bad_payload") from None


def dumps(value: object) -> str:
    """Compact JSON as a string, as OpenAI writes a call's arguments."""
    return jsontext.dumps(value).decode()
