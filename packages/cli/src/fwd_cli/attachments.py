"""Files that go with a prompt: texts become part of it, images stand beside it."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from fwd_cli.prompts import usage_error

MOST_BYTES = 20 * 2**20
_IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}

Content = str | list[dict[str, Any]]


def with_files(prompt: str, names: tuple[str, ...]) -> Content:
    """The content of the user's message: the prompt after the texts of the files, and then the images.

    An ``https:`` or ``http:`` address is an image that the provider fetches. Raises ``click.UsageError`` for a file
    that cannot be read, is too large, or is neither text nor an image.
    """
    parts = [_read(name) for name in names]
    text = "\n\n".join([part for part in parts if isinstance(part, str)] + [prompt])
    images = [part for part in parts if not isinstance(part, str)]
    return [{"type": "text", "text": text}, *images] if images else text


def answer_format(name: str) -> dict[str, Any]:
    """``response_format`` for the JSON Schema in a file. Raises ``click.UsageError`` when it holds none."""
    try:
        schema = json.loads(read_bytes(name))
    except ValueError as error:
        raise usage_error(f"{name} is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise usage_error(f"{name} holds no JSON Schema: that is an object")
    title = re.sub("[^A-Za-z0-9_-]", "_", Path(name).stem)[:64]
    return {"type": "json_schema", "json_schema": {"name": title, "schema": schema, "strict": True}}


def _read(name: str) -> str | dict[str, Any]:
    if name.startswith(("https://", "http://")):
        return _image(name)
    data = read_bytes(name)
    if kind := image_type(data):
        return _image(f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise usage_error(f"{name} is neither UTF-8 text nor a PNG, JPEG, GIF or WebP image") from None
    return f"{Path(name).name}:\n{text.rstrip()}"


def read_bytes(name: str) -> bytes:
    """The bytes of a file. Raises ``click.UsageError`` when it cannot be read or is too large."""
    try:
        with Path(name).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise usage_error(f"{name} cannot be read: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise usage_error(f"{name} is larger than {MOST_BYTES // 2**20} MiB")
    return data


def image_type(data: bytes) -> str | None:
    """The media type of an image, by its first bytes; None when it is none we know."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _IMAGES.items() if data.startswith(start)), None)


def _image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}
