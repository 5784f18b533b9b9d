"""Images and files inside a call: ``data:`` URLs, links, and media types told by the first bytes."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from fwd_server.values.errors import Refused


@frozen
class Inline:
    """What a ``data:`` URL holds: the media type, and the bytes in base64 as they were written."""

    mime: str
    data: str


_DATA_URL: Final = re.compile(r"data:(?P<mime>[^;,]*)[^,]*;base64,", re.IGNORECASE)


def inline(url: str, provider: str, where: str) -> Inline:
    """Read a ``data:`` URL. Raises Refused for a link: the gateway never opens one (contract T20)."""
    match = _DATA_URL.match(url)
    if match:
        return Inline(match["mime"].lower() or "application/octet-stream", url[match.end() :])
    if is_link(url):
        raise link_refused(provider, where)
    raise Refused(f"Invalid value for '{where}': expected a base64 'data:' URL.", code=None, param=where)


def is_link(url: str) -> bool:
    """Whether a URL leads into the network."""
    return re.match(r"https?:", url, re.IGNORECASE) is not None


# Images begin with these bytes; what they are labelled as is often wrong.
_MAGIC: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
)


IMAGES: Final = frozenset(mime for _, mime in _MAGIC)


def image_type(start: bytes) -> str | None:
    """The media type of an image by its first 12 bytes; None if it is none of ``IMAGES``."""
    return next((mime for magic, mime in _MAGIC if magic.match(start)), None)


def link_refused(provider: str, where: str) -> Refused:
    """The provider needs bytes where the caller gave a link."""
    return Refused(
        f"'{where}' is a link, and {provider} takes images and files only as bytes. Send a base64 'data:' URL, or set "
        "FWD_FETCH_IMAGES=public on the gateway.",
        code="image_link_not_supported",
        param=where,
    )


def part_refused(kind: str, provider: str, where: str) -> Refused:
    """The provider has nothing like this kind of part."""
    return Refused(f"{provider} does not take the content part '{where}' of type '{kind}'.", param=where)
