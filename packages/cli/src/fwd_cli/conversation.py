"""A conversation: its messages, its model and its system message; kept as JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import define, field

from fwd_cli import folders
from fwd_cli.attachments import Content, with_files

Message = dict[str, Any]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class BadConversation(ValueError):
    """A file that does not hold a conversation, or a name that cannot be one; the text says what is wrong."""


@define
class Conversation:
    """What goes to the model, and what may still change about it. ``files`` go with the next message."""

    model: str | None = None
    system: str | None = None
    messages: list[Message] = field(factory=list)
    files: list[str] = field(factory=list)
    unsent: Content | None = None

    def add_question(self, text: str) -> None:
        """A message of the user, with the files that wait for it. Raises ``click.UsageError`` for those."""
        files, self.files = tuple(self.files), []
        self.add_content(with_files(text, files))

    def add_content(self, content: Content) -> None:
        """A message of the user, ready to be sent."""
        self.messages.append({"role": "user", "content": content})

    def add_answer(self, text: str) -> None:
        """The model's answer, even if only a part of it came; a message without any answer is taken back."""
        if text:
            self.messages.append({"role": "assistant", "content": text})
            self.unsent = None
        else:
            # Two user messages in a row are refused by some providers.
            self.unsent = self.messages.pop()["content"]

    def take_back_answer(self) -> bool:
        """Prepare to ask the last message again, answered or not; False when there is none."""
        if self.unsent is not None:
            self.messages.append({"role": "user", "content": self.unsent})
            self.unsent = None
        elif self.messages:
            self.messages.pop()
        return bool(self.messages)

    def request_messages(self) -> list[Message]:
        """The messages of the next request."""
        return [*([{"role": "system", "content": self.system}] if self.system else []), *self.messages]

    def last_answer(self) -> str:
        """The model's last answer; empty when there is none."""
        return next((m["content"] for m in reversed(self.messages) if m["role"] == "assistant"), "")

    def clear(self) -> None:
        """Forget the messages; the model and the system message stay."""
        self.messages.clear()
        self.files.clear()
        self.unsent = None

    def save(self, path: Path) -> None:
        """Keep the conversation in a file that only its owner can read. Raises OSError."""
        folders.write_json(path, {"model": self.model, "system": self.system, "messages": self.messages})

    def load(self, path: Path) -> None:
        """Continue the conversation in a file. Raises OSError and :class:`BadConversation` and changes nothing then."""
        stored = read_conversation(path)
        self.clear()
        self.model, self.system, self.messages = stored.model, stored.system, stored.messages


def last_path() -> Path:
    """Where the last conversation without a name is kept."""
    return folders.state() / "last.json"


def named_path(name: str) -> Path:
    """Where the conversation of this name is kept. Raises :class:`BadConversation` for a name that is not one.

    A name becomes a file's name: no slash, and no dot in front.
    """
    if not _NAME.fullmatch(name):
        raise BadConversation(f"{name!r} is not a name: use letters, digits, '.', '_' and '-', at most 64")
    return folders.state() / "conversations" / f"{name}.json"


def known_names() -> list[str]:
    """The names of the conversations that are kept, the latest first."""
    folder = folders.state() / "conversations"
    try:
        paths = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return []
    return [path.stem for path in paths]


def read_conversation(path: Path) -> Conversation:
    """The conversation in a file. Raises OSError and :class:`BadConversation`."""
    path.stat()  # for the system's own words about a file that does not exist
    stored = folders.read_json(path)
    messages = stored.get("messages") if isinstance(stored, dict) else None
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise BadConversation(f"{path} does not hold a conversation: /save and --continue write such files")
    model, system = stored.get("model"), stored.get("system")
    if not all(isinstance(value, (str, type(None))) for value in (model, system)):
        raise BadConversation(f"{path}: model and system message must be texts")
    return Conversation(model, system, messages)


def _is_message(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    content = value.get("content")
    if value.get("role") == "assistant":
        return isinstance(content, str)
    return value.get("role") == "user" and isinstance(content, (str, list))
