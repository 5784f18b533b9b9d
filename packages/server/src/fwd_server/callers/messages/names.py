"""Names of tools that other providers take: at most 64 characters of A-Z, a-z, 0-9, "_" and "-"."""

from __future__ import annotations

import hashlib
import re
from typing import Final

LONGEST: Final = 64
_KEPT: Final = 55  # of a name that is too long: the rest is "_" and eight digits of its hash
_BAD: Final = re.compile(r"[^A-Za-z0-9_-]")


class ToolNames:
    """The names of one call's tools: the same name always becomes the same, in tools, history and answers."""

    def __init__(self) -> None:
        self._back: dict[str, str] = {}

    def there(self, name: str) -> str:
        """The name that is sent."""
        sent = sent_name(name)
        if sent != name:
            self._back[sent] = name
        return sent

    def back(self, sent: str) -> str:
        """The caller's own name."""
        return self._back.get(sent, sent)


def sent_name(name: str) -> str:
    """A name in the characters and the length that every provider takes; MCP's are often longer."""
    plain = _BAD.sub("_", name)
    if len(plain) <= LONGEST:
        return plain
    return f"{plain[:_KEPT]}_{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"
