"""A chat session: what is typed is a message or a command, and every answer joins the conversation."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TextIO

import click
from attrs import define, field, frozen

from fwd_cli import names, render
from fwd_cli.asking import OutputStyle, ShownAnswer, ask, ask_with_tools
from fwd_cli.clipboard import copy
from fwd_cli.conversation import BadConversation, Conversation, known_names, named_path
from fwd_cli.errors import ExitCode, Failure, failure_of
from fwd_cli.keystrokes import usual_keys
from fwd_cli.notices import aside, three_lines
from fwd_cli.toolfiles import Function
from fwd_cli.typed import Source
from fwd_client import Client, FwdError, Receipt


@frozen
class Command:
    """A word behind a ``/``: what follows it, what it does, and the method that does it."""

    takes: str
    help: str
    do: Callable[[Session, str], None]


class Leave(Exception):
    """The chat is over."""


@define
class Spending:
    """What the answers of a session used. ``unpriced`` counts those whose cost nobody reported."""

    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    unpriced: int = 0

    def add(self, receipt: Receipt) -> None:
        """Count one answer."""
        usage = receipt.usage
        self.answers += 1
        self.prompt_tokens += usage.prompt_tokens if usage else 0
        self.completion_tokens += usage.completion_tokens if usage else 0
        cost = receipt.cost if receipt.cost is not None else usage.cost if usage else None
        self.dollars += cost or 0.0
        # Counted apart, because an unknown cost is not free.
        self.unpriced += cost is None

    def summary(self) -> str:
        """In one line. An unknown cost is not a cost of 0."""
        answers = "1 answer" if self.answers == 1 else f"{self.answers} answers"
        used = f"{answers} · {self.prompt_tokens:,}→{self.completion_tokens:,} tok"
        if self.unpriced == self.answers:
            return used + (" · cost unknown: the gateway did not report it" if self.answers else "")
        missing = f", without {self.unpriced} whose cost is unknown" if self.unpriced else ""
        return f"{used} · {render.money(self.dollars)}{missing}"


@define
class Session:
    """One chat. ``kept`` is where the conversation is saved after every answer, ``out`` the terminal for the clipboard.

    The model may call the ``functions``; what they return is part of the answer it belongs to, and not kept.
    ``kept`` None is a private chat: nothing is saved, and no other conversation is opened.
    """

    client: Client
    conversation: Conversation
    out: TextIO
    params: Mapping[str, Any] = field(factory=dict)
    style: OutputStyle = field(factory=OutputStyle)
    kept: Path | None = None
    functions: Sequence[Function] = ()
    code: ExitCode = ExitCode.OK
    draft: str = ""
    stopped: bool = False
    spending: Spending = field(factory=Spending)

    def run(self, source: Source) -> None:
        """Read and answer until the end of the source, ``/quit``, or Ctrl-C twice."""
        with contextlib.suppress(EOFError, Leave):
            while True:
                self._read_turn(source)

    def _read_turn(self, source: Source) -> None:
        draft, self.draft = self.draft, ""
        try:
            text = source.read(draft)
        except KeyboardInterrupt:
            # The second Ctrl-C in a row means the chat.
            if self.stopped:
                raise Leave from None
            self.stopped = True
            aside("Press Ctrl-C again to leave.")
            return
        self.stopped = False
        if text:
            self.handle(text)
            # An empty line between turns, for eyes only.
            click.echo(err=True, nl=sys.stderr.isatty())

    def handle(self, text: str) -> None:
        """Do what was typed; an error is shown, and the chat goes on."""
        try:
            if text.startswith("/") and not text.startswith("//"):
                self._run_command(text)
            else:
                self.conversation.add_question(text.removeprefix("/") if text.startswith("//") else text)
                self.answer()
        except click.ClickException as error:
            self._show_failure(Failure(error.format_message(), "nothing was sent", "/help"))
        except BadConversation as error:
            self._show_failure(
                Failure("this is not a conversation", str(error), "another one: /list, /open NAME or /load FILE")
            )
        except OSError as error:
            self._show_failure(
                Failure("the file cannot be used", f"{error.strerror}: {error.filename}", "another file")
            )

    def answer(self) -> None:
        """Ask the model, show its answer, and remember it."""
        shown = ShownAnswer()
        messages = self.conversation.request_messages()
        params = {**self.params, "model": self.conversation.model, "messages": messages}
        try:
            if self.functions:
                ask_with_tools(self.client, params, self.functions, self.style, shown)
            else:
                ask(self.client, params, self.style, shown)
            self.code = ExitCode.OK
        except KeyboardInterrupt:
            self.stopped = True
            aside("Stopped. Press Ctrl-C again to leave.")
        except FwdError as error:
            # In a chat the model is changed with /model, not with an option.
            self._show_failure(failure_of(error, "/model", self.client.base_url))
        except Failure as failure:  # a function of --tools raised, or nobody could be asked
            self._show_failure(failure)
        else:
            self.spending.add(shown.receipt)
            self._print_receipt(shown)
        # Also what came before an error or Ctrl-C: the model should know what was read.
        self.conversation.add_answer(shown.text)
        self._keep_conversation()

    def _print_receipt(self, shown: ShownAnswer) -> None:
        if not self.style.quiet:
            requested = self.conversation.model
            aside(render.receipt_line(shown.receipt, shown.total_s, shown.first_s, shown.finish, requested))

    def _keep_conversation(self) -> None:
        if self.kept is not None:
            with contextlib.suppress(OSError):  # a full disk is no reason to end a conversation
                self.conversation.save(self.kept)

    def _show_failure(self, failure: Failure) -> None:
        self.code = failure.code
        three_lines(failure)

    def _run_command(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        command = COMMANDS.get(word)
        if command is None:
            # A misspelled command must not be sent to a model.
            near = get_close_matches(word, COMMANDS, n=1)
            meant = f"; did you mean {near[0]}?" if near else "; to send a message that begins with /, type //"
            raise click.UsageError(f"there is no command {word}{meant}")
        command.do(self, rest.strip())

    def complete(self, before: str) -> Iterator[str]:
        """Whole lines that begin with the text before the cursor: commands, models, conversations and files."""
        word, space, rest = before.partition(" ")
        if word == "/model" and space:
            models = names.models_of(self.client.base_url)
            yield from (f"{word} {name}" for name in models if name.startswith(rest))
        elif word == "/open" and space:
            yield from (f"{word} {name}" for name in known_names() if name.startswith(rest))
        elif word in FILES and space:
            yield from (f"{word} {path}" for path in _matching_paths(rest))
        elif before.startswith("/"):
            yield from (name for name in COMMANDS if name.startswith(before))

    def choose_model(self, name: str) -> None:
        """Another model from now on; without a name, show the current one."""
        if name:
            self.conversation.model = name
            known = names.models_of(self.client.base_url)
            near = get_close_matches(name, known, n=3) if name not in known else []
            aside(f"Model: {name}." + (f" Similar names: {', '.join(near)}." if near else ""))
        else:
            aside(f"Model: {self.conversation.model or 'chosen by the gateway'}. /model NAME changes it.")

    def choose_system(self, text: str) -> None:
        """Another system message from now on; ``-`` removes it, nothing shows it."""
        if text:
            self.conversation.system = None if text == "-" else text
        aside(f"System message: {self.conversation.system or 'none'}")

    def attach(self, name: str) -> None:
        """A file for the next message."""
        if not name:
            raise click.UsageError("/file needs the name of a file, or the URL of an image")
        if not name.startswith(("https://", "http://")):
            # Opened now: a wrong name should be said before the question is written.
            with Path(name).expanduser().open("rb"):
                name = str(Path(name).expanduser())
        self.conversation.files.append(name)
        aside(f"With the next message: {', '.join(self.conversation.files)}")

    def edit_message(self, text: str) -> None:
        """A message in an editor; it is at the prompt afterwards."""
        # What could not be sent is not to be typed again.
        unsent = self.conversation.unsent if isinstance(self.conversation.unsent, str) else ""
        with usual_keys(self.out):
            self.draft = (click.edit(text or unsent, extension=".md") or "").strip()

    def retry_message(self, text: str) -> None:
        """The last message again."""
        if not self.conversation.take_back_answer():
            raise click.UsageError("there is no message to ask again")
        self.answer()

    def copy_answer(self, text: str) -> None:
        """The last answer into the clipboard."""
        answer = self.conversation.last_answer()
        if not answer:
            raise click.UsageError("there is no answer to copy")
        by = copy(answer, self.out)
        aside(f"Copied by {by}." if by else "There is no clipboard here: /save FILE writes the conversation.")

    def show_cost(self, text: str) -> None:
        """What this session used so far."""
        aside(self.spending.summary())

    def open_conversation(self, name: str) -> None:
        """Another conversation by its name; a new one when there is none of that name."""
        if not name:
            raise click.UsageError("/open needs a name; /list shows the conversations")
        path = named_path(name)
        if self.kept is None:
            raise click.UsageError("a private chat keeps no conversations")
        # A new name begins a conversation, so that nothing has to be made first.
        if path.exists():
            self.conversation.load(path)
            aside(f"{name}: {summary(self.conversation)}")
        else:
            self.conversation.clear()
            aside(f"{name} is a new conversation.")
        self.kept = path

    def list_conversations(self, text: str) -> None:
        """The names of all conversations, the latest first."""
        known = known_names()
        aside(", ".join(known) if known else "There is none yet: /open NAME begins one.")

    def save_as(self, name: str) -> None:
        """The conversation into a file."""
        if not name:
            raise click.UsageError("/save needs the name of a file")
        self.conversation.save(Path(name).expanduser())
        aside(f"Saved to {name}, readable by you alone. To continue it later: /load {name}")

    def load_from(self, name: str) -> None:
        """A conversation from a file."""
        if not name:
            raise click.UsageError("/load needs the name of a file")
        self.conversation.load(Path(name).expanduser())
        aside(summary(self.conversation))

    def clear_messages(self, text: str) -> None:
        """A new conversation."""
        self.conversation.clear()
        aside("New conversation; model and system message are kept.")

    def show_help(self, text: str) -> None:
        """What can be typed."""
        formatter = click.HelpFormatter(max_width=80)
        formatter.write_dl([(f"{name} {command.takes}".strip(), command.help) for name, command in COMMANDS.items()])
        formatter.write_dl(KEYS)
        click.echo(formatter.getvalue().rstrip(), err=True)

    def leave(self, text: str) -> None:
        """The end."""
        raise Leave


COMMANDS = {
    "/model": Command("[NAME]", "Change the model, or show it.", Session.choose_model),
    "/system": Command("[TEXT]", "Set the system message; - removes it.", Session.choose_system),
    "/file": Command("FILE", "Attach a text, an image or a PDF to the next message.", Session.attach),
    "/edit": Command("[TEXT]", "Write the message in your editor ($EDITOR).", Session.edit_message),
    "/retry": Command("", "Ask the last message again.", Session.retry_message),
    "/copy": Command("", "Copy the last answer to the clipboard.", Session.copy_answer),
    "/cost": Command("", "Show the tokens and the cost of this session.", Session.show_cost),
    "/open": Command("NAME", "Open the conversation of this name, or begin it.", Session.open_conversation),
    "/list": Command("", "List the conversations with a name.", Session.list_conversations),
    "/save": Command("FILE", "Write the conversation to a file.", Session.save_as),
    "/load": Command("FILE", "Continue the conversation in a file.", Session.load_from),
    "/clear": Command("", "Begin a new conversation.", Session.clear_messages),
    "/help": Command("", "Show this list.", Session.show_help),
    "/quit": Command("", "Leave; so does Ctrl-D.", Session.leave),
}
FILES = ("/file", "/save", "/load")
KEYS = [
    ("Enter", "sends; Alt-Enter or Ctrl-J begins a new line."),
    ('"""', "begins and ends a message of several lines; or end each line with \\."),
    ("Ctrl-C", "stops the answer, or clears the line; twice leaves."),
]


def summary(conversation: Conversation) -> str:
    """Where a conversation stands, in one line."""
    questions = [message["content"] for message in conversation.messages if message["role"] == "user"]
    if not questions:
        return "no messages yet"
    last = questions[-1]
    words = last if isinstance(last, str) else str(last[0].get("text", ""))
    # In one line, whatever was typed.
    short = " ".join(words.split())
    count = "1 message" if len(questions) == 1 else f"{len(questions)} messages"
    return f"{count} so far; the last was: {short[:60]}{'…' if len(short) > 60 else ''}"


def _matching_paths(beginning: str) -> Iterator[str]:
    """Files and directories whose path begins so."""
    typed = Path(beginning).expanduser()
    folder = typed if beginning.endswith("/") or not beginning else typed.parent
    stem = beginning[: beginning.rfind("/") + 1]
    with contextlib.suppress(OSError):
        for entry in sorted(folder.iterdir()):
            name = f"{stem}{entry.name}{'/' if entry.is_dir() else ''}"
            if name.startswith(beginning):
                yield name
