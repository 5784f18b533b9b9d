"""OpenAI's chat dialect: bytes to a call, values to bytes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fwd_server.callers import openai_chat
from fwd_server.callers.base import StreamWriter
from fwd_server.values.chat import ChatRequest, ChatResponse, Chunk, choice_delta, chunk_object
from fwd_server.values.errors import BadRequest, GatewayError

HEAD = {"id": "chatcmpl-1", "created": 1, "model": "m"}
USER = {"role": "user", "content": "Hi"}


def parse(**body: Any) -> ChatRequest:
    return openai_chat.parse_request(orjson.dumps({"model": "echo:", "messages": [USER], **body}))


def refusal(**body: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse(**body)
    return caught.value


def data(frame: bytes) -> Any:
    return orjson.loads(frame.removeprefix(b"data: "))


# -- in


def test_the_callers_object_travels_whole() -> None:
    """Design 2.3: unknown fields survive at any depth."""
    strange = {"role": "user", "content": [{"type": "text", "text": "x", "new": {"a": [1]}}], "odd": None}
    request = parse(messages=[strange], brand_new={"x": 1})
    assert request.body["messages"] == [strange]
    assert request.body["brand_new"] == {"x": 1}


def test_extra_body_is_taken_out() -> None:
    request = parse(extra_body={"top_k": 5})
    assert "extra_body" not in request.body
    assert request.extra_body == {"top_k": 5}


@pytest.mark.parametrize("name", ["model", "stream", "messages"])
def test_extra_body_cannot_decide(name: str) -> None:
    """Design, *Request*: these three are 400."""
    assert refusal(extra_body={name: 1}).param == f"extra_body.{name}"


def test_extra_body_is_an_object() -> None:
    error = refusal(extra_body=[1])
    assert error.param == "extra_body"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"n": 0}, "n"),
        ({"stop": 1}, "stop"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0]"),
        ({"response_format": "json"}, "response_format"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_a_wrong_type_names_its_place(body: dict[str, Any], param: str) -> None:
    error = refusal(**body)
    assert error.param is not None
    assert error.param.startswith(param)
    assert error.status == 400


def test_options_are_read() -> None:
    request = parse(stream=True, stream_options={"include_usage": True})
    assert (request.model, request.stream, request.include_usage) == ("echo:", True, True)
    assert not parse(stream_options={}).include_usage


def calls(*ids: str) -> dict[str, Any]:
    found = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": found}


def answer(call_id: str | None) -> dict[str, Any]:
    return {"role": "tool", "content": "x", **({"tool_call_id": call_id} if call_id else {})}


def test_calls_may_be_answered_in_any_order() -> None:
    assert parse(messages=[USER, calls("a", "b"), answer("b"), answer("a"), USER])


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([USER, calls("a")], "no response message: a"),
        ([USER, calls("a", "b"), answer("a"), USER], "no response message: b"),
        ([USER, answer("a")], "preceding message"),
        ([USER, calls("a"), answer("x")], "'x' is not the id"),
        ([USER, calls("a"), answer("a"), answer("a")], "preceding message"),
        ([USER, calls("a"), answer(None)], "tool_call_id"),
        ([{"role": "assistant", "content": None}], "null is only allowed"),
    ],
)
def test_a_conversation_that_does_not_fit_is_refused(messages: list[Any], said: str) -> None:
    """Wire tables, section 2: in OpenAI's words, for every provider."""
    error = refusal(messages=messages)
    assert said in error.message
    assert error.param is not None


def test_an_assistant_may_say_nothing_beside_something_else() -> None:
    for more in ({"refusal": "no"}, {"audio": {"id": "x"}}):
        assert parse(messages=[USER, {"role": "assistant", "content": None, **more}, USER])


# -- the deprecated functions


def test_functions_become_tools() -> None:
    request = parse(functions=[{"name": "f"}], function_call={"name": "f"})
    assert request.body["tools"] == [{"type": "function", "function": {"name": "f"}}]
    assert request.body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert "functions" not in request.body
    assert request.legacy_functions


def test_old_turns_become_calls_and_answers() -> None:
    turns = [
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "4"},
    ]
    _, said, answered = parse(messages=turns, function_call="auto").body["messages"]
    assert said["tool_calls"][0]["id"] == answered["tool_call_id"]
    assert (answered["role"], answered["content"]) == ("tool", "4")


def test_functions_must_be_a_list() -> None:
    assert refusal(functions="f").param == "functions"


