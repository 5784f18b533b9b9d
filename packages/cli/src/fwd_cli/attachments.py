"""Files that are sent with a prompt: text joins the prompt, images and PDFs become parts of their own."""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any, TextIO

from fwd_cli.prompts import piped_bytes, usage_error

MOST_BYTES = 20 * 2**20
STDIN = "-"
_IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
_PDF = b"%PDF-"

Content = str | list[dict[str, Any]]
Part = str | dict[str, Any]


def with_files(prompt: str, names: tuple[str, ...], piped: Part | None = None) -> Content:
    """The content of the user message: text files, then what was piped in, then the prompt; other parts after the text.

    An ``https:`` or ``http:`` address is an image that the provider fetches; ``-`` is standard input. Raises
    ``click.UsageError`` for a file that cannot be read, is too large, or is neither text, nor an image, nor a PDF.
    """
    parts = [*(_read_file(name) for name in names), *([piped] if piped else [])]
    # The question comes last, as providers advise for long texts.
    text = "\n\n".join([*(part for part in parts if isinstance(part, str)), *([prompt] if prompt else [])])
    others = [part for part in parts if not isinstance(part, str)]
    # A plain string where one will do: every provider takes that.
    return [*([{"type": "text", "text": text}] if text else []), *others] if others else text


def answer_format(name: str) -> dict[str, Any]:
    """``response_format`` for the JSON Schema in a file. Raises ``click.UsageError`` when it does not hold one."""
    try:
        schema = json.loads(read_bytes(name))
    except ValueError as error:
        raise usage_error(f"{name} is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise usage_error(f"{name} is not a JSON Schema: expected an object")
    # The provider allows these characters in a name, and 64 of them.
    title = re.sub("[^A-Za-z0-9_-]", "_", Path(name).stem)[:64]
    return {"type": "json_schema", "json_schema": {"name": title, "schema": schema, "strict": True}}


def read_content(argument: str | None, files: tuple[str, ...], stdin: TextIO) -> Content:
    """The content of the user message from the argument, the files and what is piped in.

    With ``-`` as the argument standard input is read even on a terminal, until Ctrl-D. Raises ``click.UsageError``
    when there is no text to send, and for every file that cannot be sent.
    """
    if argument == STDIN and STDIN in files:
        raise usage_error("standard input can be read only once: use - as the prompt or with -f, not both")
    piped = None if STDIN in files else _read_piped(stdin, asked=argument == STDIN)
    prompt = "" if argument in (None, STDIN) else str(argument)
    # A file alone is not a question; text that is piped in alone is one.
    if not prompt and not isinstance(piped, str):
        raise usage_error("there is no prompt: give it as an argument, or pipe it in")
    return with_files(prompt, files, piped)


def _read_piped(stdin: TextIO, *, asked: bool) -> Part | None:
    """What is piped in, as text or as a part of its own; None when nothing is."""
    data = _check_size(piped_bytes(stdin, asked=asked), "standard input")
    if not data.strip():
        return None
    part = _part_of(data, "standard input")
    return part.strip("\n") if isinstance(part, str) else part


def _read_file(name: str) -> Part:
    if name.startswith(("https://", "http://")):
        return _image_part(name)
    label = "standard input" if name == STDIN else Path(name).name
    # The name goes along, so that a question can speak of the file.
    part = _part_of(read_bytes(name), label if name == STDIN else name)
    return f"{label}:\n{part.rstrip()}" if isinstance(part, str) else part


def _part_of(data: bytes, name: str) -> Part:
    """Text, or the part of the message that holds these bytes. Only the bytes decide: a file's name may lie."""
    if kind := image_type(data):
        return _image_part(_data_url(kind, data))
    # Checked before the text: a PDF may consist of ASCII characters only, and still is not a text to read.
    if data.startswith(_PDF):
        title = Path(name).name if name != "standard input" else "document.pdf"
        return {"type": "file", "file": {"filename": title, "file_data": _data_url("application/pdf", data)}}
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    # NUL is valid UTF-8, but no text file has it: tar archives and object files of small programs do.
    if "\0" in text:
        raise usage_error(f"{name} is neither UTF-8 text, nor a PNG, JPEG, GIF or WebP image, nor a PDF")
    return text


def read_bytes(name: str) -> bytes:
    """The bytes of a file, or of standard input for ``-``.

    Raises ``click.UsageError`` when it cannot be read or is larger than 20 MiB.
    """
    if name == STDIN:
        return _check_size(piped_bytes(sys.stdin, asked=True), "standard input")
    try:
        with Path(name).open("rb") as file:
            # One byte more than allowed tells a file that is too large, without reading a disk image whole.
            return _check_size(file.read(MOST_BYTES + 1), name)
    except OSError as error:
        raise usage_error(f"{name} cannot be read: {error.strerror}") from error


def _check_size(data: bytes, name: str) -> bytes:
    if len(data) > MOST_BYTES:
        raise usage_error(f"{name} is larger than {MOST_BYTES // 2**20} MiB")
    return data


def image_type(data: bytes) -> str | None:
    """The media type of an image, by its first bytes; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _IMAGES.items() if data.startswith(start)), None)


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _image_part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}
