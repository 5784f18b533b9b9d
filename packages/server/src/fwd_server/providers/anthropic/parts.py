"""The caller's content parts as Claude's blocks, and the marks of the prompt cache on them.

https://platform.claude.com/docs/en/api/messages. A block of empty text is an error there, so it is left out here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Final

from fwd_server.providers import lenient, media, request_fields
from fwd_server.providers.anthropic import thoughts
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused

PROVIDER: Final = "anthropic"

Content = str | list[Json]
Reader = Callable[[Json, str], "Json | None"]


def read_content(message: Json, where: str, readers: Mapping[str, Reader]) -> Content:
    """A message's content: a string stays one, parts become blocks, and what has nothing in it is empty.

    Raises Refused for a part that ``readers`` do not have or cannot take.
    """
    given = message.get("content")
    # "text content blocks must be non-empty": white space alone counts as empty there.
    if isinstance(given, str):
        return given if given.strip() else ""
    read = (_read_block(part, f"{where}.content[{i}]", readers) for i, part in enumerate(lenient.objects(given)))
    return [block for block in read if block is not None]


def as_blocks(found: Content) -> list[Json]:
    """Content as blocks, whichever way it was written."""
    if isinstance(found, str):
        return [{"type": "text", "text": found}] if found.strip() else []
    return list(found)


def as_plain(found: list[Json]) -> Content:
    """One unmarked text as a string: the same to the API, and what people write."""
    return found[0]["text"] if len(found) == 1 and "cache_control" not in found[0] else found


def _read_block(part: Json, where: str, readers: Mapping[str, Reader]) -> Json | None:
    read = readers.get(part["type"])
    if read is None:
        raise media.part_refused(part["type"], PROVIDER, where)
    block = read(part, where)
    return None if block is None else with_mark(block, part)


# -- marks of the prompt cache: https://platform.claude.com/docs/en/build-with-claude/prompt-caching

_TTLS: Final = {"5m": "5m", "30m": "1h", "1h": "1h", "12h": "1h", "24h": "1h"}


def cache_mark(item: Json) -> Json | None:
    """The mark on a part, a message or a tool, in Anthropic's words or in OpenAI's."""
    mark = item.get("cache_control") or item.get("prompt_cache_breakpoint")
    if not isinstance(mark, dict):
        return None
    ttl = cache_ttl(mark)
    return {"type": "ephemeral", "ttl": ttl} if ttl else {"type": "ephemeral"}


def cache_ttl(mark: Json) -> str | None:
    """How long a mark keeps what it marks, as the API has it; None for its default, which is five minutes."""
    return _TTLS.get(lenient.text(mark.get("ttl")))


def with_mark(block: Json, item: Json) -> Json:
    """``block`` with the mark that ``item`` has."""
    mark = cache_mark(item)
    return {**block, "cache_control": mark} if mark else block


def mark_last(found: Content, message: Json) -> Content:
    """Content with a message's own mark, which sits on the last block that may have one: thinking may not."""
    if not found or cache_mark(message) is None:
        return found
    marked_blocks = as_blocks(found)
    # There is always one: a message with nothing but thinking was left out before.
    last = max(i for i, block in enumerate(marked_blocks) if block["type"] not in thoughts.KINDS)
    marked_blocks[last] = with_mark(marked_blocks[last], message)
    return marked_blocks


# -- texts and images


def _read_text(part: Json, where: str) -> Json | None:
    text = request_fields.require_field(part, part["type"], where)
    return {"type": "text", "text": text} if text.strip() else None


def needs_bytes(url: str) -> bool:
    """Whether an image at ``url`` must be fetched first: Claude opens ``https:`` links itself, and no others."""
    return url[:5].lower() == "http:"


