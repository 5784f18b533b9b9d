"""What the translation asks about a model of Google's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from fwd_server.providers import model_catalog as models

PROVIDER: Final = "google"


@frozen
class Traits:
    """What the translation asks about a model. ``newer`` is Gemini 3 and every later generation."""

    newer: bool = True
    thinking: str | None = "level"
    minimal_level: bool = False
    sampling: bool = True
    pro: bool = False
    images: bool = False


def traits_of(model: str) -> Traits:
    """What is known of a model; one that is not in the table is judged by the generation in its name."""
    version = re.match(r"gemini-(\d{1,4})(?:\.(\d{1,4}))?", model)
    generation = (int(version[1]), int(version[2] or 0)) if version else (3, 0)
    newer = generation >= (3, 0) and model.startswith("gemini-")
    budget = not newer and version is not None and generation >= (2, 5)
    row = models.load().find(PROVIDER, model)
    known: Mapping[str, Any] = row.traits if row else {}
    return Traits(
        newer=known["generation"] == "3+" if "generation" in known else newer,
        thinking=known.get("thinking", "level" if newer else "budget" if budget else None),
        minimal_level=known.get("minimal_level", False),
        sampling=known.get("sampling_params", True),
        pro="-pro" in model,
        images="-image" in model,
    )
