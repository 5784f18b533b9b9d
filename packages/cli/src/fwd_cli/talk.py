"""A conversation: what was said, by which model, under which system message; kept as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import define, field

from fwd_cli import folders
from fwd_cli.attachments import Content, with_files

Message = dict[str, Any]


class BadTalk(ValueError):
    """A file that holds no conversation; the text says what is wrong."""


@define
class Talk:
    """What goes to the model, and what may still change about it. ``files`` go with the next message."""

    model: str | None = None
    system: str | None = None
    messages: list[Message] = field(factory=list)
    files: list[str] = field(factory=list)
    unsent: Content | None = None

    def say(self, text: str) -> None:
        """The user says something, with the files that were waiting for it. Raises ``click.UsageError`` for those."""
        files, self.files = tuple(self.files), []
        self.messages.append({"role": "user", "content": with_files(text, files)})

    def hear(self, text: str) -> None:
        """The model answered, even if in part only; a message without any answer is taken back."""
        if text:
            self.messages.append({"role": "assistant", "content": text})
            self.unsent = None
        else:
            self.unsent = self.messages.pop()["content"]

    def again(self) -> bool:
        """Take the last answer back, or take up a message that had none; False when there is nothing to ask again."""
        if self.unsent is not None:
            self.messages.append({"role": "user", "content": self.unsent})
            self.unsent = None
        elif self.messages:
            self.messages.pop()
        return bool(self.messages)

    def sent(self) -> list[Message]:
        """The messages of the next request."""
        return [*([{"role": "system", "content": self.system}] if self.system else []), *self.messages]

    def last_said(self) -> str:
        """The model's last answer; empty when there is none."""
        return next((m["content"] for m in reversed(self.messages) if m["role"] == "assistant"), "")

    def clear(self) -> None:
        """Forget what was said; the model and the system message stay."""
        self.messages.clear()
        self.files.clear()
        self.unsent = None

    def save(self, path: Path) -> None:
        """Keep the conversation in a file of its owner's alone. Raises OSError."""
        folders.write_json(path, {"model": self.model, "system": self.system, "messages": self.messages})

    def load(self, path: Path) -> None:
        """Go on with a conversation from a file. Raises OSError and :class:`BadTalk`, and then nothing has changed."""
        kept = read(path)
        self.clear()
        self.model, self.system, self.messages = kept.model, kept.system, kept.messages


def read(path: Path) -> Talk:
    """The conversation in a file. Raises OSError and :class:`BadTalk`."""
    path.stat()  # for the system's own words about a file that is not there
    found = folders.read_json(path)
    messages = found.get("messages") if isinstance(found, dict) else None
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise BadTalk(f"{path} holds no conversation: /save and --continue write such files")
    model, system = found.get("model"), found.get("system")
    if not all(isinstance(value, (str, type(None))) for value in (model, system)):
        raise BadTalk(f"{path} names no model and no system message that is a text")
    return Talk(model, system, messages)


def _is_message(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    content = value.get("content")
    if value.get("role") == "assistant":
        return isinstance(content, str)
    return value.get("role") == "user" and isinstance(content, (str, list))
