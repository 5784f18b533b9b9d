"""Bytes inside a call: the base64 that providers take, and the media type that the bytes show."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.providers import golden

from fwd_server.providers import media
from fwd_server.providers.base import UpstreamRequest
from fwd_server.values.errors import Refused

STARTS = {
    "image/png": b"\x89PNG\r\n\x1a\n" + bytes(8),
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(12),
    "image/gif": b"GIF89a" + bytes(10),
    "image/webp": b"RIFF\x10\x00\x00\x00WEBPVP8 ",
    "image/heic": b"\x00\x00\x00\x18ftypheic" + bytes(4),
    "image/heif": b"\x00\x00\x00\x18ftypmif1" + bytes(4),
    "image/avif": b"\x00\x00\x00\x1cftypavif" + bytes(4),
    "application/pdf": b"%PDF-1.7\n1 0 obj",
}
LABELS = ("image/jpg", "image/png", "IMAGE/PNG", "application/octet-stream", "binary", "", "text/plain")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("url", "mime"),
    [
        ("data:text/PLAIN;base64,QUJD", "text/plain"),
        ("DATA:text/plain;charset=utf-8;BASE64,QUJD", "text/plain"),
        (" data: text/plain ; charset=utf-8; base64 ,QUJD", "text/plain"),
        ("data:;base64,QUJD", "application/octet-stream"),
    ],
)
def test_a_data_url_is_its_type_and_its_bytes(url: str, mime: str) -> None:
    assert media.read_data_url(url, "ollama", "x") == media.InlineMedia(mime, "QUJD")


@pytest.mark.parametrize("mime", STARTS)
@pytest.mark.parametrize("label", LABELS)
def test_the_first_bytes_decide_about_the_type(mime: str, label: str) -> None:
    """Providers refuse a picture under a wrong label: https://ai.google.dev/gemini-api/docs/image-understanding."""
    assert media.read_data_url(f"data:{label};base64,{encoded(STARTS[mime])}", "google", "x").mime == mime


@pytest.mark.parametrize("label", ["audio/wav", "video/mp4", "text/csv", "application/json", "image/bmp"])
@pytest.mark.parametrize("data", [b"RIFF\x10\x00\x00\x00WAVEfmt ", b"a,b\n1,2\n", b"{}", b"", b"BM"])
def test_what_the_bytes_do_not_show_keeps_its_label(label: str, data: bytes) -> None:
    assert media.read_data_url(f"data:{label};base64,{encoded(data)}", "google", "x").mime == label


spaces = st.text(" \t\r\n\f", max_size=3)


@given(data=st.binary(min_size=1, max_size=60), gaps=st.lists(spaces, min_size=1, max_size=9), form=st.integers(0, 7))
def test_however_base64_is_written_it_goes_out_canonical(data: bytes, gaps: list[str], form: int) -> None:
    """White space, a URL's escapes, the URL-safe alphabet and missing padding mean nothing."""
    written = base64.urlsafe_b64encode(data).decode() if form & 1 else encoded(data)
    written = written.rstrip("=") if form & 2 else written
    size = -(-len(written) // len(gaps))
    written = "".join(gap + written[i * size : (i + 1) * size] for i, gap in enumerate(gaps))
    written = quote(written, safe="") if form & 4 else written
    assert media.canonical_base64(written) == encoded(data)
    assert media.read_data_url(f"data:x/y;base64,{written}", "google", "x").data == encoded(data)
    assert media.bare_base64(f"data:audio/wav;base64,{written}") == media.bare_base64(written) == encoded(data)


@pytest.mark.parametrize("written", ["!", "QUJD!", "QUJDR", "QQ==QQ=="])
def test_what_is_not_base64_is_left_for_the_provider_to_refuse(written: str) -> None:
    assert media.canonical_base64(written) == written


@pytest.mark.parametrize("url", ["data:" + "a" * 200_000, "data:" + ";a" * 100_000, "data:;" + " " * 200_000])
def test_a_url_without_an_end_of_its_head_is_refused_at_once(url: str) -> None:
    """Contract T38: the pattern does not search again from every character."""
    with pytest.raises(Refused):
        media.read_data_url(url, "google", "x")


PNG = encoded(STARTS["image/png"])
WRAPPED = f"{PNG[:5]}\r\n{PNG[5:]}"
PARTS = {
    "picture": {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{WRAPPED}"}},
    "document": {"type": "file", "file": {"file_data": f"data:image/jpg;base64,{WRAPPED}", "filename": "a"}},
    "sound": {"type": "input_audio", "input_audio": {"data": WRAPPED, "format": "wav"}},
}


@pytest.mark.parametrize("place", ["message", "result"])
@pytest.mark.parametrize(
    ("provider", "kind"),
    [*(("google", kind) for kind in PARTS), ("ollama", "picture"), ("ollama", "sound"), ("anthropic", "picture")],
)
def test_every_provider_that_is_given_bytes_gets_them_clean(provider: str, kind: str, place: str) -> None:
    """Wherever they stand, and with the type that they show."""
    calls = [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    messages = {
        "message": [{"role": "user", "content": [PARTS[kind]]}],
        "result": [
            {"role": "user", "content": "Look."},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c", "content": [PARTS[kind]]},
        ],
    }
    call = golden.chat_request(model=f"{provider}:{golden.MODELS.get(provider, 'm')}", messages=messages[place])
    sent = golden.open_exchange(provider, call).request
    assert isinstance(sent, UpstreamRequest)
    assert PNG.encode() in sent.body
    labels = {("google", "sound"): {b"audio/wav"}, ("ollama", kind): set()}
    types = set(re.findall(rb'"(?:mimeType|media_type)":"([^"]+)"', sent.body))
    assert types == labels.get((provider, kind), {b"image/png"})
