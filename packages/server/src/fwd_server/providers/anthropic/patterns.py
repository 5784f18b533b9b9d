"""The regular expressions that Claude's structured outputs can compile.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs#pattern-support-regex
"""

from __future__ import annotations

import re
from typing import Final

# What the page lists: literals, classes, \d \w \s, groups, alternatives, anchors and simple quantifiers. References to
# a group, boundaries, look-around, named groups, flags and Unicode classes are not on it. An escaped sign stands for
# itself, and so do the usual escapes of control characters.
_ESCAPE: Final = r"\\(?:[dwsnrtfv]|[^A-Za-z0-9])"
_CLASS: Final = rf"\[\^?(?:{_ESCAPE}|[^\]\\])+\]"
_ATOM: Final = rf"(?:{_ESCAPE}|{_CLASS}|[^\\\[\](){{}}*+?])"
_QUANTIFIER: Final = r"(?:[*+?]|\{(?P<least>\d+)(?:,(?P<most>\d*))?\})"
# One quantifier at most: a second one would make the first lazy or possessive, and neither is listed.
_TOKEN: Final = re.compile(rf"\((?!\?)|\(\?:|(?:\)|{_ATOM}){_QUANTIFIER}?")
_LARGEST_COUNT: Final = 100  # "simple {n,m} cases"; larger ones make the grammar too large


def is_supported(pattern: str) -> bool:
    """Whether ``pattern`` is made of nothing but what is listed."""
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None or any(int(token[name] or 0) > _LARGEST_COUNT for name in ("least", "most")):
            return False
        at = token.end()
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True
