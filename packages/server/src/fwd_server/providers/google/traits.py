"""Facts about Google's models that the translation needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from fwd_server.providers import model_catalog as models

PROVIDER: Final = "google"


@frozen
class Traits:
    """Facts about a model that the translation needs.

    ``newer`` is Gemini 3 and every later generation. ``continues_own_turn``: a conversation may end with the model's
    own turn, and the model goes on from there.
    """

    newer: bool = True
    thinking: str | None = "level"
    minimal_level: bool = False
    sampling: bool = True
    pro: bool = False
    images: bool = False
    continues_own_turn: bool = False


def traits_of(model: str) -> Traits:
    """The facts of a model; one that is not in the table is judged by the generation in its name."""
    version = re.match(r"gemini-(\d{1,4})(?:\.(\d{1,4}))?", model)
    generation = (int(version[1]), int(version[2] or 0)) if version else (3, 0)
    newer = generation >= (3, 0) and model.startswith("gemini-")
    budget = not newer and version is not None and generation >= (2, 5)
    row = models.load_catalog().find_model(PROVIDER, model)
    known: Mapping[str, Any] = row.traits if row else {}
    return Traits(
        newer=known["generation"] == "3+" if "generation" in known else newer,
        thinking=known.get("thinking", "level" if newer else "budget" if budget else None),
        minimal_level=known.get("minimal_level", False),
        sampling=known.get("sampling_params", True),
        pro="-pro" in model,
        images="-image" in model,
        continues_own_turn=_continues_own_turn(model, generation if version else None),
    )


def _continues_own_turn(model: str, generation: tuple[int, int] | None) -> bool:
    """Gemini 3.6 and later, and 3.5 Flash-Lite, answer 400 "Requests ending with a model turn are not supported".

    A ``-latest`` alias may be one of them any day. https://ai.google.dev/gemini-api/docs/generate-content/latest-model
    """
    if generation is None:
        return not model.startswith("gemini-")
    return generation < (3, 6) and not model.startswith("gemini-3.5-flash-lite")
