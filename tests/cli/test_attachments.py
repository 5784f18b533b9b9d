"""Files that go with a prompt."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from click import UsageError

from fwd_cli.attachments import MOST_BYTES, answer_format, image_type, read_content, with_files

PNG = b"\x89PNG\r\n\x1a\nrest"


def test_without_files_the_prompt_is_the_content() -> None:
    """A plain text stays one."""
    assert with_files("why?", ()) == "why?"


def test_texts_come_before_the_prompt_under_their_names() -> None:
    """The question is asked last."""
    Path("a.txt").write_text("alpha\n")
    Path("b.txt").write_text("beta")
    assert with_files("why?", ("a.txt", "b.txt")) == "a.txt:\nalpha\n\nb.txt:\nbeta\n\nwhy?"


def test_images_stand_beside_the_prompt() -> None:
    """A file as data, an address as it is: nothing is fetched here."""
    Path("x.bin").write_bytes(PNG)
    data = base64.b64encode(PNG).decode()
    assert with_files("what?", ("x.bin", "https://example.org/cat.jpg")) == [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.jpg"}},
    ]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF1234WEBPVP8 ", "image/webp"),
        (b"RIFF1234WAVE", None),
        (b"", None),
    ],
)
def test_an_image_is_known_by_its_bytes(data: bytes, kind: str | None) -> None:
    """Its name may lie."""
    assert image_type(data) == kind


PDF = b"%PDF-1.4\n1 0 obj << >> endobj\n"


def test_a_pdf_of_ascii_bytes_is_a_file() -> None:
    """Its first bytes decide, although every byte of it could be read as text."""
    Path("paper.txt").write_bytes(PDF)
    data = base64.b64encode(PDF).decode()
    assert with_files("what?", ("paper.txt",)) == [
        {"type": "text", "text": "what?"},
        {"type": "file", "file": {"filename": "paper.txt", "file_data": f"data:application/pdf;base64,{data}"}},
    ]


def piped(data: bytes) -> io.TextIOWrapper:
    Path("piped").write_bytes(data)
    return open("piped")


def test_what_is_piped_in_is_sent_as_what_it_is() -> None:
    """An image and a PDF become parts, text comes before the prompt, anything else is refused by name."""
    with piped(PNG) as stdin:
        image = read_content("what?", (), stdin)
    assert [part["type"] for part in image if isinstance(part, dict)] == ["text", "image_url"]
    with piped(PDF) as stdin:
        document = read_content("what?", (), stdin)
    assert isinstance(document[1], dict)
    assert document[1]["file"]["filename"] == "document.pdf"
    for binary in (b"\xff\x00", b"ELF\x00text"):
        with piped(binary) as stdin, pytest.raises(UsageError, match="standard input is neither UTF-8 text"):
            read_content("what?", (), stdin)


def test_standard_input_as_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """-f - attaches it in its place among the files; it can be read once only."""
    Path("a.txt").write_text("alpha")
    with piped(b"from a pipe\n") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert read_content("why?", ("-", "a.txt"), stdin) == "standard input:\nfrom a pipe\n\na.txt:\nalpha\n\nwhy?"
    with piped(b"x") as stdin, pytest.raises(UsageError, match="only once"):
        read_content("-", ("-",), stdin)


def test_a_file_or_an_image_alone_is_no_prompt() -> None:
    """Somebody has to ask something; an empty line is not sent."""
    Path("a.txt").write_text("alpha")
    for files, data in ((("a.txt",), b""), ((), PNG), ((), b"\n")):
        with piped(data) as stdin, pytest.raises(UsageError, match="there is no prompt"):
            read_content(None, files, stdin)


def test_what_cannot_be_sent_is_a_mistake() -> None:
    """Missing, neither text nor image, too large: said by name."""
    Path("binary").write_bytes(b"\xff\x00")
    with open("large", "wb") as large:
        large.truncate(MOST_BYTES + 1)
    for name, said in (("missing", "No such file"), ("binary", "neither"), ("large", "larger than 20 MiB")):
        with pytest.raises(UsageError, match=f"{name} .*{said}"):
            with_files("x", (name,))


def test_a_schema_becomes_the_answers_format() -> None:
    """Named after its file, in letters that every provider takes."""
    Path("my cities.json").write_text('{"type": "object"}')
    assert answer_format("my cities.json") == {
        "type": "json_schema",
        "json_schema": {"name": "my_cities", "schema": {"type": "object"}, "strict": True},
    }


@pytest.mark.parametrize(
    ("text", "said"), [("{", "is not JSON"), ("\xff", "is not JSON"), ("[]", "is not a JSON Schema")]
)
def test_what_is_no_schema_is_a_mistake(text: str, said: str) -> None:
    """Said by the file's name."""
    Path("s.json").write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=f"s.json {said}"):
        answer_format("s.json")
