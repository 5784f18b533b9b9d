"""``fwd chat``, its messages and commands from a pipe."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import define, field
from tests.cli.conftest import DONE, KEY, Ended, FakeGateway, Run, answer, chunk

from fwd_cli import names
from fwd_cli import session as session_module
from fwd_cli.conversation import Conversation
from fwd_cli.session import COMMANDS, Session, Spending, summary
from fwd_client import Client, Receipt
from fwd_client.testing import FakeGateway as ScriptedGateway

Say = Callable[..., Ended]


@pytest.fixture
def say(gateway: FakeGateway, fwd: Run) -> Say:
    """Say these lines in a chat."""

    def lines(*text: str, options: tuple[str, ...] = ()) -> Ended:
        address = ("--server", gateway.url, "--key", KEY)
        return fwd("chat", *address, *options, stdin="".join(f"{line}\n" for line in text))

    return lines


def sent(gateway: FakeGateway) -> list[list[object]]:
    """The contents of the messages of every request."""
    return [[message["content"] for message in request["messages"]] for request in gateway.requests]


def test_every_line_is_a_message(say: Say, gateway: FakeGateway) -> None:
    """With all that was said before; answers on stdout, words on stderr."""
    ended = say("hi", "and?", options=("-s", "Be short.", "-m", "m", "-t", "0.5", "--max-tok", "9"))
    assert (ended.code, ended.out) == (0, "Hello.\nHello.\n")
    assert sent(gateway) == [["Be short.", "hi"], ["Be short.", "hi", "Hello.", "and?"]]
    assert [gateway.requests[1][name] for name in ("model", "temperature", "max_tokens")] == ["m", 0.5, 9]
    assert ended.err.count("echo: via echo") == 2
    assert "via" not in say("hi", options=("-q",)).err


def test_the_last_talk_goes_on(say: Say, gateway: FakeGateway) -> None:
    """-c; a private one is not kept; without any there is nothing to go on with."""
    assert say(options=("-c",)).code == 1
    say("secret", options=("--private",))
    assert say(options=("-c",)).code == 1
    say("hi", options=("-m", "m"))
    gateway.requests.clear()
    say("and?", options=("-c",))
    assert sent(gateway) == [["hi", "Hello.", "and?"]]
    assert gateway.requests[0]["model"] == "m"


def test_an_error_does_not_end_the_talk(say: Say, gateway: FakeGateway) -> None:
    """Three lines, the message is taken back, /retry asks it again; a pipe gets the last error's code."""
    gateway.status = 401
    gateway.reply = {"error": {"message": "No.", "type": "x", "param": None, "code": "invalid_api_key"}}
    ended = say("hi", "you", "/retry")
    assert ended.code == 4
    assert ended.err.count("error: the gateway refused the key") == 3
    assert sent(gateway) == [["hi"], ["you"], ["you"]]


def test_an_answer_that_breaks_off_is_kept(say: Say, gateway: FakeGateway) -> None:
    """What came is part of the talk; /retry asks for a whole one."""
    gateway.pieces = [chunk("Hel")]
    say("hi", "so?", "/retry")
    assert sent(gateway) == [["hi"], ["hi", "Hel", "so?"], ["hi", "Hel", "so?"]]


def test_functions_are_run(fwd: Run) -> None:
    """--tools: the model calls a function of the file, and the next message knows what was said, not how."""
    Path("sums.py").write_text("def add(a: int, b: int) -> int:\n    return a + b\n")
    gateway = ScriptedGateway()
    gateway.call_tool("add", a=1, b=2)
    gateway.say("It is 3.")
    gateway.say("Still 3.")
    with gateway.serve() as url:
        ended = fwd("chat", "--server", url, "--key", gateway.key, "--tools", "sums.py", stdin="1 + 2?\nsure?\n")
    assert (ended.code, ended.out) == (0, "It is 3.\nStill 3.\n")
    assert "add(a=1, b=2) → 3" in ended.err
    last = gateway.requests[2].json
    assert [message["content"] for message in last["messages"]] == ["1 + 2?", "It is 3.", "sure?"]
    assert last["tools"][0]["function"]["name"] == "add"


def test_a_function_that_raises_does_not_end_the_talk(fwd: Run) -> None:
    """It is the user's mistake, said with its line; the message can be asked again."""
    Path("bad.py").write_text("def add(a: int, b: int) -> int:\n    raise ValueError('no')\n")
    gateway = ScriptedGateway()
    gateway.call_tool("add", a=1, b=2)
    gateway.say("Never mind.")
    with gateway.serve() as url:
        ended = fwd("chat", "--server", url, "--key", gateway.key, "--tools", "bad.py", stdin="1 + 2?\n/retry\n")
    assert (ended.code, ended.out) == (0, "Never mind.\n")
    assert "error: your tool add raised an exception" in ended.err


def test_definitions_are_no_functions(say: Say, gateway: FakeGateway) -> None:
    """Definitions in JSON are for fwd call: a chat runs functions."""
    Path("tools.json").write_text("[]")
    ended = say("hi", options=("--tools", "tools.json"))
    assert (ended.code, gateway.requests) == (2, [])
    assert "--tools takes a .py file" in ended.err


