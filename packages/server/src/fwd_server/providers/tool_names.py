"""Function names as a provider accepts them, and back to the caller's own."""

from __future__ import annotations

import re


class Names:
    """Function names as a provider takes them, the same way for the same name, and back."""

    def __init__(self, good: re.Pattern[str], longest: int) -> None:
        self._good = good
        self._longest = longest
        self._there: dict[str, str] = {}
        self._back: dict[str, str] = {}

    def there(self, name: str) -> str:
        """The name to send."""
        if name not in self._there:
            self._there[name] = sent = self._free(name)
            self._back[sent] = name
        return self._there[name]

    def back(self, name: str) -> str:
        """The caller's own name."""
        return self._back.get(name, name)

    def _free(self, name: str) -> str:
        if self._good.fullmatch(name) and name not in self._back:
            return name
        base = "_" + re.sub(r"[^A-Za-z0-9_-]", "_", name)[: self._longest - 6]
        number = 1
        while (found := base if number == 1 else f"{base}_{number}") in self._back:
            number += 1
        return found
