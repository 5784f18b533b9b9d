"""The examples in ``/openapi.json``: calls that work as they stand, thanks to ``echo:``, and what comes back."""

from __future__ import annotations

from typing import Any, Final

import orjson

from fwd_server.values.chat import Json, choice_delta, chunk_object

_CREATED: Final = 1795305600
_PIXEL: Final = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_WEATHER: Final[Json] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def chat_requests() -> dict[str, Json]:
    """Bodies of a call, by name; the first is what a page offers to try."""
    return {
        "text": _named_example("Text", _chat_body("echo:", "Say hello in one word.")),
        "stream": _named_example(
            "A stream, with usage at its end",
            _chat_body("echo:", "Count to three.", stream=True, stream_options={"include_usage": True}),
        ),
        "tools": _named_example(
            "A tool call", _chat_body("echo:tools", "How warm is it in Oslo?", tools=[_weather_tool()])
        ),
        "structured": _named_example(
            "An answer that fits a schema", _chat_body("echo:json", "Oslo", response_format=_response_format())
        ),
        "image": _named_example("An image", _chat_body("echo:", _image_parts())),
        "listed": _named_example(
            "No model: the providers in PROVIDERS_PRIORITY", {"messages": [_user_message("Hello")]}
        ),
    }


def chat_answers() -> dict[str, Json]:
    """Whole answers, by the name of the call they belong to."""
    call = {"name": "get_weather", "arguments": '{"city":"city"}'}
    calls = [{"id": "call_7Hq2", "type": "function", "function": call}]
    called = _chat_completion("echo:tools", {"content": None, "tool_calls": calls}, _usage_object(59, 7), "tool_calls")
    return {
        "text": _named_example(
            "Text", _chat_completion("echo:", {"content": "Say hello in one word."}, _usage_object(6, 6))
        ),
        "tools": _named_example("A tool call", called),
        "structured": _named_example(
            "Structured output", _chat_completion("echo:json", {"content": '{"city":"city"}'}, _usage_object(1, 4))
        ),
    }


def chat_stream() -> str:
    """A streamed answer as it stands on the wire."""
    pieces = ("Coun", "t to", " thr", "ee.")
    frames = [
        _stream_frame([choice_delta({"role": "assistant", "content": ""})]),
        *(_stream_frame([choice_delta({"content": piece})]) for piece in pieces),
        _stream_frame([choice_delta({}, finish_reason="stop")]),
        _stream_frame([], _usage_object(4, 4)),
        ': fwd {"request_id":"req_7LCC1a7g","provider":"echo","attempts":1}',
        "data: [DONE]",
    ]
    return "".join(f"{frame}\n\n" for frame in frames)


def embedding_requests() -> dict[str, Json]:
    """Calls of ``POST /v1/embeddings``."""
    texts = {"model": "text-embedding-3-small", "input": ["Hello", "Good bye"], "dimensions": 256}
    return {
        "text": _named_example("One text", {"model": "text-embedding-3-small", "input": "Hello"}),
        "texts": _named_example("Several texts, with the length of the vectors", texts),
    }


def embedding_answer() -> Json:
    """An answer to the first of them."""
    vector = {"object": "embedding", "index": 0, "embedding": [0.0123, -0.0456, 0.0789]}
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return {"object": "list", "data": [vector], "model": "text-embedding-3-small", "usage": usage}


def model_list() -> Json:
    """A list of models."""
    return {"object": "list", "data": [one_model()]}


def one_model() -> Json:
    """One model."""
    details = {
        "provider": "echo",
        "listed": "provider",
        "kind": "chat",
        "abilities": ["tools", "json_schema"],
        "source": "fwd",
    }
    return {"id": "echo:", "object": "model", "created": _CREATED, "owned_by": "echo", "fwd": details}


def ready_answer() -> Json:
    """The answer of ``/ready`` with its details."""
    providers = [
        {"name": "echo", "state": "on", "enabled_by": "FWD_ECHO"},
        {"name": "openai", "state": "off", "enabled_by": "OPENAI_API_KEY"},
    ]
    return {"status": "ready", "degraded": [], "providers": providers, "cooling_down": []}


def _named_example(summary: str, value: Json) -> Json:
    return {"summary": summary, "value": value}


def _user_message(content: object) -> Json:
    return {"role": "user", "content": content}


def _chat_body(model: str, content: object, **more: Any) -> Json:
    return {"model": model, "messages": [_user_message(content)], **more}


def _weather_tool() -> Json:
    function = {"name": "get_weather", "description": "Weather in a city", "parameters": _WEATHER}
    return {"type": "function", "function": function}


def _response_format() -> Json:
    return {"type": "json_schema", "json_schema": {"name": "place", "schema": _WEATHER, "strict": True}}


def _image_parts() -> list[Json]:
    return [
        {"type": "text", "text": "What is in this picture?"},
        {"type": "image_url", "image_url": {"url": _PIXEL, "detail": "low"}},
    ]


def _chat_completion(model: str, message: Json, usage: Json, finish_reason: str = "stop") -> Json:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "refusal": None, **message},
        "logprobs": None,
        "finish_reason": finish_reason,
    }
    head = {"id": "chatcmpl-9fKx", "object": "chat.completion", "created": _CREATED, "model": model}
    return {**head, "choices": [choice], "usage": usage}


def _usage_object(prompt: int, completion: int) -> Json:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _stream_frame(choices: list[Json], usage: Json | None = None) -> str:
    head = {"id": "chatcmpl-9fKx", "created": _CREATED, "model": "echo:"}
    return f"data: {orjson.dumps(chunk_object(head, choices, usage=usage)).decode()}"