def _read_image(part: Json, where: str) -> Json:
    """An image, or a document where the label or the first bytes say that it is a PDF."""
    url = request_fields.require_field(part, "image_url", where)["url"]
    at = f"{where}.image_url.url"
    # Claude fetches these itself, so the gateway need not open a caller's link (contract T20).
    if url[:6].lower() == "https:":
        # A PDF in the place of an image is a common mistake; its name is all that a link shows of it.
        kind = "document" if _PDF_LINK.match(url) else "image"
        return {"type": kind, "source": {"type": "url", "url": url}}
    if needs_bytes(url):
        raise Refused(
            f"'{at}' is an 'http:' link, and anthropic opens 'https:' links only. Send such a link or a base64 'data:' "
            "URL, or set FWD_FETCH_IMAGES=public on the gateway.",
            code="image_link_not_supported",
            param=at,
        )
    found = media.read_data_url(url, PROVIDER, at)
    return _document_block(found, at, None) if found.mime == _PDF else _image_block(found, at)


_PDF: Final = "application/pdf"
_PDF_LINK: Final = re.compile(r"[^?#]*\.pdf(?:[?#]|$)", re.IGNORECASE)


def _image_block(found: media.InlineMedia, where: str) -> Json:
    if found.mime not in media.IMAGES:
        raise Refused(f"anthropic takes images as jpeg, png, gif or webp; '{where}' is {found.mime}.", param=where)
    return {"type": "image", "source": {"type": "base64", "media_type": found.mime, "data": found.data}}


# -- files


def _read_file(part: Json, where: str) -> Json:
    file = request_fields.require_field(part, "file", where)
    if file.get("file_data"):
        return _inline_file(file, f"{where}.file.file_data")
    return _stored_file(file, f"{where}.file.file_id")


def _inline_file(file: Json, where: str) -> Json:
    found = media.read_data_url(file["file_data"], PROVIDER, where)
    if found.mime.startswith("image/"):
        return _image_block(found, where)
    return _document_block(found, where, file.get("filename"))


def _document_block(found: media.InlineMedia, where: str, title: str | None) -> Json:
    return {"type": "document", "source": _document_source(found, where), **({"title": title} if title else {})}


def _document_source(found: media.InlineMedia, where: str) -> Json:
    if found.mime == _PDF:
        return {"type": "base64", "media_type": found.mime, "data": found.data}
    if found.mime.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": _decode_text(found.data, where)}
    raise Refused(f"anthropic takes PDF, text and image files; '{where}' is {found.mime}.", param=where)


def _decode_text(data: str, where: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Refused(f"Invalid value for '{where}': expected UTF-8 text in base64.", code=None, param=where) from None


_IMAGE_NAME: Final = re.compile(r"\.(?:jpe?g|png|gif|webp)$", re.IGNORECASE)


def _stored_file(file: Json, where: str) -> Json:
    """A file the provider keeps. Its id does not say what it is; its name may."""
    file_id = file.get("file_id") or ""
    if not file_id.startswith("file_"):
        raise Refused(
            f"'{where}' is not the id of a file at anthropic (they begin with 'file_'): send the file itself in "
            "'file_data', as a base64 'data:' URL.",
            param=where,
        )
    name = file.get("filename") or ""
    if _IMAGE_NAME.search(name):
        return {"type": "image", "source": {"type": "file", "file_id": file_id}}
    return {"type": "document", "source": {"type": "file", "file_id": file_id}, **({"title": name} if name else {})}


def has_title(file: Json) -> bool:
    """Whether a file becomes a document, which has its name as title; images have none."""
    if file.get("file_data"):
        return not media.read_data_url(file["file_data"], PROVIDER, "file_data").mime.startswith("image/")
    return _IMAGE_NAME.search(file.get("filename") or "") is None


# Who may say what. Claude does not hear: there is nothing for ``input_audio``.
SYSTEM: Final[Mapping[str, Reader]] = {"text": _read_text}
ASSISTANT: Final[Mapping[str, Reader]] = {"text": _read_text, "refusal": _read_text}
USER: Final[Mapping[str, Reader]] = {"text": _read_text, "image_url": _read_image, "file": _read_file}
