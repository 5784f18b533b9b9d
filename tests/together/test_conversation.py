"""Five turns with tools, a picture and an answer in JSON, through every provider's own language, over real sockets.

The caller is the official OpenAI SDK and sends the same to all; each upstream is strict about its own language.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from attrs import frozen
from kit import conversation
from kit.conversation import TURNS, Json, Said
from kit.providers import LANGUAGES, Language, Provider, address, serve

from .conftest import KEY, PROVIDER_KEY, Gateway


@frozen
class Talk:
    """A gateway with one provider behind it, and the SDK before it."""

    language: Language
    provider: Provider
    client: openai.OpenAI

    def answer(self, body: Json, *, stream: bool) -> Any:
        """One answer, in one piece or put together by the SDK's own stream helper."""
        model = f"{self.language.name}:{self.language.model}"
        if not stream:
            return self.client.chat.completions.create(model=model, **body)
        with self.client.chat.completions.stream(model=model, stream_options={"include_usage": True}, **body) as events:
            return events.get_final_completion()


@pytest.fixture(params=LANGUAGES, ids=lambda language: language.name)
def talk(request: pytest.FixtureRequest, start_gateway: Callable[..., Gateway]) -> Iterator[Talk]:
    language: Language = request.param
    provider = Provider(language, PROVIDER_KEY)
    with serve(provider) as up:
        stem = language.name.upper()
        gateway = start_gateway(
            **{f"{stem}_API_KEY": PROVIDER_KEY, f"{stem}_BASE_URL": address(up, language), "FWD_ECHO": "false"}
        )
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
            yield Talk(language, provider, client)
        assert gateway.stop() == 0


def history(message: Any) -> Json:
    """An answer as an app puts it into its next call: everything in it but what the SDK's stream helper adds."""
    written: Json = message.model_dump(exclude_none=True, exclude={"parsed"})
    for call in written.get("tool_calls", ()):
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
    return written


def normalised(completion: Any) -> Said:
    """What was said, without the provider's ids, names and reasoning."""
    (choice,) = completion.choices
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or ()]
    usage = completion.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    said = Said(choice.message.content or "", tuple(calls), "", usage.prompt_tokens, usage.completion_tokens)
    assert choice.finish_reason == said.finish
    return said


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_five_turns_are_the_same_with_every_provider(talk: Talk, stream: bool) -> None:
    """What each is asked, and what the caller gets, do not depend on the provider."""
    so_far: list[Json] = []
    got = []
    for turn in range(len(TURNS)):
        body = conversation.body(turn, so_far)
        completion = talk.answer(body, stream=stream)
        got.append(normalised(completion))
        so_far = [*body["messages"], history(completion.choices[0].message)]
    assert talk.provider.wrong == []
    assert talk.provider.asked == [conversation.asked(turn, stream=stream) for turn in range(len(TURNS))]
    assert got == [Said(t.answer.text, t.answer.calls, "", t.answer.prompt, t.answer.completion) for t in TURNS]


def test_the_upstreams_take_nothing_they_do_not_know(talk: Talk) -> None:
    """Else the conversation would prove nothing; and ``extra_body`` reaches every provider's own body."""
    more = {"extra_body": {"extra_body": {"brand_new": 1}}}
    with pytest.raises(openai.BadRequestError):
        talk.answer({**conversation.body(0, []), **more}, stream=False)
    assert "brand_new" in talk.provider.wrong[0]
