"""The calls of ``fwd demo``: each is made through the SDK, shown as it happens, and checked for what it claims."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from fwd_cli.child import Gateway
from fwd_cli.render import tool_call
from fwd_client import AuthenticationError, Client

Show = Callable[[str], None]

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class Untrue(Exception):
    """A call did not do what its step claims; the text says what it did instead."""


@frozen
class Step:
    """One call: what it is, the request in short, what it proves, and the call itself, which shows its answer."""

    title: str
    request: str
    proves: str
    run: Callable[[Gateway, Show], None]


def claim(true: bool, actual: object) -> None:
    """Raise :class:`Untrue` with the actual value, unless the claim is true."""
    if not true:
        raise Untrue(f"got {actual!r} instead")


def answer_in_json(gateway: Gateway, show: Show) -> None:
    """The last user message comes back."""
    with _make_client(gateway) as client:
        answer = client.chat.completions.create(model="echo:", messages="Hello, fwd!")
    show(answer.text)
    claim(answer.text == "Hello, fwd!", answer.text)


def answer_in_a_stream(gateway: Gateway, show: Show) -> None:
    """The same words arrive in several pieces."""
    words = "Every word of this sentence arrives on its own, the moment it is there."
    pieces = []
    with _make_client(gateway) as client:
        for piece in _streamed(client, "echo:slow?ttft=200ms&rate=25", words):
            show(piece)
            pieces.append(piece)
    # One piece would be no stream, however right its words are.
    claim("".join(pieces) == words and len(pieces) > 1, pieces)


def _streamed(client: Client, model: str, words: str) -> Iterator[str]:
    with client.chat.completions.stream(model=model, messages=words) as stream:
        yield from stream.text


def tool_is_called(gateway: Gateway, show: Show) -> None:
    """The model asks for the one tool it was offered, with arguments of the right shape."""
    with _make_client(gateway) as client:
        answer = client.chat.completions.create(
            model="echo:tools", messages="How is the weather in Oslo?", tools=[WEATHER]
        )
    for call in answer.tool_calls:
        show(tool_call(call))
    arguments = [call.function.parsed() for call in answer.tool_calls if call.function.name == "get_weather"]
    claim(len(arguments) == 1 and isinstance(arguments[0].get("city"), str), answer.tool_calls)


def fallback_steps_in(gateway: Gateway, show: Show) -> None:
    """The first provider refuses the connection, the second answers."""
    with _make_client(gateway) as client:
        answer = client.chat.completions.create(messages="Is anybody there?")
    show(f"{answer.text}   (answered by {answer.provider}, attempts: {answer.attempts})")
    claim(answer.provider == "echo" and (answer.attempts or 0) >= 2, (answer.provider, answer.attempts))


def wrong_key_is_refused(gateway: Gateway, show: Show) -> None:
    """A key the gateway does not know gets nothing but a 401."""
    with Client(base_url=gateway.url, api_key="fwd_not-a-key-of-this-gateway") as stranger:
        try:
            answer = stranger.chat.completions.create(model="echo:", messages="Let me in!")
        except AuthenticationError as error:
            show(f"{error.status} {error.code}: {error.message}")
            claim(error.status == 401, error.status)
        else:
            raise Untrue(f"got an answer: {answer.text!r}")


def _make_client(gateway: Gateway) -> Client:
    return Client(base_url=gateway.url, api_key=gateway.key)


STEPS = (
    Step(
        "JSON",
        'create(model="echo:", messages=[...])',
        "an answer with no provider key and no network: echo repeats what you say",
        answer_in_json,
    ),
    Step(
        "Streaming",
        'create(model="echo:slow?ttft=200ms&rate=25", stream=True, ...)',
        "pieces pass through the gateway one by one, without waiting for each other",
        answer_in_a_stream,
    ),
    Step(
        "Tools",
        'create(model="echo:tools", tools=[get_weather], ...)',
        "a tool call arrives with arguments that fit the tool's schema",
        tool_is_called,
    ),
    Step(
        "Fallback",
        "create(messages=[...])   with PROVIDERS_PRIORITY=closed,echo",
        "an unreachable provider costs an attempt, not the answer",
        fallback_steps_in,
    ),
    Step(
        "Wrong key",
        'Client(api_key="fwd_not-a-key-of-this-gateway")',
        "nobody gets in without a valid key",
        wrong_key_is_refused,
    ),
)
