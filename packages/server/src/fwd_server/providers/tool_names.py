"""Function names as a provider accepts them, and back to the caller's own."""

from __future__ import annotations

import re
from collections.abc import Iterable


class NameMap:
    """Function names as a provider takes them, the same way for the same name, and back."""

    def __init__(self, good: re.Pattern[str], longest: int) -> None:
        self._good = good
        self._longest = longest
        self._there: dict[str, str] = {}
        self._back: dict[str, str] = {}

    def provider_name(self, name: str) -> str:
        """The name to send."""
        if name not in self._there:
            self._there[name] = sent = self._find_free_name(name)
            self._back[sent] = name
        return self._there[name]

    def caller_name(self, name: str) -> str:
        """The caller's own name."""
        return self._back.get(name, name)

    def _find_free_name(self, name: str) -> str:
        if self._good.fullmatch(name) and name not in self._back:
            return name
        # The underscore first: some APIs refuse a name that begins with a digit.
        base = "_" + re.sub(r"[^A-Za-z0-9_-]", "_", name)[: self._longest - 6]
        number = 1
        while (found := base if number == 1 else f"{base}_{number}") in self._back:
            number += 1
        return found


class NameTranslator:
    """Names in the characters that an API takes, unique, and back again.

    ``bad`` matches the characters that are replaced by "_"; a name has at most ``longest`` characters.
    """

    def __init__(self, longest: int = 128, bad: str = "[^a-zA-Z0-9_-]") -> None:
        self._longest = longest
        self._bad = re.compile(bad)
        self._there: dict[str, str] = {}
        self._back: dict[str, str] = {}
        self._numbers: dict[str, int] = {}  # the last one given to a name, so that the next is found at once

    def is_good(self, name: str) -> bool:
        """Whether the API takes ``name`` as it is."""
        return 0 < len(name) <= self._longest and self._bad.search(name) is None

    def reserve_names(self, names: Iterable[str]) -> None:
        """Give good names to themselves before a bad one is changed into one of them."""
        for name in sorted(names, key=lambda name: not self.is_good(name)):
            self.provider_name(name)

    def provider_name(self, name: str) -> str:
        """What to send for ``name``: the same every time."""
        if name not in self._there:
            self._there[name] = self.fresh_name(name)
        return self._there[name]

    def known_name(self, name: str) -> str:
        """What is sent for ``name``, if it has been named before; else the name itself."""
        return self._there.get(name, name)

    def fresh_name(self, name: str) -> str:
        """What to send for one more thing called ``name``: different from all before."""
        base = self._bad.sub("_", name)[: self._longest] or "_"
        sent, number = base, self._numbers.get(base, 1)
        while sent in self._back:
            number += 1
            # Room for a number of seven digits, so that the name never exceeds the limit.
            sent = f"{base[: self._longest - 8]}_{number}"
        self._numbers[base] = number
        self._back[sent] = name
        return sent

    def caller_name(self, sent: str) -> str:
        """The caller's own name."""
        return self._back.get(sent, sent)
