"""Which pages of other origins may call: none, unless ``FWD_CORS_ORIGINS`` lists them (contract T21).

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

_NAMES: Final = re.compile(r"[A-Za-z0-9-]{1,64}(?:\s*,\s*[A-Za-z0-9-]{1,64}){0,63}")
# A browser hides every header of an answer but a few; `*` does it for all, but not in every browser.
_EXPOSED: Final = (
    "x-request-id, x-fwd-provider, x-fwd-model, x-fwd-attempts, x-fwd-dropped, x-fwd-changed, x-fwd-skipped, "
    "x-fwd-upstream-request-id, x-fwd-call-id, x-fwd-cost, x-fwd-cost-kind, x-fwd-budget-left, x-fwd-budget, "
    "x-fwd-replacement, deprecation, sunset, server-timing, retry-after, retry-after-ms, x-should-retry"
)
_METHODS: Final = "GET, POST, DELETE"
# Chrome caps it at two hours and Firefox at a day; an hour keeps a changed setting from lingering.
_AN_HOUR_S: Final = "3600"


@frozen
class CorsPolicy:
    """The allowed origins; ``*`` among them allows all. Never with credentials: a key in a header is the way in."""

    origins: frozenset[str] = frozenset()

    def answer_headers(self, headers: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        """What an answer must say for the page that asked to see it; nothing for everybody else.

        ``Vary`` is also there when an origin is refused, so that no cache gives one page's answer to another.
        """
        if not self.origins:
            return ()
        origin = headers.get("origin")
        allowed = self._allowed_origin(origin)
        if allowed is None:
            return (("Vary", "Origin"),)
        vary = () if allowed == "*" else (("Vary", "Origin"),)
        return (("Access-Control-Allow-Origin", allowed), ("Access-Control-Expose-Headers", _EXPOSED), *vary)

    def is_preflight(self, method: str | None, headers: Mapping[str, Any]) -> bool:
        """Whether a browser asks first, which it does without a key."""
        return bool(self.origins) and method == "OPTIONS" and "access-control-request-method" in headers

    def preflight_headers(self, headers: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        """The answer to a browser that asks whether a page may call."""
        if self._allowed_origin(headers.get("origin")) is None:
            return self.answer_headers(headers)
        # Names are sent back only in a harmless form: they go into a header of ours (contract T18).
        wanted = headers.get("access-control-request-headers", "").strip()
        names = wanted if _NAMES.fullmatch(wanted) else "authorization, content-type, x-api-key"
        return (
            *self.answer_headers(headers),
            ("Access-Control-Allow-Methods", _METHODS),
            ("Access-Control-Allow-Headers", names),  # `*` would not stand for Authorization
            ("Access-Control-Max-Age", _AN_HOUR_S),
        )

    def _allowed_origin(self, origin: str | None) -> str | None:
        if not origin:
            return None
        if "*" in self.origins:
            return "*"
        return origin if origin in self.origins else None
