"""The words of a failure in every shape, at every provider that documents one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.providers import golden

from fwd_server.providers.error_words import find_error, is_too_long, own_words, read_error_body, status_of
from fwd_server.values.chat import Chunk
from fwd_server.values.errors import ErrorKind, UpstreamError

SHAPES: list[Any] = [
    {"error": "engine died"},
    {"error": {"message": "engine died"}},
    {"error": {"error": {"message": "engine died"}}},
    {"error": {"code": 500, "details": [], "message": "engine died"}},
    {"error": True, "message": "engine died"},
    {"error": "Bad Request", "message": "engine died", "statusCode": 400},
    {"errors": ["engine died"]},
    {"errors": [{"code": "x"}, {"message": "engine died"}]},
    {"message": "engine died"},
    {"msg": "engine died", "code": 500},
    {"detail": "engine died"},
    {"detail": [{"loc": ["body"], "msg": "engine died", "type": "value_error"}]},
    {"detail": {"error": {"message": "engine died"}}},
    {"fault": {"faultstring": "engine died", "detail": {"errorcode": "x"}}},
    {"title": "engine died", "type": "about:blank"},
    {"object": "error", "message": "engine died"},
    {"base_resp": {"status_code": 1013, "status_msg": "engine died"}, "choices": None, "usage": {"total_tokens": 0}},
    {"error": '{"error": {"message": "engine died"}}'},
]
MODELS = {"google": "gemini-3.5-flash", "ollama": "qwen3.8:27b", "local": "m", "groq": "m", "openrouter": "m"}
each_provider = pytest.mark.parametrize("provider", MODELS)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: orjson.dumps(shape).decode())


def call(provider: str, *, stream: bool = False) -> Any:
    return golden.chat_request(model=f"{provider}:{MODELS[provider]}", stream=stream)


def failed(provider: str, status: int, body: bytes) -> UpstreamError:
    error = golden.open_exchange(provider, call(provider)).error(status, {}, body)
    assert isinstance(error, UpstreamError)
    return error


@each_provider
@each_shape
@pytest.mark.parametrize("form", ["json", "list", "event"])
def test_the_words_are_found_in_a_body_of_its_own(provider: str, shape: Any, form: str) -> None:
    body = orjson.dumps([shape] if form == "list" else shape)
    error = failed(provider, 400, b"event: error\ndata: " + body + b"\n\n" if form == "event" else body)
    assert (error.message, error.status) == ("engine died", 400)


@each_provider
@each_shape
def test_the_words_are_found_in_a_good_answer(provider: str, shape: Any) -> None:
    """Contract F21: never a 200 with an error in it."""
    with pytest.raises(UpstreamError, match="engine died"):
        golden.open_exchange(provider, call(provider)).answer(orjson.dumps(shape))


def frame(provider: str, value: Any) -> bytes:
    data = orjson.dumps(value)
    return data + b"\n" if provider == "ollama" else b"data: " + data + b"\n\n"


HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
OPENAI_PIECE = {**HEAD, "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
PIECES = {
    **dict.fromkeys(("local", "groq", "openrouter"), OPENAI_PIECE),
    "google": {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]},
    "ollama": {"message": {"role": "assistant", "content": "Hi"}, "done": False},
}


@each_provider
@each_shape
@pytest.mark.parametrize("begun", [True, False])
def test_the_words_are_found_in_a_stream_and_end_it(provider: str, shape: Any, begun: bool) -> None:
    """Pitfall 42: a failure is never a clean end, before the first content or after it."""
    decoder = golden.open_exchange(provider, call(provider, stream=True)).decoder()
    pieces = [frame(provider, PIECES[provider])] * begun + [frame(provider, shape), frame(provider, PIECES[provider])]
    *before, last = golden.play(decoder, pieces)
    assert isinstance(last, UpstreamError)
    assert last.message == "engine died"
    assert all(isinstance(event, Chunk) for event in before)
    assert bool(before) is begun


@pytest.mark.parametrize(
    ("provider", "value"),
    [
        ("google", {"usageMetadata": {"promptTokenCount": 1}}),
        ("google", {"promptFeedback": {"safetyRatings": []}, "detail": "filtered"}),
        ("google", {"responseId": "r", "error": None}),
        ("google", {}),
        ("ollama", {"message": {"content": ""}, "done": False, "detail": "loading"}),
        ("ollama", {"done": False, "error": ""}),
        ("ollama", {}),
        (
            "local",
            {"choices": [], "prompt_filter_results": [{"content_filter_results": {"hate": False}}]},
        ),
        ("local", {"choices": [], "usage": {"prompt_tokens": 1}, "message": "done"}),
        ("local", {"choices": [], "base_resp": {"status_code": 0, "status_msg": "success"}}),
        ("groq", {"id": "c", "error": None}),
    ],
)
def test_what_tells_something_else_is_no_failure(provider: str, value: Any) -> None:
    decoder = golden.open_exchange(provider, call(provider, stream=True)).decoder()
    assert not [event for event in decoder.feed(frame(provider, value)) if isinstance(event, UpstreamError)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "detail", "errors", "code", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=json_values)
def test_any_json_is_read_without_a_crash(value: Any) -> None:
    found = find_error(value)
    assert found == {} or found["message"].strip()
    status_of(found)


@pytest.mark.parametrize("body", [b"", b"<html>", b"data: <html>\n\n", b"data: x", b": hi\n\n", b"\xff", b"nothing"])
def test_a_body_without_json_says_nothing(body: bytes) -> None:
    assert read_error_body(body) is None


def test_what_stands_nearer_to_the_words_counts() -> None:
    found = find_error({"code": 1, "status": "A", "error": {"code": 503, "message": "x", "details": []}})
    assert found == {"code": 503, "status": "A", "message": "x", "details": []}
    assert status_of(found) == 503


# -- too long

TOO_LONG = [
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "The input token count exceeds the maximum number of tokens allowed 1048576.",
    "Unable to submit request because the input token count is 1200000 but model only supports up to 1048576.",
    "the input length exceeds the context length",
    "prompt too long; exceeded max context length by 45 tokens",
    "the request exceeds the available context size, try increasing it",
    "This model's maximum context length is 4096 tokens.",
    "input length and `max_tokens` exceed context limit: 198000 + 8192 > 200000",
    "context window exceeded",
    "Your prompt is too long for this model",
    "input is longer than the model's context window",
    "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
    "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
    "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 100 `max_new_tokens`",
    "`inputs` must have less than 1000 tokens. Given: 2000",
    "Trying to keep the first 5 tokens when context the overflows.",
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "Please reduce the length of the messages or completion.",
    "Invalid request: Your request exceeded model token limit: 8192",
    "Prompt exceeds max length",
    "Range of input length should be [1, 30720]",
    "invalid params, context window exceeds limit (2013)",
]
NOT_TOO_LONG = [
    "maxOutputTokens must be at most 65536",
    "Request payload size exceeds the limit: 20971520 bytes.",
    "Invalid value: 'the prompt is too long for the context'",
    "Function name is too long",
    "The model is overloaded. Try again with a smaller context.",
    "context caching is not supported",
    "max_tokens is too large: 100000. This model supports at most 16384 completion tokens.",
]


@each_provider
@pytest.mark.parametrize("words", TOO_LONG)
def test_too_long_a_prompt_is_known_in_every_wording(provider: str, words: str) -> None:
    """Contract F17: a model with a longer context may take it."""
    error = failed(provider, 400, orjson.dumps({"error": {"message": words}}))
    assert (error.kind, error.code) == (ErrorKind.CONTEXT_LENGTH, "context_length_exceeded")
    assert failed(provider, 500, orjson.dumps({"error": {"message": words}})).code == "provider_error"


@pytest.mark.parametrize("words", NOT_TOO_LONG)
def test_other_refusals_are_not_taken_for_it(words: str) -> None:
    assert not is_too_long(words)


def test_what_a_provider_quotes_are_not_its_own_words() -> None:
    assert own_words("the text 'credit balance' and \"x\" and `y` are wrong") == "the text '' and '' and '' are wrong"


# -- the gateway's account at Google


def info(reason: str) -> list[dict[str, str]]:
    return [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]


@pytest.mark.parametrize(
    ("status", "words", "details", "kind"),
    [
        (400, "User location is not supported for the API use.", [], ErrorKind.AUTH),
        (400, "Gemini API free tier is not available in your country.", [], ErrorKind.AUTH),
        (400, "The project has been suspended.", [], ErrorKind.AUTH),
        (400, "API key not valid. Please pass a valid API key.", info("API_KEY_INVALID"), ErrorKind.AUTH),
        (400, "API key expired. Please renew the API key.", [], ErrorKind.AUTH),
        (400, "API Key not found. Please pass a valid API key.", [], ErrorKind.AUTH),
        (400, "Consumer is gone.", info("CONSUMER_SUSPENDED"), ErrorKind.AUTH),
        (403, "Your API key was reported as leaked.", [], ErrorKind.AUTH),
        (400, "Your prepayment credits are depleted.", [], ErrorKind.QUOTA),
        (429, "Your project has exceeded its monthly spending cap.", [], ErrorKind.QUOTA),
        (403, "This API method requires billing to be enabled.", [], ErrorKind.QUOTA),
        (403, "No.", info("BILLING_DISABLED"), ErrorKind.QUOTA),
        (
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            [],
            ErrorKind.RATE_LIMITED,
        ),
        (400, "The File is not in an ACTIVE state and usage is not allowed.", [], ErrorKind.INVALID_REQUEST),
        (400, "Invalid text: 'User location is not supported'.", [], ErrorKind.INVALID_REQUEST),
        (400, "Invalid text: 'my credits are depleted'.", [], ErrorKind.INVALID_REQUEST),
        (404, "models/x is not supported in location y.", [], ErrorKind.NOT_FOUND),
    ],
)
def test_a_failure_of_the_account_is_the_operators(status: int, words: str, details: Any, kind: ErrorKind) -> None:
    """Contract F12, F18: another provider is asked, and the caller is not told to change the request."""
    error = failed("google", status, orjson.dumps({"error": {"code": status, "message": words, "details": details}}))
    assert error.kind is kind
    assert error.upstream_status == status
    if kind in (ErrorKind.AUTH, ErrorKind.QUOTA):
        assert error.status >= 429
        assert error.type != "invalid_request_error"
        assert error.should_retry is False


# -- why there is no answer


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "OTHER", "UNEXPECTED_TOOL_CALL", "FINISH_REASON_NEW"])
def test_gemini_says_why_there_is_no_answer(reason: str, stream: bool) -> None:
    """``finishMessage`` explains it, and is shown without keys: https://ai.google.dev/api/generate-content#candidate."""
    words = "Malformed function call: print(default_api.f(x=1)) sk-canary-0123456789"
    value = {"candidates": [{"finishReason": reason, "finishMessage": words, "index": 0}]}
    exchange = golden.open_exchange("google", call("google", stream=stream))
    if stream:
        *_, error = golden.play(exchange.decoder(), [frame("google", value)])
    else:
        with pytest.raises(UpstreamError) as caught:
            exchange.answer(orjson.dumps(value))
        error = caught.value
    assert isinstance(error, UpstreamError)
    assert error.message == (
        f"The provider returned no usable answer ({reason}): Malformed function call: print(default_api.f(x=1)) ***"
    )


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        (
            {"candidates": [{"finishReason": "SAFETY", "finishMessage": "Weapons."}]},
            "The provider blocked the answer (SAFETY): Weapons.",
        ),
        (
            {"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": "Terms."}},
            "The provider blocked the prompt (OTHER): Terms.",
        ),
        ({"promptFeedback": {"blockReason": "OTHER"}}, "The provider blocked the prompt (OTHER)."),
    ],
)
def test_gemini_says_why_an_answer_was_blocked(value: Any, refusal: str) -> None:
    whole = golden.open_exchange("google", call("google")).answer(orjson.dumps(value)).data
    assert whole["choices"][0]["message"]["refusal"] == refusal
