"""Tools from files."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from tests.cli.conftest import KEY, FakeGateway, Run, answer

from fwd_cli.toolfiles import definitions, functions

CODE = '''
from json import dumps
import os

def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"

def _own(): ...

class City: ...
'''
CALL = {"id": "t", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}


def test_definitions_as_they_are_or_without_their_wrapping() -> None:
    """One, or a list."""
    Path("one.json").write_text('{"name": "f"}')
    Path("list.json").write_text('[{"type": "function", "function": {"name": "f"}}]')
    wanted = [{"type": "function", "function": {"name": "f"}}]
    assert definitions("one.json") == definitions("list.json") == wanted


@pytest.mark.parametrize("text", ["{", "[]", "[1]", "{}"])
def test_what_is_no_definition(text: str) -> None:
    """Said before anything is sent."""
    Path("x.json").write_text(text)
    with pytest.raises(click.UsageError, match=r"x\.json"):
        definitions("x.json")


def test_functions_of_the_file_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither what it imports nor what begins with _; each says when it runs."""
    Path("tools.py").write_text(CODE)
    (weather,) = functions("tools.py")
    assert (weather.__name__, weather(city="Rome")) == ("weather", "sunny in Rome")
    assert capsys.readouterr().err == "weather(city='Rome') → 'sunny in Rome'\n"


@pytest.mark.parametrize(("code", "said"), [("x = 1", "defines no function"), ("1/0", "ZeroDivisionError")])
def test_a_file_without_functions(code: str, said: str) -> None:
    """With the reason."""
    Path("x.py").write_text(code)
    with pytest.raises(click.UsageError, match=said):
        functions("x.py")


def test_a_file_that_is_not_there() -> None:
    """In the system's words."""
    with pytest.raises(click.UsageError, match="No such file"):
        functions("x.py")


def test_call_shows_what_the_model_asks_for(fwd: Run, gateway: FakeGateway) -> None:
    """Definitions are sent, the call is printed."""
    Path("x.json").write_text('{"name": "weather"}')
    gateway.reply = answer(None, tool_calls=[CALL])
    ended = fwd("call", "hi", "--no-stream", "--tools", "x.json", "--server", gateway.url, "--key", KEY)
    assert ended.out == 'weather({"city": "Rome"})\n'
    assert gateway.requests[0]["tools"][0]["function"] == {"name": "weather"}


@pytest.mark.parametrize(("option", "out"), [("-q", "Done.\n"), ("--json", None)])
def test_call_runs_functions(fwd: Run, gateway: FakeGateway, option: str, out: str | None) -> None:
    """The model's answer to what they gave is the answer."""
    Path("tools.py").write_text(CODE)
    replies = iter([answer(None, tool_calls=[CALL]), answer("Done.")])
    gateway.next_reply = lambda: next(replies)
    ended = fwd("call", "hi", option, "--no-stream", "--tools", "tools.py", "--server", gateway.url, "--key", KEY)
    assert ended.code == 0
    assert "Done." in ended.out
    assert out in (None, ended.out)
    assert gateway.requests[1]["messages"][-1]["content"] == "sunny in Rome"


def test_a_tool_that_raises_is_the_users(fwd: Run, gateway: FakeGateway) -> None:
    """Three lines with the place in the user's file; fwd itself made no mistake, and the model is not told."""
    Path("tools.py").write_text("def weather(city: str) -> str:\n    return {}[city]\n")
    gateway.reply = answer(None, tool_calls=[CALL])
    ended = fwd("call", "hi", "--no-stream", "--tools", "tools.py", "--server", gateway.url, "--key", KEY)
    assert (ended.code, ended.out, len(gateway.requests)) == (1, "", 1)
    assert ended.err.splitlines() == [
        "error: your tool weather raised an exception",
        "  why: KeyError: 'Rome' (tools.py, line 2)",
        "  try: fix it, or raise fwd_client.ToolError to let the model read the message",
    ]


def test_a_tool_error_goes_to_the_model(fwd: Run, gateway: FakeGateway) -> None:
    """ToolError is the way to answer the model and not the user."""
    Path("tools.py").write_text(
        "from fwd_client import ToolError\ndef weather(city: str) -> str:\n    raise ToolError('no such city')\n"
    )
    replies = iter([answer(None, tool_calls=[CALL]), answer("Sorry.")])
    gateway.next_reply = lambda: next(replies)
    ended = fwd("call", "hi", "-q", "--no-stream", "--tools", "tools.py", "--server", gateway.url, "--key", KEY)
    assert (ended.code, ended.out) == (0, "Sorry.\n")
    assert gateway.requests[1]["messages"][-1]["content"] == "Error: no such city"
