"""Lines and keys made into messages."""

from __future__ import annotations

import io
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from fwd_cli import typed
from fwd_cli.typed import Keyboard, Lines, is_open, message_of


@pytest.mark.parametrize(
    ("text", "goes_on"),
    [("a", False), ("a\\", True), ('"""', True), ('"""a', True), ('"""a\nb"""', False), ('""""""', False), ("", False)],
)
def test_where_a_message_ends(text: str, goes_on: bool) -> None:
    """With its line, unless it says otherwise."""
    assert is_open(text) is goes_on


def test_what_only_said_where_it_ends_is_gone() -> None:
    """Quotes and backslashes are no part of it."""
    assert message_of('"""\na\n  b\n"""') == "a\n  b"
    assert message_of(" a\\\nb ") == "a\nb"


def test_messages_from_a_pipe() -> None:
    """One a line, or a block; a draft is one already; then the end."""
    lines = Lines(io.StringIO('one\n"""\ntwo\n\n"""\nthr\\\nee'))
    assert [lines.read(draft) for draft in ("", "", "edited", "")] == ["one", "two", "edited", "thr\nee"]
    with pytest.raises(EOFError):
        lines.read("")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[PipeInput]:
    """Keys that are pressed, without a terminal."""
    monkeypatch.setattr("prompt_toolkit.output.create_output", lambda stdout: DummyOutput())
    with create_pipe_input() as pressed, create_app_session(input=pressed, output=DummyOutput()):
        yield pressed


def keyboard(history: Path | None = None) -> Keyboard:
    def complete(before: str) -> Iterable[str]:
        return [name for name in ("/model", "/system") if name.startswith(before)]

    return Keyboard(sys.stderr, history, complete)


@pytest.mark.parametrize(
    ("pressed", "message"),
    [
        ("hi\r", "hi"),
        ("a\x1b\rb\r", "a\nb"),
        ("a\nb\r", "a\nb"),
        ('"""\ra\rb"""\r', "a\nb"),
        ("a\\\rb\r", "a\nb"),
        ("typed\x03other\r", "other"),
        ("\x1b[200~two\nlines\x1b[201~\r", "two\nlines"),
    ],
)
def test_messages_from_a_person(keys: PipeInput, pressed: str, message: str) -> None:
    """Enter, Alt-Enter, Ctrl-J, a block, a backslash, Ctrl-C over a draft, something pasted."""
    keys.send_text(pressed)
    assert keyboard().read("") == message


def test_tab_completes_the_whole_line(keys: PipeInput) -> None:
    """What stands before the cursor is replaced."""
    completer = keyboard()._session.completer
    assert completer is not None
    (found,) = completer.get_completions(Document("/mo"), CompleteEvent())
    assert (found.text, found.start_position) == ("/model", -3)


def test_ctrl_c_and_ctrl_d_on_an_empty_line(keys: PipeInput) -> None:
    """Whoever asked decides what they mean."""
    keys.send_text("\x03")
    with pytest.raises(KeyboardInterrupt):
        keyboard().read("")
    keys.send_text("\x04")
    with pytest.raises(EOFError):
        keyboard().read("")


def test_a_draft_can_be_changed(keys: PipeInput) -> None:
    """It stands at the prompt."""
    keys.send_text("!\r")
    assert keyboard().read("draft") == "draft!"


def test_what_was_typed_is_there_again(keys: PipeInput, tmp_path: Path) -> None:
    """Arrow up, in another chat too; nobody else can read it."""
    path = tmp_path / "state" / "history"
    keys.send_text("first\r")
    keyboard(path).read("")
    keys.send_text("\x1b[A\r")
    assert keyboard(path).read("") == "first"
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_longer_messages_are_marked(keys: PipeInput) -> None:
    """Each further line has its sign, a wrapped one has none."""
    session = keyboard()._session
    assert callable(session.prompt_continuation)
    assert [session.prompt_continuation(2, 1, wrapped) for wrapped in (0, 1)] == [typed.MORE, ""]
