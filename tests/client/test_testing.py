"""The fake gateway, which users build their own tests on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

import fwd_client
from fwd_client import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    Client,
    ModelNotFoundError,
    NotFoundError,
    ParseError,
    RateLimitError,
    Retry,
    RunEvent,
    StreamInterruptedError,
    ToolError,
    ToolFinished,
    ToolStarted,
    UpstreamError,
)
from fwd_client.pytest_plugin import fwd_gateway  # noqa: F401 - a fixture, used by its name
from fwd_client.testing import FakeGateway


def messages(*contents: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content} for content in contents]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("hi there", "hi there"),
        (messages("a", "b"), "b"),
        (messages([{"type": "text", "text": "x"}, {"type": "image_url"}, {"type": "text", "text": "y"}]), "xy"),
        ([{"role": "system", "content": "s"}], ""),
    ],
)
def test_echo(asked: Any, answer: str) -> None:
    """Without instructions it repeats the last user message."""
    assert FakeGateway().client().chat.completions.create(messages=asked).text == answer


def test_instructions_in_order() -> None:
    """Answers come in the order they were given; what was asked can be looked at."""
    gateway = FakeGateway()
    gateway.say("one")
    gateway.say({"two": 2})
    client = gateway.client()
    assert [client.ask(text, temperature=0) for text in "abc"] == ["one", '{"two": 2}', "c"]
    assert [request.json["messages"][0]["content"] for request in gateway.requests] == ["a", "b", "c"]


def test_same_twice() -> None:
    """The same calls give the same answers, ids and times included."""
    first, second = (FakeGateway().client().chat.completions.create(messages="hi") for _ in range(2))
    assert first == second
    assert (first.request_id, first.provider, first.attempts) == ("req_1", "fake", 1)


def test_stream() -> None:
    """A stream comes word by word, with its usage and its receipt."""
    with FakeGateway().client().chat.completions.stream(messages="a b c", model="m") as stream:
        assert list(stream.text) == ["a ", "b ", "c"]
    assert (stream.provider, stream.receipt.model) == ("fake", "m")
    assert stream.usage == stream.snapshot.usage
    assert stream.usage is not None


def test_whole_equals_stream() -> None:
    """A streamed answer adds up to the whole one."""
    gateway = FakeGateway()
    for _ in range(2):
        gateway.call_tool("f", a=1)
    client = gateway.client()
    whole = client.chat.completions.create(messages="x")
    streamed = client.chat.completions.create(messages="x", stream=True).final()
    assert [call.function for call in streamed.tool_calls] == [call.function for call in whole.tool_calls]
    assert streamed.finish_reason == whole.finish_reason == "tool_calls"


def test_faults() -> None:
    """Errors, broken streams and a gateway that is not there, on demand."""
    gateway = FakeGateway()
    client = gateway.client(max_retries=0).chat.completions
    gateway.fail(429, "rate_limit_exceeded", retry_after="7")
    with pytest.raises(RateLimitError) as caught:
        client.create(messages="x")
    assert caught.value.retry_after == 7.0
    gateway.refuse()
    with pytest.raises(APIConnectionError):
        client.create(messages="x")
    gateway.cut(after=2)
    with client.stream(messages="a b c") as stream, pytest.raises(StreamInterruptedError):
        stream.final()
    assert stream.snapshot.text == "a b "
    gateway.fail_midway("upstream_truncated", after=1)
    with client.stream(messages="a b c") as stream, pytest.raises(UpstreamError):
        stream.final()
    assert stream.snapshot.text == "a "


def test_models_and_paths() -> None:
    """It lists its models and knows no others; bad requests are refused."""
    client = FakeGateway(models=("a:b/c",)).client()
    assert [model.id for model in client.models.list()] == ["a:b/c"]
    assert client.models.retrieve("a:b/c").owned_by == "a"
    with pytest.raises(ModelNotFoundError):
        client.models.retrieve("x")
    with pytest.raises(BadRequestError):
        client.chat.completions.create(messages=[])
    assert client.health().ok


def test_async_client() -> None:
    """The same for asyncio."""

    async def main() -> list[str]:
        async with (
            FakeGateway().async_client() as client,
            client.chat.completions.stream(messages="a b") as stream,
        ):
            return [text async for text in stream.text]

    assert asyncio.run(main()) == ["a ", "b"]


def test_served() -> None:
    """Over a real socket it says the same, cut streams included, to anybody's client."""
    gateway = FakeGateway()
    with gateway.serve() as url, Client(base_url=url, api_key=gateway.key, max_retries=0) as client:
        assert client.ask("hi") == "hi"
        assert client.models.list().data[0].id == "echo:"
        gateway.cut()
        with pytest.raises(StreamInterruptedError):
            client.chat.completions.create(messages="a b", stream=True).final()
        with pytest.raises(NotFoundError):
            client.with_options(headers={"x": "y"})._run_call(_odd_path())


