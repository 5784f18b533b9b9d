"""What ``fwd doctor`` finds."""

from __future__ import annotations

from typing import Literal

from attrs import asdict, frozen

State = Literal["ok", "note", "bad"]


@frozen
class Finding:
    """One thing that was looked at: how it is, and for what is not well the command that mends it."""

    name: str
    state: State
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """For ``--json``."""
        return {name: str(value) for name, value in asdict(self).items() if value}
