"""Content parts as blocks."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.server.providers.anthropic.helpers import sent

from fwd_server.values.errors import Refused

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()


def blocks(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sent(messages=[{"role": "user", "content": list(parts)}])["messages"][0]["content"]
    return found


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def file(**fields: str) -> dict[str, Any]:
    return {"type": "file", "file": fields}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_empty_texts_are_left_out() -> None:
    """The API answers 400 to a block of white space (pitfall 19)."""
    assert blocks({"type": "text", "text": " \n"}, {"type": "text", "text": "Hi"}) == [{"type": "text", "text": "Hi"}]


@pytest.mark.parametrize(
    ("start", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\n\r\x00\x00WEBP", "image/webp"),
    ],
)
def test_an_image_is_what_its_bytes_say(start: bytes, mime: str) -> None:
    """A wrong label is put right."""
    (block,) = blocks(image(f"data:image/bmp;base64,{encoded(start + bytes(12))}"))
    assert block["source"]["media_type"] == mime


def test_an_image_that_is_not_recognised_keeps_its_label() -> None:
    """The API decides about it."""
    (block,) = blocks(image("data:image/png;base64,AAAA"), {"type": "text", "text": ""})
    assert block["source"] == {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    (block,) = blocks(image("data:image/png;base64,A"))
    assert block["source"]["data"] == "A"


def test_a_link_is_passed_on_and_never_opened() -> None:
    """Contract T20: https as it is, http and files are refused."""
    assert blocks(image("HTTPS://a.example/b.png"))[0]["source"] == {"type": "url", "url": "HTTPS://a.example/b.png"}
    with pytest.raises(Refused, match=r"'https:' links only.*FWD_FETCH_IMAGES") as caught:
        blocks(image("http://a.example/b.png"))
    assert caught.value.code == "image_link_not_supported"
    with pytest.raises(Refused, match="data:"):
        blocks(image("file:///etc/passwd"))


def test_a_file_by_its_type() -> None:
    """PDF, text and images; the name of a document is its title."""
    pdf, words, picture = blocks(
        file(file_data="data:application/pdf;base64,AAAA"),
        file(file_data=f"data:text/csv;charset=utf-8;base64,{encoded('a;ü'.encode())}", filename="t.csv"),
        file(file_data=f"data:image/png;base64,{PNG}", filename="p.png"),
    )
    assert "title" not in pdf
    assert (words["source"]["data"], words["title"]) == ("a;ü", "t.csv")
    assert picture["type"] == "image"


def test_a_stored_file_is_an_image_by_its_name() -> None:
    """Its id alone does not say."""
    assert blocks(file(file_id="file_1", filename="a.JPG"))[0]["type"] == "image"
    assert blocks(file(file_id="file_1"))[0]["type"] == "document"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (file(file_id="file-openai"), "not the id of a file"),
        (file(filename="a"), "not the id of a file"),
        (file(file_data="data:application/zip;base64,AAAA"), "application/zip"),
        (file(file_data="data:text/plain;base64,/w=="), "UTF-8"),
        (file(file_data="data:text/plain;base64,*"), "UTF-8"),
        (image("data:image/svg+xml;base64,PHN2Zz4="), "svg"),
        ({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, "input_audio"),
        ({"type": "hologram"}, "hologram"),
        ({"type": "text"}, "content.0..text"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(part: dict[str, Any], words: str) -> None:
    """Nothing goes upstream, and the message says where and what."""
    with pytest.raises(Refused, match=words) as caught:
        blocks(part)
    assert (caught.value.param or "").startswith("messages[0].content[0]")


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ({"cache_control": {"type": "ephemeral"}}, {"type": "ephemeral"}),
        ({"cache_control": {"type": "ephemeral", "ttl": "12h"}}, {"type": "ephemeral", "ttl": "1h"}),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}, {"type": "ephemeral", "ttl": "1h"}),
        ({"cache_control": {"type": "ephemeral", "ttl": "24h"}}, {"type": "ephemeral", "ttl": "1h"}),
        ({"cache_control": {"type": "ephemeral", "ttl": "5m"}}, {"type": "ephemeral", "ttl": "5m"}),
        ({"prompt_cache_breakpoint": {"mode": "explicit"}}, {"type": "ephemeral"}),
        ({"cache_control": "yes"}, None),
    ],
)
def test_cache_marks(mark: dict[str, Any], expected: Any) -> None:
    """In Anthropic's words and in OpenAI's; times it does not know become those it does."""
    (block,) = blocks({"type": "text", "text": "Hi", **mark})
    assert block.get("cache_control") == expected


def test_a_message_is_marked_on_its_last_block() -> None:
    """A string becomes a block to carry the mark; what is empty carries none."""
    mark = {"cache_control": {"type": "ephemeral"}}
    empty = {"role": "user", "content": "", **mark}
    (turn,) = sent(messages=[{"role": "user", "content": "Hi", **mark}, empty])["messages"]
    assert turn["content"] == [{"type": "text", "text": "Hi", **mark}]


PDF = encoded(b"%PDF-1.4\n1 0 obj<<>>endobj")
DOCUMENT = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}


@pytest.mark.parametrize(
    "part",
    [
        image(f"data:application/pdf;base64,{PDF}"),
        image(f"data:image/png;base64,{PDF}"),
        image(f"data:;base64,{PDF}"),
        file(file_data=f"data:application/octet-stream;base64,{PDF}"),
        image(f"data:application/pdf;base64,{PDF[:8]}\n{PDF[8:]}"),
    ],
)
def test_a_pdf_is_a_document_wherever_it_stands(part: dict[str, Any]) -> None:
    """Its label says so, or its first bytes."""
    assert blocks(part) == [DOCUMENT]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://a.example/b.pdf", "document"),
        ("https://a.example/b.PDF?page=1", "document"),
        ("https://a.example/b.pdf.png", "image"),
        ("https://a.example/?name=b.pdf", "image"),
    ],
)
def test_a_link_is_what_its_path_says(url: str, kind: str) -> None:
    """More is not known of it here."""
    assert blocks(image(url)) == [{"type": kind, "source": {"type": "url", "url": url}}]


def test_a_stored_document_has_its_name_as_title() -> None:
    """As an inline one."""
    source = {"type": "file", "file_id": "file_1"}
    assert blocks(file(file_id="file_1", filename="a.pdf")) == [
        {"type": "document", "source": source, "title": "a.pdf"}
    ]
