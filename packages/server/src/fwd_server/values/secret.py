"""A secret that shows itself as ``***`` wherever text is made of it (contract S12)."""

from __future__ import annotations

from typing import Final


class Secret:
    """A value that must not be read by accident: ``str``, ``repr`` and ``format`` all give ``***``.

    ``name`` is the variable the value came from, for texts that must point at it (``$OPENAI_API_KEY``).
    ``reveal()`` is the only way to the value, so every place that reads it can be found by its name.
    """

    __slots__ = ("_prefix", "_value", "name")

    def __init__(self, value: str, name: str = "", prefix: str = "") -> None:
        self._value: Final = value
        self._prefix: Final = prefix
        self.name: Final = name

    def reveal(self) -> str:
        """The secret in clear, with its prefix."""
        return self._prefix + self._value

    def with_prefix(self, prefix: str) -> Secret:
        """The same secret behind a readable prefix, as in ``Authorization: Bearer ...``."""
        return Secret(self._value, self.name, prefix)

    def display_text(self) -> str:
        """The form shown in dry runs: the prefix and the variable's name."""
        return f"{self._prefix}${self.name}"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "Secret('***')"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __reduce__(self) -> str | tuple[object, ...]:
        # A pickle would hold the value in clear; copy.copy() goes the same way.
        raise TypeError("a secret is not pickled: pass it on as an argument")
