"""Reasoning that survives other languages: what a provider signed, in the one opaque text that a language has for it.

A capsule is ``fwd1.`` and base64url of compact JSON: ``p`` the provider, ``m`` its model, ``d`` entries of
``reasoning_details``, ``t`` signatures of Gemini's by the ids of their calls. It is the caller's own data: nothing in
it picks a route, a host or a key, and what cannot be read is no capsule.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from attrs import frozen

from fwd_server.values.chat import Json
from fwd_server.wire import jsontext

PREFIX: Final = "fwd1."
LONGEST: Final = 256 << 10  # bytes of JSON
_SNAPSHOT: Final = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8})$")
# Google's signatures hold for a family of models: https://ai.google.dev/gemini-api/docs/thought-signatures
_GEMINI: Final = re.compile(r"(?:models/)?(gemini-\d+)")


@frozen
class Capsule:
    """What one provider's model has to get back."""

    provider: str
    model: str
    details: Sequence[Json] = ()
    signatures: Mapping[str, str] = {}

    def is_for(self, provider: str, model: str) -> bool:
        """Whether that model of that provider can read it."""
        return self.provider == provider and _family(provider, self.model) == _family(provider, model)


def is_capsule(text: object) -> bool:
    """Whether a signature is ours, readable or not: no provider may get one."""
    return isinstance(text, str) and text.startswith(PREFIX)


def seal(capsule: Capsule) -> str:
    """The text of a capsule, the same for the same content; empty where there is nothing to carry."""
    if not capsule.details and not capsule.signatures:
        return ""
    held: Json = {"p": capsule.provider, "m": capsule.model}
    if capsule.details:
        held["d"] = list(capsule.details)
    if capsule.signatures:
        held["t"] = dict(capsule.signatures)
    return PREFIX + base64.urlsafe_b64encode(jsontext.dumps(held)).rstrip(b"=").decode()


def unseal(text: object) -> Capsule | None:
    """The capsule in a text; None for anything that is not one, or is broken, changed or too large."""
    if not isinstance(text, str) or not is_capsule(text) or len(text) > 2 * LONGEST:
        return None
    encoded = text[len(PREFIX) :]
    try:
        written = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        held: Any = jsontext.loads(written) if len(written) <= LONGEST else None
    except (ValueError, binascii.Error, orjson.JSONDecodeError):
        return None
    return _read_held(held) if isinstance(held, dict) else None


def _read_held(held: Json) -> Capsule | None:
    provider, model, details, signatures = held.get("p"), held.get("m"), held.get("d", []), held.get("t", {})
    if not (isinstance(provider, str) and isinstance(model, str)):
        return None
    if not (isinstance(details, list) and all(isinstance(entry, dict) for entry in details)):
        return None
    if not (isinstance(signatures, dict) and all(isinstance(value, str) for value in signatures.values())):
        return None
    return Capsule(provider, model, details, signatures)


def _family(provider: str, model: str) -> str:
    found = _GEMINI.match(model) if provider in ("google", "vertex") else None
    return found[1] if found else _SNAPSHOT.sub("", model)
