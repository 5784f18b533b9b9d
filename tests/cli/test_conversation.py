"""What a conversation remembers."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from fwd_cli.conversation import BadConversation, Conversation, read_conversation


def test_what_is_said_and_heard_is_sent_again() -> None:
    """The system message first."""
    conversation = Conversation(system="Be short.")
    conversation.add_question("a")
    conversation.add_answer("b")
    conversation.add_question("c")
    assert [message["content"] for message in conversation.request_messages()] == ["Be short.", "a", "b", "c"]
    assert conversation.last_answer() == "b"


def test_a_message_without_an_answer_is_taken_back() -> None:
    """It is not part of the next request, but can be asked again."""
    conversation = Conversation()
    conversation.add_question("a")
    conversation.add_answer("")
    assert (conversation.messages, conversation.unsent, conversation.last_answer()) == ([], "a", "")
    assert conversation.take_back_answer()
    assert conversation.request_messages() == [{"role": "user", "content": "a"}]


def test_an_answer_can_be_asked_for_again() -> None:
    """It is forgotten; without a message there is nothing to ask."""
    conversation = Conversation()
    assert not conversation.take_back_answer()
    conversation.add_question("a")
    conversation.add_answer("b")
    assert conversation.take_back_answer()
    assert conversation.messages == [{"role": "user", "content": "a"}]


def test_files_go_with_one_message(tmp_path: Path) -> None:
    """And not with the one after it."""
    (tmp_path / "note.txt").write_text("text")
    conversation = Conversation(files=[str(tmp_path / "note.txt")])
    conversation.add_question("a")
    conversation.add_question("b")
    assert [message["content"] for message in conversation.messages] == ["note.txt:\ntext\n\na", "b"]


def test_a_saved_conversation_goes_on(tmp_path: Path) -> None:
    """Model, system message and messages; only its owner can read it."""
    path = tmp_path / "conversation.json"
    conversation = Conversation("m", "s")
    conversation.add_question("lone \ud800 surrogate")
    conversation.add_answer("é")
    conversation.save(path)
    other = Conversation()
    other.add_question("forgotten")
    other.load(path)
    assert (other.model, other.system, other.last_answer()) == ("m", "s", "é")
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "kept",
    [
        [],
        {},
        {"messages": 1},
        {"messages": ["x"]},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": [{"role": "assistant", "content": []}]},
        {"messages": [{"role": "user"}]},
        {"messages": [], "model": 1},
    ],
)
def test_a_file_that_is_no_conversation_changes_nothing(tmp_path: Path, kept: object) -> None:
    """The conversation at hand stays."""
    path = tmp_path / "x"
    path.write_text(json.dumps(kept))
    conversation = Conversation()
    conversation.add_question("a")
    with pytest.raises(BadConversation, match=str(path)):
        conversation.load(path)
    assert len(conversation.messages) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """In the system's words."""
    with pytest.raises(FileNotFoundError):
        read_conversation(tmp_path / "x")
