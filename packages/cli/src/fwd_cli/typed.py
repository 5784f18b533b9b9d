"""Typed input: messages of one or several lines, from a person or a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from attrs import define

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

BLOCK = '"""'
PROMPT = "> "
MORE = ". "


class Source(Protocol):
    """Gives one message after the other."""

    def read(self, draft: str) -> str:
        """The next message, begun with ``draft``. Raises EOFError at the end, KeyboardInterrupt for Ctrl-C."""


def is_open(text: str) -> bool:
    r"""Whether a message continues on the next line: an unfinished ``\"""`` block, or a line that ends with ``\``."""
    stripped = text.strip()
    if stripped.startswith(BLOCK):
        return len(stripped) < 2 * len(BLOCK) or not stripped.endswith(BLOCK)
    return text.endswith("\\")


def message_of(text: str) -> str:
    """The message without the marks that only delimit it."""
    stripped = text.strip()
    if stripped.startswith(BLOCK):
        return stripped.removeprefix(BLOCK).removesuffix(BLOCK).strip("\n")
    return stripped.replace("\\\n", "\n")


@define
class Lines:
    """Messages from a file or a pipe."""

    lines: TextIO

    def read(self, draft: str) -> str:
        """The next message; a draft is one already."""
        text = draft or self._line()
        while not draft and is_open(text):
            text += "\n" + self._line()
        return message_of(text)

    def _line(self) -> str:
        line = self.lines.readline()
        if not line:
            raise EOFError
        return line.removesuffix("\n")


class Keyboard:
    """Messages from a person: history, several lines, an editor, completion. ``history`` None keeps nothing."""

    def __init__(self, words: TextIO, history: Path | None, complete: Callable[[str], Iterable[str]]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.output import create_output

        self._session: PromptSession[str] = PromptSession(
            message=PROMPT,
            history=_history(history),
            completer=_completer(complete),
            # A menu that opens by itself covers the answer above.
            complete_while_typing=False,
            key_bindings=_bindings(),
            multiline=True,
            prompt_continuation=lambda width, number, wrapped: "" if wrapped else MORE,
            # Ctrl-X Ctrl-E, as in bash.
            enable_open_in_editor=True,
            output=create_output(stdout=words),
        )

    def read(self, draft: str) -> str:
        """The next message, typed or edited."""
        return message_of(self._session.prompt(default=draft))


def _history(path: Path | None) -> History:
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    if path is None:
        return InMemoryHistory()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Made before prompt_toolkit would, whose file others could read.
    path.touch(mode=0o600)
    return FileHistory(str(path))


def _completer(complete: Callable[[str], Iterable[str]]) -> Completer:
    """Completes the whole line with ``complete``, which gets the text before the cursor."""
    from prompt_toolkit.completion import Completer, Completion
    from prompt_toolkit.document import Document

    class WholeLine(Completer):
        def get_completions(self, document: Document, event: object) -> Iterable[Completion]:
            before = document.text_before_cursor
            return (Completion(text, -len(before)) for text in complete(before))

    return WholeLine()


def _bindings() -> KeyBindings:
    """Enter sends, unless the message is open; Alt-Enter and Ctrl-J begin a line; Ctrl-C clears, or stops."""
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()

    @bindings.add("enter")
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        # Inside a block Enter belongs to the message.
        if is_open(buffer.text):
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    @bindings.add("c-j")
    def begin_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @bindings.add("c-c")
    def clear_or_stop(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            # On an empty line Ctrl-C is meant for the chat, not for the text.
            event.app.exit(exception=KeyboardInterrupt)

    return bindings
