"""Content blocks as parts of the chat shape: text, images, documents, search results.

https://platform.claude.com/docs/en/api/messages/create
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fwd_server.callers.messages.fields import invalid, optional_text, read_blocks, read_object, read_text
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused
from fwd_server.values.foreign import TargetTraits

PDF: Final = "application/pdf"
# What the provider's own tools have done. The blocks answer each other, so leaving out all of them is legal.
_OF_SERVER_TOOLS: Final = ("server_tool_use", "container_upload", "mcp_tool_use", "mcp_tool_result")
_MEDIA: Final = ("image_url", "file")


def is_of_server_tool(block: Json) -> bool:
    """Whether a block is a step of a tool that runs at Anthropic; the result of a caller's own tool is not."""
    kind: str = block["type"]
    return kind in _OF_SERVER_TOOLS or (kind.endswith("_tool_result") and kind != "tool_result")


class PartReader:
    """Blocks to parts, for one target. ``dropped`` gathers what was left out."""

    def __init__(self, target: TargetTraits, dropped: set[str]) -> None:
        self._target = target
        self._dropped = dropped

    def read_part(self, block: Json, where: str) -> list[Json]:
        """The parts of a block; none for one that says nothing. Raises BadRequest for a type nobody knows."""
        kind = block["type"]
        if kind == "text":
            text = read_text(block, "text", where)
            return [self._marked({"type": "text", "text": text}, block)] if text else []
        if kind == "image":
            return [self._marked(_image_part(block, where), block)]
        if kind == "document":
            return [self._marked(part, block) for part in self._document_parts(block, where)]
        if kind == "search_result":
            return [self._marked({"type": "text", "text": _search_text(block, where)}, block)]
        raise invalid(f"{where}.type", f"{kind[:64]!r} cannot stand here")

    def _marked(self, part: Json, block: Json) -> Json:
        """With its cache mark, for a provider that reads those."""
        mark = block.get("cache_control")
        return {**part, "cache_control": mark} if mark and "cache_control" in self._target.takes else part

    def _document_parts(self, block: Json, where: str) -> list[Json]:
        source = read_object(block, "source", where)
        if (block.get("citations") or {}) not in ({}, {"enabled": False}):
            self._dropped.add("citations")
        kind, at = read_text(source, "type", f"{where}.source"), f"{where}.source"
        title = optional_text(block, "title", where)
        if kind == "base64":
            # The only type that Anthropic takes in base64 documents.
            media = source.get("media_type") or PDF
            data = f"data:{media};base64,{read_text(source, 'data', at)}"
            return [{"type": "file", "file": {"filename": title or "document.pdf", "file_data": data}}]
        if kind == "text":
            lines = [f"Title: {title}"] if title else []
            context = optional_text(block, "context", where)
            lines += [f"Context: {context}"] if context else []
            return [{"type": "text", "text": "\n".join([*lines, read_text(source, "data", at)])}]
        if kind == "content":
            inner = read_blocks(source.get("content"), f"{at}.content")
            return [part for path, one in inner for part in self.read_part(one, path)]
        if kind == "url":
            raise Refused(
                f"{at}: {self._target.provider or 'The provider'} opens no links to documents, and the gateway does "
                "not either. Send the document in base64.",
                code="image_link_not_supported",
                param=at,
            )
        raise _no_such_source(kind, at)


def is_media(part: Json) -> bool:
    """Whether a part is a picture or a file."""
    return part["type"] in _MEDIA


def texts_of(content: object) -> Iterator[str]:
    """Every text in a content, at any depth of results and documents; for estimates, so nothing is refused."""
    if isinstance(content, str):
        yield content
        return
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, dict):
            continue
        for name in ("text", "thinking"):
            if isinstance(block.get(name), str):
                yield block[name]
        source = block.get("source")
        if isinstance(source, dict) and source.get("type") in ("text", "content"):
            yield from texts_of(source.get("data") or source.get("content"))
        yield from texts_of(block.get("content"))


def _image_part(block: Json, where: str) -> Json:
    source, at = read_object(block, "source", where), f"{where}.source"
    kind = read_text(source, "type", at)
    if kind == "base64":
        url = f"data:{read_text(source, 'media_type', at)};base64,{read_text(source, 'data', at)}"
    elif kind == "url":
        url = read_text(source, "url", at)
    else:
        raise _no_such_source(kind, at)
    return {"type": "image_url", "image_url": {"url": url}}


def _search_text(block: Json, where: str) -> str:
    inner = read_blocks(block.get("content"), f"{where}.content")
    texts = [read_text(one, "text", path) for path, one in inner if one["type"] == "text"]
    return "\n".join([read_text(block, "title", where), read_text(block, "source", where), *texts])


def _no_such_source(kind: str, at: str) -> Exception:
    if kind == "file":
        return Refused(
            f"{at}: a file that was uploaded to Anthropic can only be read there. Send it in base64.",
            code="unsupported_parameter",
            param=at,
        )
    return invalid(f"{at}.type", f"{kind[:64]!r} is no source that is known")
