"""``fwd help``."""

from __future__ import annotations

import pytest
from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ([], "Usage: fwd [OPTIONS] COMMAND"),
        (["call"], "Usage: fwd call [OPTIONS] [PROMPT]"),
        (["env"], "FORWARDER_KEYS_FILE"),
        (["env"], "FWD_<PROVIDER>_..._TIMEOUT"),
        (["exit-codes"], "130  interrupted"),
    ],
)
def test_commands_and_topics(fwd: Run, topic: list[str], said: str) -> None:
    """Help of a command, of the group, and of what belongs to no command."""
    ended = fwd("help", *topic)
    assert ended.code == 0
    assert said in ended.out


def test_an_unknown_topic_names_those_there_are(fwd: Run) -> None:
    """Not found, and what can be found."""
    ended = fwd("help", "nope")
    assert ended.code == 2
    assert "env, exit-codes" in ended.err
