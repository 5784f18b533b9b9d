"""``-o NAME=VALUE``: parameters of a call that have no option of their own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from fwd_cli.prompts import usage_error

RESERVED = {
    "messages": "the prompt is the argument",
    "stream": "use --stream or --no-stream",
    "tools": "use --tools FILE",
    "model": "use --model NAME",
}
_OURS = ("timeout", "max_retries", "strict", "fallback", "extra_headers", "extra_body")
# Alike enough to be a slip: "tempersture" is, "top_k" beside top_p is a parameter of some providers.
_SLIP = 0.85


def read_parameters(texts: Iterable[str]) -> dict[str, Any]:
    """The arguments of the SDK for ``NAME=VALUE`` texts.

    A value is read as JSON where it is JSON, and is a text otherwise. A name that the API does not know goes into
    ``extra_body``, which the gateway hands to the provider as it is. Raises ``click.UsageError`` for a text without
    ``=``, for a name with an option of its own, and for one that looks like a slip of a known one.
    """
    from fwd_client import ChatParams

    known = ChatParams.__optional_keys__ - {*_OURS, *RESERVED}
    parameters: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise usage_error(f"-o takes NAME=VALUE, as in -o reasoning_effort=low; found {text!r}")
        if name in RESERVED or name in _OURS:
            raise usage_error(f"{name} cannot be set with -o: {RESERVED.get(name, 'it is an option of its own')}")
        near = get_close_matches(name, known, n=1, cutoff=_SLIP) if name not in known else []
        if near:
            raise usage_error(f"there is no parameter {name!r}; did you mean {near[0]!r}?")
        (parameters if name in known else extra)[name] = _read_value(value)
    return {**parameters, **({"extra_body": extra} if extra else {})}


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