def test_functions_beside_tools_are_refused() -> None:
    """Nothing is lost silently: one of them would have to go."""
    assert refusal(functions=[{"name": "f"}], tools=[]).param == "functions"


def test_a_call_comes_back_as_a_function_call() -> None:
    request = parse(functions=[{"name": "f"}])
    message = {"role": "assistant", "content": None, "tool_calls": calls("a")["tool_calls"]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    found = orjson.loads(openai_chat.render_response(ChatResponse({"choices": [choice]}, raw=b"{}"), request))
    assert found["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": "{}"},
    }
    assert found["choices"][0]["finish_reason"] == "function_call"


@pytest.mark.parametrize("odd", [7, {"a": 1}, [7], [{"function": 7}]])
def test_calls_that_are_none_are_no_function_call(odd: object) -> None:
    """OpenAI's answers go out as they came; what is rewritten for this caller is looked at first."""
    choice = {"index": 0, "message": {"content": "x", "tool_calls": odd}, "finish_reason": "stop"}
    sent = openai_chat.render_response(ChatResponse({"choices": [choice]}), parse(functions=[{"name": "f"}]))
    said = orjson.loads(sent)["choices"][0]["message"]
    assert said == ({"content": "x", "function_call": {}} if odd == [{"function": 7}] else {"content": "x"})


def test_a_streamed_call_comes_back_as_a_function_call() -> None:
    request = parse(functions=[{"name": "f"}], stream=True)
    delta = {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}
    frame = orjson.dumps(chunk_object(HEAD, [choice_delta(delta)]))
    found = data(written(request, Chunk(True, frame=frame)))
    assert found["choices"][0]["delta"] == {"function_call": {"arguments": "{}"}}


# -- out


def writer(request: ChatRequest | None = None) -> StreamWriter:
    return openai_chat.OpenAIStreamWriter(request or parse(stream=True))


def written(request: ChatRequest, *chunks: Chunk) -> bytes:
    return writer(request).write_chunks(list(chunks))


def test_an_answer_that_nothing_had_to_change_keeps_its_bytes() -> None:
    assert openai_chat.render_response(ChatResponse({}, raw=b'{ "a": 1 }'), parse()) == b'{ "a": 1 }'
    assert openai_chat.render_response(ChatResponse({"a": 1}), parse()) == b'{"a":1}'


def test_a_relayed_event_keeps_its_bytes() -> None:
    assert written(parse(), Chunk(True, frame=b"{ }"), Chunk(True, frame=b"x")) == b"data: { }\n\ndata: x\n\n"


def test_usage_is_there_for_who_asked_only() -> None:
    """Wire tables, section 4.5."""
    asked = parse(stream=True, stream_options={"include_usage": True})
    usage = Chunk(False, chunk_object(HEAD, [], usage={"total_tokens": 1}))
    text = Chunk(True, chunk_object(HEAD, [choice_delta({"content": "x"})]))
    assert written(parse(), usage) == b""
    assert data(written(asked, usage))["usage"] == {"total_tokens": 1}
    assert data(written(asked, text))["usage"] is None
    assert "usage" not in data(written(parse(), text))


def test_a_null_usage_is_cut_for_who_did_not_ask() -> None:
    text = Chunk(True, chunk_object(HEAD, [choice_delta({"content": "x"})], usage=None))
    assert "usage" not in data(written(parse(), text))


def test_errors_have_all_four_keys() -> None:
    error = GatewayError("m", 503, "server_error", "overloaded")
    assert data(writer().write_error(error)) == orjson.loads(openai_chat.render_error(error))
    assert orjson.loads(openai_chat.render_error(error)) == {
        "error": {"message": "m", "type": "server_error", "param": None, "code": "overloaded"}
    }


def test_a_comment_is_no_event() -> None:
    assert writer().write_receipt({"a": 1}) == b': fwd {"a":1}\n\n'
    assert writer().write_keep_alive().startswith(b":")
    assert writer().write_end({}) == b": fwd {}\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize("more", [{"reasoning_content": "hm"}, {"reasoning": "hm"}, {"reasoning_details": [{}]}])
def test_a_message_that_only_thinks_says_something(more: dict[str, Any]) -> None:
    """An answer of that kind must be taken when it comes back."""
    message = {"role": "assistant", "content": None, **more}
    assert parse(messages=[USER, message, USER]).body["messages"][1] == message
    assert "null is only allowed" in refusal(messages=[USER, {**message, next(iter(more)): None}, USER]).message
