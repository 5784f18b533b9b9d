"""Pictures that Gemini makes: Markdown for the caller, as OpenAI has no place for them, and parts on the way back.

A picture goes back as the ``inlineData`` part that it was: as text it would be megabytes of base64 in the prompt.
Signatures belong to parts (https://ai.google.dev/gemini-api/docs/thought-signatures), and a message has one text for
all of its parts. So beside ``thought_signature``, which is Google's own place for the last of them, a message with
pictures lists them all in ``thought_signatures``: one for each text and picture that its content is made of.
"""

from __future__ import annotations

import re
from typing import Final

from fwd_server.providers.lenient import obj, text
from fwd_server.values.chat import Json

_MIME: Final = re.compile(r"image/[\w.+-]+")
_MARKDOWN: Final = re.compile(r"!\[image\]\(data:(image/[\w.+-]+);base64,([A-Za-z0-9+/=_-]+)\)")


def picture_markdown(data: Json) -> str:
    """An ``inlineData`` object as a Markdown image; empty for anything that is not a picture."""
    mime, encoded = text(data.get("mimeType")), text(data.get("data"))
    return f"![image](data:{mime};base64,{encoded})" if _MIME.fullmatch(mime) and encoded else ""


def split_pictures(content: str) -> list[Json]:
    """The parts that a content is made of: its texts, and every picture that stands in it as Markdown."""
    parts: list[Json] = []
    end = 0
    for match in _MARKDOWN.finditer(content):
        parts += [{"text": content[end : match.start()]}] if match.start() > end else []
        parts.append({"inlineData": {"mimeType": match[1], "data": match[2]}})
        end = match.end()
    return [*parts, {"text": content[end:]}] if end < len(content) else parts


def signature_fields(content: str, signatures: list[tuple[int, str]]) -> Json:
    """The ``extra_content`` of a message with this content; ``signatures`` have the place where their part ends.

    It is one object for the whole message, for a stream too: OpenAI's SDKs would join the texts of two.
    """
    if not signatures:
        return {}
    google: Json = {"thought_signature": signatures[-1][1]}
    ends = _part_ends(content)
    if len(ends) > 1:
        listed = [""] * len(ends)
        for place, signature in signatures:
            listed[next(i for i, end in enumerate(ends) if place <= end)] = signature
        google["thought_signatures"] = listed
    return {"extra_content": {"google": google}}


def sign_parts(parts: list[Json], message: Json) -> list[Json]:
    """The parts of an earlier answer with their signatures; where they cannot be told apart, the last part has it."""
    google = obj(obj(message.get("extra_content")).get("google"))
    listed, last = google.get("thought_signatures"), text(google.get("thought_signature"))
    if isinstance(listed, list) and len(listed) == len(parts):
        pairs = zip(parts, map(text, listed), strict=True)
        return [{**part, "thoughtSignature": signature} if signature else part for part, signature in pairs]
    if not last:
        return parts
    # A stream may bring the signature after everything else, on a part with no text of its own.
    parts = parts or [{"text": ""}]
    return [*parts[:-1], {**parts[-1], "thoughtSignature": last}]


def _part_ends(content: str) -> list[int]:
    """Where each part of ``split_pictures`` ends."""
    ends: list[int] = []
    for match in _MARKDOWN.finditer(content):
        ends += [match.start()] if match.start() > (ends[-1] if ends else 0) else []
        ends.append(match.end())
    return [*ends, len(content)] if not ends or ends[-1] < len(content) else ends
