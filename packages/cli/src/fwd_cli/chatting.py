"""A chat at work: what is typed is a message or a command, and what is heard becomes part of the talk."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TextIO

import click
from attrs import define, field, frozen

from fwd_cli import names, render
from fwd_cli.asking import Manner, Told, ask
from fwd_cli.clipboard import copy
from fwd_cli.errors import ExitCode, Failure, failure_of
from fwd_cli.notices import aside, three_lines
from fwd_cli.talk import BadTalk, Talk
from fwd_cli.typed import Source
from fwd_client import Client, FwdError


@frozen
class Command:
    """A word behind a ``/``: what follows it, what it does, and the method that does it."""

    takes: str
    help: str
    do: Callable[[Session, str], None]


class Leave(Exception):
    """The chat is over."""


@define
class Session:
    """One chat. ``kept`` is where the talk is kept after every answer, ``out`` the terminal for the clipboard."""

    client: Client
    talk: Talk
    out: TextIO
    params: Mapping[str, Any] = field(factory=dict)
    quiet: bool = False
    kept: Path | None = None
    code: ExitCode = ExitCode.OK
    draft: str = ""
    stopped: bool = False

    def run(self, source: Source) -> None:
        """Read and answer until the end of the source, ``/quit``, or Ctrl-C twice."""
        with contextlib.suppress(EOFError, Leave):
            while True:
                self._turn(source)

    def _turn(self, source: Source) -> None:
        draft, self.draft = self.draft, ""
        try:
            text = source.read(draft)
        except KeyboardInterrupt:
            if self.stopped:
                raise Leave from None
            self.stopped = True
            aside("Ctrl-C once more leaves.")
            return
        self.stopped = False
        if text:
            self.take(text)
            click.echo(err=True, nl=sys.stderr.isatty())

    def take(self, text: str) -> None:
        """Do what was typed; what goes wrong is said, and the chat goes on."""
        try:
            if text.startswith("/") and not text.startswith("//"):
                self._command(text)
            else:
                self.talk.say(text.removeprefix("/") if text.startswith("//") else text)
                self.answer()
        except click.ClickException as error:
            self._fail(Failure(error.format_message(), "it was not done", "/help"))
        except BadTalk as error:
            self._fail(Failure("this is no conversation", str(error), "/load another file"))
        except OSError as error:
            self._fail(Failure("the file cannot be used", f"{error.strerror}: {error.filename}", "another file"))

    def answer(self) -> None:
        """Ask the model, show what it says, and remember that."""
        told = Told()
        try:
            ask(self.client, {**self.params, "model": self.talk.model, "messages": self.talk.sent()}, Manner(), told)
            self.code = ExitCode.OK
        except KeyboardInterrupt:
            self.stopped = True
            aside("Stopped. Ctrl-C once more leaves.")
        except FwdError as error:
            self._fail(failure_of(error, "/model"))
        else:
            self._about(told)
        self.talk.hear(told.text)
        self._keep()

    def _about(self, told: Told) -> None:
        if not self.quiet:
            aside(render.receipt_line(told.receipt, told.total_s, told.first_s, told.finish))

    def _keep(self) -> None:
        if self.kept is not None:
            with contextlib.suppress(OSError):  # a disk that is full is no reason to end a talk
                self.talk.save(self.kept)

    def _fail(self, failure: Failure) -> None:
        self.code = failure.code
        three_lines(failure)

    def _command(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        command = COMMANDS.get(word)
        if command is None:
            near = get_close_matches(word, COMMANDS, n=1)
            meant = f"; did you mean {near[0]}?" if near else "; a message that begins with / is typed with //"
            raise click.UsageError(f"there is no command {word}{meant}")
        command.do(self, rest.strip())

    def complete(self, before: str) -> Iterator[str]:
        """Lines that go on from what stands before the cursor: commands, and models after ``/model``."""
        word, space, rest = before.partition(" ")
        if word == "/model" and space:
            models = names.models_of(self.client.base_url)
            yield from (f"{word} {name}" for name in models if name.startswith(rest))
        elif word in FILES and space:
            yield from (f"{word} {path}" for path in _paths(rest))
        elif before.startswith("/"):
            yield from (name for name in COMMANDS if name.startswith(before))

    def choose_model(self, name: str) -> None:
        """Another model from now on; without a name, say which it is."""
        if name:
            self.talk.model = name
            known = names.models_of(self.client.base_url)
            near = get_close_matches(name, known, n=3) if name not in known else []
            aside(f"Model: {name}." + (f" Near names: {', '.join(near)}." if near else ""))
        else:
            aside(f"Model: {self.talk.model or 'the first of the gateway that answers'}. /model NAME takes another.")

    def choose_system(self, text: str) -> None:
        """Another system message from now on; ``-`` takes it away, nothing shows it."""
        if text:
            self.talk.system = None if text == "-" else text
        aside(f"System message: {self.talk.system or 'none'}")

    def attach(self, name: str) -> None:
        """A file for the next message."""
        if not name:
            raise click.UsageError("/file needs the name of a file, or the address of an image")
        if not name.startswith(("https://", "http://")):
            with Path(name).expanduser().open("rb"):
                name = str(Path(name).expanduser())
        self.talk.files.append(name)
        aside(f"With the next message: {', '.join(self.talk.files)}")

    def edit(self, text: str) -> None:
        """A message in an editor; it stands at the prompt afterwards."""
        unsent = self.talk.unsent if isinstance(self.talk.unsent, str) else ""
        self.draft = (click.edit(text or unsent, extension=".md") or "").strip()

    def retry(self, text: str) -> None:
        """The last message again."""
        if not self.talk.again():
            raise click.UsageError("there is nothing to ask again")
        self.answer()

    def copy(self, text: str) -> None:
        """The last answer into the clipboard."""
        said = self.talk.last_said()
        if not said:
            raise click.UsageError("there is no answer to copy")
        by = copy(said, self.out)
        aside(f"Copied by {by}." if by else "There is no clipboard here: /save FILE keeps the talk.")

    def save(self, name: str) -> None:
        """The talk into a file."""
        if not name:
            raise click.UsageError("/save needs the name of a file")
        self.talk.save(Path(name).expanduser())
        aside(f"Saved to {name}, for your eyes only: fwd chat, then /load {name}")

    def load(self, name: str) -> None:
        """A talk from a file."""
        if not name:
            raise click.UsageError("/load needs the name of a file")
        self.talk.load(Path(name).expanduser())
        aside(summary(self.talk))

    def clear(self, text: str) -> None:
        """A new talk."""
        self.talk.clear()
        aside("A new talk; model and system message are as they were.")

    def help(self, text: str) -> None:
        """What can be typed."""
        formatter = click.HelpFormatter(max_width=80)
        formatter.write_dl([(f"{name} {command.takes}".strip(), command.help) for name, command in COMMANDS.items()])
        formatter.write_dl(KEYS)
        click.echo(formatter.getvalue().rstrip(), err=True)

    def leave(self, text: str) -> None:
        """The end."""
        raise Leave


COMMANDS = {
    "/model": Command("[NAME]", "Talk with another model, or show which it is.", Session.choose_model),
    "/system": Command("[TEXT]", "Set the system message; - takes it away.", Session.choose_system),
    "/file": Command("FILE", "Send a text or an image along with the next message.", Session.attach),
    "/edit": Command("", "Write the message in your editor ($EDITOR).", Session.edit),
    "/retry": Command("", "Ask the last message again.", Session.retry),
    "/copy": Command("", "Copy the last answer to the clipboard.", Session.copy),
    "/save": Command("FILE", "Keep the talk in a file.", Session.save),
    "/load": Command("FILE", "Go on with the talk in a file.", Session.load),
    "/clear": Command("", "Begin a new talk.", Session.clear),
    "/help": Command("", "Show this.", Session.help),
    "/quit": Command("", "Leave; so does Ctrl-D.", Session.leave),
}
FILES = ("/file", "/save", "/load")
KEYS = [
    ("Enter", "sends; Alt-Enter or Ctrl-J begins a new line."),
    ('"""', "begins and ends a message of several lines; so does \\ at the end of each."),
    ("Ctrl-C", "stops the answer, or clears what is typed; twice leaves."),
]


def summary(talk: Talk) -> str:
    """Where a talk stands, in one line."""
    questions = [message["content"] for message in talk.messages if message["role"] == "user"]
    last = questions[-1] if questions else "none"
    words = last if isinstance(last, str) else str(last[0].get("text", ""))
    short = " ".join(words.split())
    return f"{len(questions)} messages so far; the last was: {short[:60]}{'…' if len(short) > 60 else ''}"


def _paths(beginning: str) -> Iterator[str]:
    """Files and directories whose path begins so."""
    typed = Path(beginning).expanduser()
    folder = typed if beginning.endswith("/") or not beginning else typed.parent
    stem = beginning[: beginning.rfind("/") + 1]
    with contextlib.suppress(OSError):
        for entry in sorted(folder.iterdir()):
            name = f"{stem}{entry.name}{'/' if entry.is_dir() else ''}"
            if name.startswith(beginning):
                yield name