def _odd_path() -> Any:
    from attrs import evolve

    from fwd_client._operations import models

    return evolve(models(), path="/v1/odd")


def test_official_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fwd_client.openai()` is the official client, set up from the same variables."""
    gateway = FakeGateway()
    with gateway.serve() as url:
        monkeypatch.setenv("FORWARDER_URL", url)
        with fwd_client.openai(api_key=gateway.key) as client:
            made = client.chat.completions.create(model="echo:", messages=[{"role": "user", "content": "hi"}])
            assert made.choices[0].message.content == "hi"


PROGRAM = """
from fwd_client import Client

def test_app(fwd_gateway):
    fwd_gateway.say("Paris")
    with Client() as client:
        assert client.ask("Capital of France?") == "Paris"
    assert len(fwd_gateway.requests) == 1
"""


def test_fixture(fwd_gateway: FakeGateway) -> None:  # noqa: F811 - pytest hands it in
    """The fixture points the environment at a gateway that listens."""
    fwd_gateway.say("Paris")
    with Client() as client:
        assert client.ask("Capital of France?") == "Paris"


def test_pytest_plugin(tmp_path: Path) -> None:
    """The fixture `fwd_gateway` lets a program that makes its own client be tested offline."""
    (tmp_path / "test_app.py").write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "fwd_client.pytest_plugin", "-p", "no:cacheprovider"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_waits_are_reported() -> None:
    """`on_retry` hears of every wait, before it: what went wrong, how long, and which try it is."""
    gateway = FakeGateway()
    for _ in range(3):
        gateway.fail(429, "rate_limit_exceeded", retry_after="0")
    retries: list[Retry] = []
    with pytest.raises(RateLimitError):
        gateway.client(max_retries=2, on_retry=retries.append).ask("hi")
    assert [(retry.number, retry.max_retries, retry.delay_s) for retry in retries] == [(1, 2, 0.0), (2, 2, 0.0)]
    assert isinstance(retries[0].error, RateLimitError)


def test_waits_are_reported_to_awaiting_programs_too() -> None:
    """Also when the callable came with `with_options`."""
    gateway = FakeGateway()
    gateway.fail(503, "overloaded", retry_after="0")
    retries: list[Retry] = []

    async def main() -> str:
        async with gateway.async_client() as client:
            return await client.with_options(on_retry=retries.append).ask("hi")

    assert asyncio.run(main()) == "hi"
    assert len(retries) == 1


def test_another_key_over_the_same_connections() -> None:
    """`with_options(api_key=...)`: the first client keeps its own."""
    gateway = FakeGateway()
    client = gateway.client(max_retries=0)
    with pytest.raises(AuthenticationError):
        client.with_options(api_key="fwd_of-somebody-else").ask("hi")
    assert client.ask("hi") == "hi"
    assert [request.headers["authorization"][-4:] for request in gateway.requests] == ["else", "only"]


def test_an_opened_client_has_loaded_its_transport() -> None:
    """Entering `with` loads httpx, so that the first call takes no longer than the others."""
    script = "import sys; from fwd_client import Client\nwith Client(): print('httpx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def weather(city: str) -> str:
    """The weather of a city."""
    if city == "Atlantis":
        raise ToolError("no such city")
    return f"sunny in {city}"


def expect_events(events: list[RunEvent]) -> None:
    """Every step of the run, in order: each answer as it streams, each call with its outcome."""
    names = [type(event).__name__ for event in events]
    call = ["ToolCallStarted", "ToolCallArguments", "ToolCallReady", "Finished"]
    assert names == [
        *["StepStarted", *call, "ToolStarted", "ToolFinished"],
        *["StepStarted", *call, "ToolStarted", "ToolFinished"],
        *["StepStarted", *call, "ToolFinished"],
        *["StepStarted", "TextDelta", "TextDelta", "Finished"],
    ]
    finished = [event for event in events if isinstance(event, ToolFinished)]
    assert [(event.result, event.is_error) for event in finished[:2]] == [
        ("sunny in Rome", False),
        ("Error: no such city", True),
    ]
    assert finished[2].is_error
    started = [event for event in events if isinstance(event, ToolStarted)]
    assert [event.arguments for event in started] == [{"city": "Rome"}, {"city": "Atlantis"}]


def calling() -> FakeGateway:
    gateway = FakeGateway()
    gateway.call_tool("weather", city="Rome")
    gateway.call_tool("weather", city="Atlantis")
    gateway.call_tool("wind")
    gateway.say("Sunny there.")
    return gateway


def test_events_of_a_run() -> None:
    """`on_event` hears of everything; the run is the same as without."""
    events: list[RunEvent] = []
    run = calling().client().chat.completions.run_tools(messages="?", tools=[weather], on_event=events.append)
    expect_events(events)
    assert run.text == "Sunny there."
    other = calling().client().chat.completions.run_tools(messages="?", tools=[weather])
    assert run.messages[2::2] == other.messages[2::2]


def test_events_of_an_awaited_run() -> None:
    """The same events from the client that awaits."""
    events: list[RunEvent] = []

    async def main() -> str:
        async with calling().async_client() as client:
            run = await client.chat.completions.run_tools(messages="?", tools=[weather], on_event=events.append)
            return run.text

    assert asyncio.run(main()) == "Sunny there."
    expect_events(events)


def test_an_answer_in_all_its_parts() -> None:
    """Who answered, with which model, tokens, cost and latency; thinking comes before the text."""
    gateway = FakeGateway()
    for _ in range(2):
        gateway.say("a b", thinking="well then", provider="openai", model="gpt", usage=(7, 2), cost=0.5, latency=0.25)
    client = gateway.client()
    whole = client.chat.completions.create(messages="hi")
    with client.chat.completions.stream(messages="hi") as stream:
        streamed = stream.final()
    for answer in (whole, streamed):
        assert (answer.provider, answer.receipt.model, answer.cost) == ("openai", "gpt", 0.5)
        assert answer.timings == {"first": 250.0, "total": 250.0}
        assert (answer.text, answer.message.reasoning_content) == ("a b", "well then")
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 2, 9)


def test_an_answer_that_breaks_off() -> None:
    """`say` and a break combine: so many words of this text, and no more, whatever was thought before."""
    gateway = FakeGateway()
    gateway.say("one two three", cut_after=2, thinking="hm hm")
    gateway.say("one two three", fail_after=(1, "upstream_truncated"))
    client = gateway.client(max_retries=0).chat.completions
    with client.stream(messages="x") as stream, pytest.raises(StreamInterruptedError):
        stream.final()
    assert stream.snapshot.text == "one two "
    with client.stream(messages="x") as stream, pytest.raises(UpstreamError):
        stream.final()
    assert stream.snapshot.text == "one "


def test_a_timeout_without_waiting() -> None:
    """A latency beyond the client's limit is a timeout at once; over a socket it is a real one."""
    gateway = FakeGateway()
    gateway.say("late", latency=3600.0)
    with pytest.raises(APITimeoutError):
        gateway.client(max_retries=0, timeout=5).ask("hi")
    gateway.say("late", latency=0.01)
    with gateway.serve() as url, Client(base_url=url, api_key=gateway.key, max_retries=0) as client:
        assert client.ask("hi") == "late"


def test_answers_that_nobody_asked_for() -> None:
    """A script that is longer than the conversation is a mistake of the test or of the program."""
    gateway = FakeGateway()
    gateway.assert_all_used()
    gateway.say("one")
    gateway.say("two")
    gateway.client().ask("hi")
    with pytest.raises(AssertionError, match="1 scripted answer was never asked for, after 1 request"):
        gateway.assert_all_used()


@attrs.frozen
class City:
    name: str
    people: int


def test_a_streamed_answer_in_the_shape_of_a_class() -> None:
    """Every value on the way, then the instance; the schema is asked for as by `parse`."""
    gateway = FakeGateway()
    gateway.say({"name": "San Marino", "people": 34})
    with gateway.client().chat.completions.parse_stream(messages="?", into=City) as stream:
        assert [*stream.partials] == [
            {},
            {"name": "San "},
            {"name": "San Marino"},
            {"name": "San Marino", "people": 34},
        ]
        assert stream.final().value == City("San Marino", 34)
    assert gateway.requests[0].json["response_format"]["json_schema"]["name"] == "City"


def test_an_awaited_answer_in_the_shape_of_a_class() -> None:
    """The same, and an answer that does not fit is a `ParseError`."""
    gateway = FakeGateway()
    gateway.say({"name": "Rome", "people": "many"})

    async def main() -> list[Any]:
        async with (
            gateway.async_client() as client,
            client.chat.completions.parse_stream(messages="?", into=City) as stream,
        ):
            partials = [value async for value in stream.partials]
            with pytest.raises(ParseError):
                await stream.final()
            return partials

    assert asyncio.run(main())[-1] == {"name": "Rome", "people": "many"}
