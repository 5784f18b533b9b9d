"""The official OpenAI SDK, unchanged, as a client of the real gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from kit.fakeup import CLOSE, ROLE, STREAM_HEAD, Fakeup, completion, error_answer, event, json_answer

from .conftest import KEY, PROVIDER_KEY, Gateway

HELLO: Any = [{"role": "user", "content": "Hello 👋🏽, wörld"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
        },
    },
}


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_chat(client: openai.OpenAI) -> None:
    """Design 2.2: JSON as OpenAI's own."""
    answer = client.chat.completions.create(model="echo:", messages=HELLO)
    assert answer.choices[0].message.content == HELLO[0]["content"]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id is not None
    assert answer._request_id.startswith("req_")


def test_a_stream_with_usage(client: openai.OpenAI) -> None:
    """Role first, text in pieces, one finish, then the usage on a chunk of its own."""
    options: Any = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="echo:", messages=HELLO, stream=True, stream_options=options))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == HELLO[0]["content"]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_without_usage_has_none(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="echo:", messages=HELLO, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_tools_in_one_piece_and_in_a_stream(client: openai.OpenAI) -> None:
    """The same call both ways, with arguments that fit."""
    whole = client.chat.completions.create(model="echo:tools", messages=HELLO, tools=[WEATHER])
    (call,) = whole.choices[0].message.tool_calls or []
    with client.chat.completions.stream(model="echo:tools", messages=HELLO, tools=[WEATHER]) as stream:
        streamed = stream.get_final_completion()
    (again,) = streamed.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.arguments == again.function.arguments
    assert whole.choices[0].finish_reason == streamed.choices[0].finish_reason == "tool_calls"


def test_structured_output(client: openai.OpenAI) -> None:
    """An answer that the SDK parses into the class it asked for."""
    import pydantic

    class City(pydantic.BaseModel):
        name: str
        people: int

    answer = client.chat.completions.parse(model="echo:json", messages=HELLO, response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)


def test_models(client: openai.OpenAI) -> None:
    """The list routes back, and one is found by its name with colons and slashes."""
    names = [model.id for model in client.models.list()]
    assert "echo:" in names
    assert client.models.retrieve("echo:tools").id == "echo:tools"
    for name in ("nonsense", "echo:nonsense", "echo:/../x"):
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(name)


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("echo:fail?status=400", openai.BadRequestError),
        ("echo:fail?status=401", openai.InternalServerError),
        ("echo:fail?status=404", openai.NotFoundError),
        ("echo:fail?status=422", openai.UnprocessableEntityError),
        ("echo:fail?status=429&retry_after=2", openai.RateLimitError),
        ("echo:fail?status=500", openai.InternalServerError),
        ("echo:fail?status=503", openai.InternalServerError),
        ("nonsense", openai.NotFoundError),
        ("echo:nonsense", openai.BadRequestError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_sdks_own_classes(
    client: openai.OpenAI, model: str, error: type[openai.APIStatusError], stream: bool
) -> None:
    """F11 to F18 as the SDK raises them, before the first byte in a stream too."""
    with pytest.raises(error) as caught:
        client.chat.completions.create(model=model, messages=HELLO, stream=stream)
    assert caught.value.request_id is not None


def test_a_wrong_key(gateway: Gateway) -> None:
    """S15: one constant 401."""
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="fwd_wrong")
    with client, pytest.raises(openai.AuthenticationError, match="Incorrect API key provided"):
        client.models.list()


def test_a_bad_message(client: openai.OpenAI) -> None:
    wrong: Any = [{"role": "user", "content": 5}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="echo:", messages=wrong)
    assert caught.value.param == "messages[0].content"


def test_a_cut_stream_raises(client: openai.OpenAI) -> None:
    """Design 2.4: a stream never lies about its end."""
    with pytest.raises(openai.APIError, match="before completion"):
        list(client.chat.completions.create(model="echo:fail?after=3", messages=HELLO, stream=True))


def test_no_model_is_the_list(gateway: Gateway, client: openai.OpenAI) -> None:
    """Design, *Fallback*: the gateway's own choice."""
    none: Any = None
    answer = client.chat.completions.with_raw_response.create(model=none, messages=HELLO)
    assert answer.headers["x-fwd-provider"] == "echo"


# -- with real providers' places taken by scripted ones


@pytest.fixture
def up() -> Iterator[Fakeup]:
    with Fakeup(lambda seen: [error_answer(503, f"try {PROVIDER_KEY} later")]) as up:
        yield up


@pytest.fixture
def falling(start_gateway: Callable[..., Gateway], up: Fakeup) -> Iterator[Gateway]:
    """OpenAI is scripted, and a server that answers is next on the list."""
    with Fakeup(lambda seen: [json_answer(completion("Hello"))]) as other:
        gateway = start_gateway(
            "--log-level",
            "debug",
            OPENAI_API_KEY=PROVIDER_KEY,
            OPENAI_BASE_URL=up.url,
            OPENAI_MODEL="gpt-x",
            FWD_COMPAT="other",
            OTHER_BASE_URL=other.url,
            OTHER_MODEL="m",
            PROVIDERS_PRIORITY="openai,other",
        )
        yield gateway
        assert gateway.stop() == 0
    assert PROVIDER_KEY not in "".join(gateway.lines)


def create(gateway: Gateway, **more: Any) -> Any:
    """One call, raw, as OpenAI's SDK makes it."""
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        return client.chat.completions.with_raw_response.create(model="gpt-x", messages=HELLO, **more)


def test_fallback_before_the_first_byte(falling: Gateway) -> None:
    """F15 with fallback: the caller sees an answer, and the headers say whose."""
    answer = create(falling)
    assert (answer.headers["x-fwd-provider"], answer.headers["x-fwd-attempts"]) == ("other", "2")
    assert answer.parse().choices[0].message.content == "Hello"


def test_no_fallback_on_request_and_no_secret_in_the_error(falling: Gateway, up: Fakeup) -> None:
    """S12 to S14, T16: what a provider says is cleaned of the key before anybody sees it."""
    with pytest.raises(openai.InternalServerError) as caught:
        create(falling, extra_headers={"x-fwd-fallback": "none"})
    assert caught.value.status_code == 503
    assert PROVIDER_KEY not in str(caught.value.body) + str(caught.value.response.headers) + str(caught.value)


def test_after_the_first_byte_nothing_moves(start_gateway: Callable[..., Gateway]) -> None:
    """G2, S20: the caller keeps what it has and gets an error."""
    with Fakeup(lambda seen: [STREAM_HEAD, ROLE, event({"content": "Hel"}), 0.1, CLOSE]) as up:
        gateway = start_gateway(
            OPENAI_API_KEY=PROVIDER_KEY, OPENAI_BASE_URL=up.url, OPENAI_MODEL="gpt-x", PROVIDERS_PRIORITY="openai,echo"
        )
        said: list[str | None] = []
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as client:
            stream = client.chat.completions.create(model="gpt-x", messages=HELLO, stream=True)
            texts = (chunk.choices[0].delta.content for chunk in stream)
            with pytest.raises(openai.APIError):
                said.extend(texts)
    assert "".join(filter(None, said)) == "Hel"
    assert len(up.seen) == 1


def test_a_good_answer_goes_through_as_it_is(start_gateway: Callable[..., Gateway]) -> None:
    """Design 2.3: a field nobody knows travels both ways."""
    with Fakeup(lambda seen: [json_answer({**completion(), "new_field": {"a": 1}})]) as up:
        gateway = start_gateway(OPENAI_API_KEY=PROVIDER_KEY, OPENAI_BASE_URL=up.url)
        answer = create(gateway, extra_body={"brand_new": [1]})
    assert answer.parse().model_extra == {"new_field": {"a": 1}}
    assert up.seen[0].json["brand_new"] == [1]
