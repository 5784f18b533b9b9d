"""The calls of the demo: against a gateway that does as it should, and one that does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.cli.conftest import DONE, KEY, FakeGateway, answer, chunk

from fwd_cli.child import Gateway
from fwd_cli.steps import STEPS, Step, Untrue
from fwd_client import FwdError


@pytest.fixture
def at(gateway: FakeGateway) -> Iterator[Gateway]:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        yield Gateway(gateway.url, KEY, 0.1, process)


def tell_the_truth(gateway: FakeGateway, step: Step) -> None:
    """Make the gateway answer as the step expects."""
    sentence = "Every word of this sentence arrives on its own, the moment it is there."
    gateway.pieces = [chunk(sentence[:9]), chunk(sentence[9:]), DONE]
    gateway.reply = answer("Hello, fwd!")
    if step.title == "Tools":
        call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
        gateway.reply = answer(None, tool_calls=[call])
    if step.title == "Fallback":
        gateway.headers["x-fwd-attempts"] = "2"
    if step.title == "Wrong key":
        gateway.status = 401
        gateway.reply = {"error": {"message": "No.", "type": "x", "param": None, "code": "invalid_api_key"}}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_a_true_answer_is_shown(gateway: FakeGateway, at: Gateway, step: Step) -> None:
    """Every step shows what came back."""
    tell_the_truth(gateway, step)
    shown: list[str] = []
    step.run(at, shown.append)
    assert "".join(shown)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_a_false_answer_is_noticed(gateway: FakeGateway, at: Gateway, step: Step) -> None:
    """No step believes just any answer."""
    gateway.reply = answer("Something else.")
    with pytest.raises((Untrue, FwdError)):
        step.run(at, lambda text: None)
