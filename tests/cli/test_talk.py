"""What a conversation remembers."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from fwd_cli.talk import BadTalk, Talk, read


def test_what_is_said_and_heard_is_sent_again() -> None:
    """The system message first."""
    talk = Talk(system="Be short.")
    talk.say("a")
    talk.hear("b")
    talk.say("c")
    assert [message["content"] for message in talk.sent()] == ["Be short.", "a", "b", "c"]
    assert talk.last_said() == "b"


def test_a_message_without_an_answer_is_taken_back() -> None:
    """It is not part of the next request, but can be asked again."""
    talk = Talk()
    talk.say("a")
    talk.hear("")
    assert (talk.messages, talk.unsent, talk.last_said()) == ([], "a", "")
    assert talk.again()
    assert talk.sent() == [{"role": "user", "content": "a"}]


def test_an_answer_can_be_asked_for_again() -> None:
    """It is forgotten; without a message there is nothing to ask."""
    talk = Talk()
    assert not talk.again()
    talk.say("a")
    talk.hear("b")
    assert talk.again()
    assert talk.messages == [{"role": "user", "content": "a"}]


def test_files_go_with_one_message(tmp_path: Path) -> None:
    """And not with the one after it."""
    (tmp_path / "note.txt").write_text("text")
    talk = Talk(files=[str(tmp_path / "note.txt")])
    talk.say("a")
    talk.say("b")
    assert [message["content"] for message in talk.messages] == ["note.txt:\ntext\n\na", "b"]


def test_a_saved_talk_goes_on(tmp_path: Path) -> None:
    """Model, system message and messages; only its owner can read it."""
    path = tmp_path / "talk.json"
    talk = Talk("m", "s")
    talk.say("lone \ud800 surrogate")
    talk.hear("é")
    talk.save(path)
    other = Talk()
    other.say("forgotten")
    other.load(path)
    assert (other.model, other.system, other.last_said()) == ("m", "s", "é")
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
def test_a_file_that_is_no_talk_changes_nothing(tmp_path: Path, kept: object) -> None:
    """The talk at hand stays."""
    path = tmp_path / "x"
    path.write_text(json.dumps(kept))
    talk = Talk()
    talk.say("a")
    with pytest.raises(BadTalk, match=str(path)):
        talk.load(path)
    assert len(talk.messages) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """In the system's words."""
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "x")