def test_model_and_system(say: Say, gateway: FakeGateway) -> None:
    """Changed from one message to the next; near names are told."""
    names.remember(gateway.url, ["echo:", "echo:json"])
    ended = say(
        "/model", "/model echo:jsn", "hi", "/model echo:", "/system Be kind.", "hi", "/system -", "hi", "/system"
    )
    assert [request["model"] for request in gateway.requests] == ["echo:jsn", "echo:", "echo:"]
    assert [len(contents) for contents in sent(gateway)] == [1, 4, 5]
    assert "Model: chosen by the gateway." in ended.err
    assert "Similar names: echo:json, echo:." in ended.err
    assert ended.err.rstrip().endswith("System message: none")


def test_files(say: Say, gateway: FakeGateway) -> None:
    """They go with the next message; one that is not there is told at once."""
    Path("note.txt").write_text("text")
    Path("bytes").write_bytes(b"\xff\xfe\x00")
    ended = say(
        "/file note.txt", "read", "/file nowhere", "/file", "/file bytes", "see", "/file https://a/b.png", "look"
    )
    assert sent(gateway)[0] == ["note.txt:\ntext\n\nread"]
    assert sent(gateway)[1][-1][1]["image_url"] == {"url": "https://a/b.png"}  # type: ignore[index]
    for words in ("No such file or directory: nowhere", "/file needs the name", "neither UTF-8 text, nor"):
        assert words in ended.err


def test_saving_and_loading(say: Say, gateway: FakeGateway) -> None:
    """A talk in a file; what is none is refused."""
    Path("other.json").write_text("{}")
    ended = say("hi", "/save talk.json", "/clear", "new", "/load talk.json", "/load other.json", "/save", "/load", "go")
    assert json.loads(Path("talk.json").read_text())["messages"][0]["content"] == "hi"
    assert sent(gateway) == [["hi"], ["new"], ["hi", "Hello.", "go"]]
    assert "1 message so far; the last was: hi" in ended.err
    assert "this is not a conversation" in ended.err
    assert "/save needs the name" in ended.err
    assert "/load needs the name" in ended.err


