"""Redact a provider's text so that it may be shown: no keys, no internal addresses, no control characters.

A provider may quote the key it refused, or the host behind it that failed (contract S12, S13, T16).
"""

from __future__ import annotations

import re
from typing import Final

from fwd_server.values.secret import Secret

LONGEST: Final = 2000  # characters of a provider's message that are passed on
_HIDDEN: Final = "***"

# C0 and C1 controls but for tab and newline, and the characters that reorder or hide text (contract T25).
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")

_TOKENS: Final = re.compile(
    r"""
      \b(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=*-]{6,}             # an authorization value
    | \b(?:sk|pk|rk|gsk|fwd|xai|pplx|csk|fw|tgp|hf|key)[-_][A-Za-z0-9_*-]{6,}[A-Za-z0-9_*.-]*  # keys say whose they are
    | \bAIza[A-Za-z0-9_*-]{6,}                                 # Google
    | \beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*  # a JSON web token
    | (?<=[?&])(?:key|api_key|token|access_token)=[^\s&"'<>)]+  # a key in a query
    """,
    re.VERBOSE,
)

# Hosts that nobody outside can reach, or that tell how the inside is laid out: private, shared and link-local
# addresses, IPv6 in brackets, names without a public ending.
_INTERNAL: Final = r"""
    (?: (?:127|10|0)(?:\.\d{1,3}){3}
      | 192\.168(?:\.\d{1,3}){2} | 169\.254(?:\.\d{1,3}){2} | 172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2}
      | 100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])(?:\.\d{1,3}){2}
      | \[[0-9A-Fa-f:.%]{2,45}\]
      | localhost
      | (?:[A-Za-z0-9_-]{1,63}\.){1,8}(?:internal|local|localdomain|lan|intranet|corp|svc)
    )(?![A-Za-z0-9-])"""
_SCHEME: Final = r"\b[a-z][a-z0-9+]{1,15}://(?:[^\s/@\"'<>]{0,256}@)?"
_REST: Final = r"[^\s\"'<>)\]]*"
_ADDRESSES: Final = re.compile(
    rf"""
      {_SCHEME}{_INTERNAL}{_REST}                                             # a URL that leads inside
    | {_SCHEME}[A-Za-z0-9_-]{{1,63}}(?::\d{{1,5}})?(?=[/\s\"'<>)\],]|$){_REST}  # a URL of a bare name
    | (?<![\w.]){_INTERNAL}(?::\d{{1,5}})?                                    # such a host alone
    | (?<![\w.])\d{{1,3}}(?:\.\d{{1,3}}){{3}}:\d{{1,5}}\b                      # any address with a port
    """,
    re.VERBOSE,
)


def redact_text(text: str, *secrets: Secret | None) -> str:
    """``text`` in at most 2000 characters, with every secret, key-like word and internal address as ``***``.

    ``secrets`` are replaced wherever they stand, whole; the rest goes by form.
    """
    # One secret may begin within the cut and end after it, so the cut comes last; a bound comes first (T38).
    # The patterns are linear, but an answer of megabytes would still hold up the event loop.
    text = text[: 4 * LONGEST]
    for secret in filter(None, secrets):
        text = text.replace(secret.with_prefix("").reveal(), _HIDDEN)
    text = _CONTROLS.sub(" ", text)
    text = _TOKENS.sub(_HIDDEN, _ADDRESSES.sub(_HIDDEN, text)).strip()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
