"""Content parts as Gemini's, beside what the wire fixtures show."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.providers.google.helpers import (
    NEWER,
    OLDER,
    PICTURE,
    contents,
    file,
    image,
    refusal,
    user,
)

from fwd_server.providers.google.parts import needs_bytes


@pytest.mark.parametrize(
    ("detail", "model", "level"),
    [("low", NEWER, "LOW"), ("original", NEWER, "HIGH"), ("auto", NEWER, None), ("high", OLDER, None)],
)
def test_detail_is_the_resolution_of_newer_models(detail: str, model: str, level: str | None) -> None:
    part = contents(user(image(PICTURE, detail=detail)), model=model)[0]["parts"][0]
    assert part.get("mediaResolution") == (level and {"level": f"MEDIA_RESOLUTION_{level}"})


@pytest.mark.parametrize(("form", "mime"), [("wav", "audio/wav"), ("mp3", "audio/mp3"), ("flac", "audio/flac")])
def test_sound_has_a_media_type(form: str, mime: str) -> None:
    part = {"type": "input_audio", "input_audio": {"data": "UklG", "format": form}}
    assert contents(user(part))[0]["parts"][0] == {"inlineData": {"mimeType": mime, "data": "UklG"}}


@pytest.mark.parametrize("kind", ["image", "file_data", "file_id"])
def test_googles_own_files_go_by_their_address(kind: str) -> None:
    uri = "gs://bucket/cat.png"
    part = image(uri) if kind == "image" else file(**{kind: uri})
    assert contents(user(part))[0]["parts"][0] == {"fileData": {"fileUri": uri}}


@pytest.mark.parametrize(
    ("part", "code", "param"),
    [
        (image("https://a.b/c.png"), "image_link_not_supported", "image_url.url"),
        (image("HTTP://127.0.0.1/"), "image_link_not_supported", "image_url.url"),
        (image("file:///etc/passwd"), None, "image_url.url"),
        (file(file_data="https://a.b/c.pdf"), "image_link_not_supported", "file.file_data"),
        (file(file_id="file-123"), "unsupported_parameter", "file.file_id"),
        ({"type": "video"}, "unsupported_parameter", None),
    ],
)
def test_a_part_that_cannot_be_sent_is_refused_by_name(
    part: dict[str, Any], code: str | None, param: str | None
) -> None:
    """Contract T20: a link is never opened; it is refused where bytes are needed."""
    error = refusal(messages=[user(part)])
    assert error.code == code
    assert error.param == "messages[0].content[0]" + (f".{param}" if param else "")


@pytest.mark.parametrize(
    ("url", "needed"),
    [
        ("https://example.com/a.png", True),
        ("http://example.com/a.png", True),
        ("https://generativelanguage.googleapis.com/v1beta/files/a", False),
        ("gs://bucket/a.png", False),
        (PICTURE, False),
    ],
)
def test_which_images_have_to_be_fetched(url: str, needed: bool) -> None:
    """Links, but not those to Google's own files."""
    assert needs_bytes(url) is needed