def test_copying(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last answer; without one, or without a clipboard, that is said."""
    copied: list[str] = []
    monkeypatch.setattr(session_module, "copy", lambda text, out: copied.append(text) or "xclip")
    ended = say("/copy", "hi", "/copy")
    assert copied == ["Hello."]
    assert "there is no answer to copy" in ended.err
    assert "Copied by xclip." in ended.err
    monkeypatch.setattr(session_module, "copy", lambda text, out: None)
    assert "There is no clipboard here" in say("hi", "/copy").err


def test_an_editor(say: Say, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written there is the next message; nothing written, nothing sent; an editor that fails is told."""
    Path("editor").write_text("#!/bin/sh\necho edited >> $1\n")
    Path("editor").chmod(0o755)
    monkeypatch.setenv("EDITOR", str(Path("editor").absolute()))
    monkeypatch.delenv("VISUAL", raising=False)
    say("/edit", "/edit begun ", "/quit", "never")
    assert [contents[-1] for contents in sent(gateway)] == ["edited", "begun\nedited"]
    monkeypatch.setenv("EDITOR", "false")
    assert "false" in say("/edit").err


def test_what_is_no_command(say: Say, gateway: FakeGateway) -> None:
    """The nearest one; a message may begin with two slashes; nothing to retry is told."""
    ended = say("/modle", "/zzz", "//etc/hosts", "", "/clear", "/retry")
    assert "did you mean /model?" in ended.err
    assert "to send a message that begins with /, type //" in ended.err
    assert "there is no message to ask again" in ended.err
    assert sent(gateway) == [["/etc/hosts"]]


def test_help_names_every_command(say: Say) -> None:
    """And the keys."""
    err = say("/help").err
    assert all(f"{name} " in err for name in COMMANDS)
    assert "Ctrl-C" in err


def test_no_key(fwd: Run) -> None:
    """Said before anything is typed."""
    assert fwd("chat").code == 4


@define
class Pressing:
    """A source with Ctrl-C in it."""

    presses: list[str | type[BaseException]] = field(factory=list)

    def read(self, draft: str) -> str:
        pressed = self.presses.pop(0)
        if isinstance(pressed, str):
            return pressed
        raise pressed


@pytest.fixture
def session(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> Session:
    import sys

    return Session(Client(base_url=gateway.url, api_key=KEY), Conversation(), sys.stdout, kept=Path("no/such"))


def test_ctrl_c_twice_leaves(session: Session) -> None:
    """A message between them counts as a change of mind."""
    source = Pressing([KeyboardInterrupt, "/help", KeyboardInterrupt, KeyboardInterrupt, "never"])
    session.run(source)
    assert source.presses == ["never"]


def test_ctrl_c_stops_only_the_answer(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came is kept; once more leaves."""

    def interrupted(client: object, params: object, style: object, shown: session_module.ShownAnswer) -> None:
        shown.pieces.append("So far")
        raise KeyboardInterrupt

    monkeypatch.setattr(session_module, "ask", interrupted)
    source = Pressing(["hi", KeyboardInterrupt, "never"])
    session.run(source)
    assert session.conversation.last_answer() == "So far"
    assert source.presses == ["never"]


def test_a_disk_that_is_full_does_not_end_a_talk(session: Session, gateway: FakeGateway) -> None:
    """The talk goes on, it is only not kept."""
    Path("no").touch()
    session.handle("hi")
    assert session.conversation.last_answer() == "Hello."


def test_tab(session: Session) -> None:
    """Commands, models, files and directories."""
    names.remember(session.client.base_url, ["echo:", "echo:json"])
    Path("folder").mkdir()
    Path("folder/note.txt").touch()
    assert list(session.complete("/sa")) == ["/save"]
    assert list(session.complete("/model echo:j")) == ["/model echo:json"]
    assert list(session.complete("/file fo")) == ["/file folder/"]
    assert list(session.complete("/load folder/")) == ["/load folder/note.txt"]
    assert [list(session.complete(text)) for text in ("hi", "/file no/such/x", "/system x")] == [[], [], []]


def test_where_a_talk_stands() -> None:
    """In one line, whatever was said last."""
    talk = Conversation()
    assert summary(talk) == "no messages yet"
    talk.messages.append({"role": "user", "content": [{"type": "text", "text": "what\n is " + "x" * 99}]})
    assert summary(talk).endswith("the last was: what is " + "x" * 52 + "…")


def test_nothing_heard_is_nothing_said(say: Say, gateway: FakeGateway) -> None:
    """An empty answer leaves no trace in the talk."""
    gateway.pieces = [chunk(finish="stop"), DONE]
    gateway.reply = answer(None)
    say("hi", "you")
    assert sent(gateway) == [["hi"], ["you"]]


def test_a_person_is_greeted(fwd: Run, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the model and where it is, and where the last talk ended; what Tab may complete is learned."""

    class Typing(io.StringIO):
        def isatty(self) -> bool:
            return True

    opened: list[object] = []
    monkeypatch.setattr(
        "fwd_cli.typed.Keyboard", lambda words, history, complete: opened.append(history) or Pressing(["hi", EOFError])
    )
    gateway.reply = {"object": "list", "data": [{"id": "echo:x"}]}
    address = ("--server", gateway.url, "--key", KEY)
    assert f"No model named: the gateway chooses at {gateway.url}" in fwd("chat", *address, stdin=Typing()).err
    assert "1 message so far; the last was: hi" in fwd("chat", *address, "-c", "--private", stdin=Typing()).err
    assert [bool(history) for history in opened] == [True, False]
    assert names.models_of(gateway.url) == ["echo:x"]


def test_conversations_with_names(say: Say, gateway: FakeGateway) -> None:
    """/open switches between them, --name begins with one, /list has all; nothing else changes."""
    ended = say("hi", "/open trip", "Rome?", "/open work", "code", "/open trip", "and Oslo?", "/list", "/open a/b")
    assert sent(gateway)[-1] == ["Rome?", "Hello.", "and Oslo?"]
    assert "trip is a new conversation." in ended.err
    assert "trip: 1 message so far; the last was: Rome?" in ended.err
    assert "trip, work" in ended.err or "work, trip" in ended.err
    assert "'a/b' is not a name" in ended.err
    gateway.requests.clear()
    say("more", options=("--name", "work"))
    say("again", options=("-c",))
    say("new", options=("-n", "third"))
    assert sent(gateway) == [["code", "Hello.", "more"], ["hi", "Hello.", "again"], ["new"]]
    assert say(options=("-n", "x", "-c")).code == 2
    assert say(options=("-n", "../x")).code == 1
    ended = say("/open trip", "/open", options=("--private",))
    assert "a private chat keeps no conversations" in ended.err
    assert "/open needs a name" in ended.err


def test_what_a_session_used(say: Say, gateway: FakeGateway) -> None:
    """/cost adds up tokens and reported costs; an unknown cost is not a cost of 0."""
    assert "0 answers · 0→0 tok\n" in say("/cost").err
    assert "1 answer · 3→2 tok · cost unknown" in say("hi", "/cost").err
    gateway.headers["x-fwd-cost"] = "0.0021"
    ended = say("hi", "hi", "/cost")
    assert "2 answers · 6→4 tok · $0.0042\n" in ended.err
    assert " · $0.0021 · req_1" in ended.err


def test_a_part_of_the_cost_is_unknown() -> None:
    """It is said how much is missing."""
    spending = Spending()
    spending.add(Receipt(cost=0.5))
    spending.add(Receipt())
    assert spending.summary() == "2 answers · 0→0 tok · $0.5, without 1 whose cost is unknown"


def test_no_conversations_yet(say: Say) -> None:
    """And how to begin one."""
    assert "There is none yet: /open NAME begins one." in say("/list").err
