"""``fwd models``."""

from __future__ import annotations

import json

import pytest
from tests.cli.conftest import KEY, FakeGateway, Run

MODELS = [
    {"id": "echo:", "fwd": {"provider": "echo"}},
    {
        "id": "openai:gpt-x\x1b[2J",
        "fwd": {
            "provider": "openai",
            "context": 922000,
            "prices": {"input": 0.075, "output": 10, "cached_input": None},
            "abilities": ["tools", "vision"],
            "listed": "provider",
        },
    },
]


@pytest.fixture(autouse=True)
def at_gateway(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.reply = {"object": "list", "data": MODELS}
    monkeypatch.setenv("FORWARDER_URL", gateway.url)
    monkeypatch.setenv("FORWARDER_KEY", KEY)


def test_columns_for_programs_in_a_pipe(fwd: Run) -> None:
    """Tabs between them; what is not known is empty, not 0; T25: names are filtered."""
    assert fwd("models").out == "echo:\t\t\t\t\t\nopenai:gpt-x\t922,000\t0.075\t10.00\ttools, vision\tprovider\n"


def test_words_choose(fwd: Run) -> None:
    """Every word must be there, in any case."""
    assert fwd("models", "OpenAI", "vision").out.startswith("openai:gpt-x\t")
    assert fwd("models", "echo", "vision").out == ""
    assert fwd("models", "OPENAI:*", "tools").out.startswith("openai:gpt-x\t")
    assert fwd("models", "open*", "echo").out == ""
    assert fwd("models", "gpt*").err.startswith("No model has gpt*")


def test_json_is_one_object_a_line_with_nothing_left_out(fwd: Run) -> None:
    """What the gateway said of each model."""
    lines = [json.loads(line) for line in fwd("models", "--json").out.splitlines()]
    assert [line["id"] for line in lines] == [model["id"] for model in MODELS]
    assert lines[1]["fwd"] == MODELS[1]["fwd"]


def test_no_key(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same three lines as of `fwd call`."""
    monkeypatch.delenv("FORWARDER_KEY")
    assert fwd("models").code == 4
