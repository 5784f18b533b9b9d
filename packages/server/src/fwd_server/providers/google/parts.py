"""OpenAI's content parts as Gemini's.

https://ai.google.dev/api/caching#Part
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from fwd_server.providers import media, request_fields
from fwd_server.providers.google.traits import PROVIDER, Traits
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused

_FILES: Final = re.compile(r"(?:https://generativelanguage\.googleapis\.com/v1beta/files/|gs://)\S+")
_DETAILS: Final = {"low": "LOW", "medium": "MEDIUM", "high": "HIGH", "original": "HIGH"}
_SOUNDS: Final = {"wav": "audio/wav", "mp3": "audio/mp3"}


def _text_part(part: Json, where: str, traits: Traits) -> Json:
    return {"text": request_fields.require_field(part, part["type"], where)}


def _image_part(part: Json, where: str, traits: Traits) -> Json:
    image = request_fields.require_field(part, "image_url", where)
    image_part = _media_part(image["url"], f"{where}.image_url.url")
    # Only Gemini 3 and later have a resolution of their own for each part.
    level = _DETAILS.get(image.get("detail") or "")
    if level and traits.newer:
        return {**image_part, "mediaResolution": {"level": f"MEDIA_RESOLUTION_{level}"}}
    return image_part


def _audio_part(part: Json, where: str, traits: Traits) -> Json:
    sound = request_fields.require_field(part, "input_audio", where)
    kind = sound["format"]
    return {"inlineData": {"mimeType": _SOUNDS.get(kind, f"audio/{kind}"), "data": media.bare_base64(sound["data"])}}


def _file_part(part: Json, where: str, traits: Traits) -> Json:
    file = request_fields.require_field(part, "file", where)
    if file.get("file_data"):
        return _media_part(file["file_data"], f"{where}.file.file_data")
    at = f"{where}.file.file_id"
    uri = file.get("file_id") or ""
    if _FILES.fullmatch(uri):
        return {"fileData": {"fileUri": uri}}
    raise Refused(
        f"Invalid value for '{at}': {PROVIDER} only accepts URIs of its own Files API and gs:// URIs.", param=at
    )


def needs_bytes(url: str) -> bool:
    """Whether an image at ``url`` must be fetched first: Gemini opens no links but those to its own files."""
    return media.is_link(url) and not _FILES.fullmatch(url)


def _media_part(url: str, where: str) -> Json:
    if _FILES.fullmatch(url):
        return {"fileData": {"fileUri": url}}
    inline = media.read_data_url(url, PROVIDER, where)
    return {"inlineData": {"mimeType": inline.mime, "data": inline.data}}


_READ: Final[Mapping[str, Callable[[Json, str, Traits], Json]]] = {
    "text": _text_part,
    "refusal": _text_part,
    "image_url": _image_part,
    "input_audio": _audio_part,
    "file": _file_part,
}


def read_part(part: Json, where: str, traits: Traits) -> Json:
    """One part; ``where`` is its place in the call. Raises Refused for what Gemini, or the gateway, cannot take."""
    reader = _READ.get(part["type"])
    if reader is None:
        raise media.part_refused(part["type"], PROVIDER, where)
    return reader(part, where, traits)
