"""The results of ``fwd doctor``."""

from __future__ import annotations

from typing import Literal

from attrs import asdict, frozen

State = Literal["ok", "note", "bad"]


@frozen
class Finding:
    """The result of one check; ``fix`` is the command that fixes what is not well."""

    name: str
    state: State
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """For ``--json``."""
        return {name: str(value) for name, value in asdict(self).items() if value}
