"""Images, documents and sound inside a call: ``data:`` URLs, bare base64, links, and media types.

Clients label and wrap bytes in many ways; providers decode strictly. So two rules hold for every provider that is
given bytes: base64 goes out in its canonical form, and what the bytes themselves show counts more than their label.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final
from urllib.parse import unquote

from attrs import frozen

from fwd_server.values.errors import Refused


@frozen
class InlineMedia:
    """Bytes inside a call: ``mime`` is their media type in lower case, ``data`` their canonical base64."""

    mime: str
    data: str


# "data: image/png ; base64 ," is legal too: https://fetch.spec.whatwg.org/#data-url-processor. Everything before the
# comma is bounded: megabytes without a comma would otherwise be searched again from each of their characters.
_DATA_URL: Final = re.compile(
    r"\s{0,8}data:(?P<mime>[^;,]{0,127})(?:;[^;,]{0,127}){0,8}?;\s{0,8}base64\s{0,8},", re.IGNORECASE
)
_UNKNOWN_TYPE: Final = "application/octet-stream"


def read_data_url(url: str, provider: str, where: str) -> InlineMedia:
    """Read a ``data:`` URL; the type is the one its first bytes show, else the one it is labelled with.

    Raises Refused for a link (the gateway never opens one here, contract T20) and for anything else.
    """
    match = _DATA_URL.match(url)
    if match:
        data = canonical_base64(url[match.end() :])
        # What the bytes show comes first: providers refuse an image whose label is wrong.
        return InlineMedia(media_type(first_bytes(data)) or match["mime"].strip().lower() or _UNKNOWN_TYPE, data)
    if is_link(url):
        raise link_refused(provider, where)
    raise Refused(f"Invalid value for '{where}': expected a base64 'data:' URL.", code=None, param=where)


def bare_base64(written: str) -> str:
    """The canonical base64 of sound, which OpenAI takes bare; some clients send a ``data:`` URL all the same."""
    match = _DATA_URL.match(written)
    return canonical_base64(written[match.end() :] if match else written)


_CANONICAL: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_URL_SAFE: Final = str.maketrans("-_", "+/")


def canonical_base64(written: str) -> str:
    """Base64 as strict decoders take it, of base64 as lenient ones do.

    A URL's escapes are undone, white space is left out, the URL-safe alphabet becomes the standard one, and missing
    padding is added (https://infra.spec.whatwg.org/#forgiving-base64-decode). What is not base64 at all stays as it
    is, for the provider to refuse in its own words.
    """
    # Most data is canonical already, and may be 20 MB: one pass of the pattern, and no copy.
    if len(written) % 4 == 0 and _CANONICAL.fullmatch(written):
        return written
    plain = "".join((unquote(written) if "%" in written else written).split()).translate(_URL_SAFE)
    digits = plain.rstrip("=")
    return digits + "=" * (-len(digits) % 4) if len(digits) % 4 != 1 and _CANONICAL.fullmatch(digits) else plain


def first_bytes(data: str) -> bytes:
    """The first 24 bytes of base64 ``data``: enough to know a type by; none where they cannot be decoded."""
    # 32 characters are 24 bytes: decoding the whole of 20 MB for its type would stop everybody else.
    start = data[:32]
    try:
        return base64.b64decode(start + "=" * (-len(start) % 4))
    except binascii.Error:
        return b""


def is_link(url: str) -> bool:
    """Whether a URL leads into the network."""
    return re.match(r"https?:", url, re.IGNORECASE) is not None


# Images begin with these bytes; what they are labelled as is often wrong.
_IMAGE_STARTS: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
)
# What only some providers take. Cameras label HEIC as JPEG, and callers put a PDF where a picture is expected.
_OTHER_STARTS: Final = (
    (re.compile(rb".{4}ftyp(?:heic|heix|heim|heis|hevc|hevx)", re.DOTALL), "image/heic"),
    (re.compile(rb".{4}ftyp(?:mif1|msf1)", re.DOTALL), "image/heif"),
    (re.compile(rb".{4}ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb"%PDF-"), "application/pdf"),
)


# The images that every provider with eyes takes.
IMAGES: Final = frozenset(mime for _, mime in _IMAGE_STARTS)


def image_type(start: bytes) -> str | None:
    """The media type of an image by its first 12 bytes; None if it is not one of ``IMAGES``."""
    return next((mime for pattern, mime in _IMAGE_STARTS if pattern.match(start)), None)


def media_type(start: bytes) -> str | None:
    """The media type that the first 12 bytes show; None where only the label can say (text, sound, films)."""
    return image_type(start) or next((mime for pattern, mime in _OTHER_STARTS if pattern.match(start)), None)


def link_refused(provider: str, where: str) -> Refused:
    """The provider needs bytes where the caller gave a link."""
    return Refused(
        f"'{where}' is a link, but {provider} only accepts images and files as bytes. Send a base64 'data:' URL, or "
        "set FWD_FETCH_IMAGES=public on the gateway.",
        code="image_link_not_supported",
        param=where,
    )


def part_refused(kind: str, provider: str, where: str) -> Refused:
    """The provider has nothing like this kind of part."""
    return Refused(f"{provider} does not take the content part '{where}' of type '{kind}'.", param=where)
