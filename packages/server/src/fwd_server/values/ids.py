"""Ids for requests and for what a provider leaves without one."""

from __future__ import annotations

import random
import re
import string
from typing import Final

# A letter or digit for each byte; that some come a little more often matters no more than the seed does.
_LETTERS: Final = ((string.ascii_letters + string.digits) * 5)[:256].encode()
# Nothing that could break a header or a log line, and short enough for both.
_KEPT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LENGTH: Final = 29

# Ids tell requests apart and guard nothing: a generator seeded once by the system is enough, and costs no call to it.
_random: Final = random.Random()  # noqa: S311


def new_id(prefix: str) -> str:
    """A fresh id: ``prefix`` and 29 random letters and digits, as OpenAI's own are."""
    return prefix + _random.randbytes(_LENGTH).translate(_LETTERS).decode()


def kept_id(value: str | None) -> str | None:
    """The caller's own request id where it is 1 to 64 of ``A-Za-z0-9._-``; None for a fresh one to be made."""
    return value if value is not None and _KEPT.fullmatch(value) else None


def request_id(value: str | None) -> str:
    """The caller's own request id where it can be kept, else a fresh one."""
    return kept_id(value) or new_id("req_")
