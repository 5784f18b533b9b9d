"""Ollama's language, beside what the wire fixtures show."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.providers import golden

from fwd_server.providers.base import AmendedRequest, UpstreamRequest
from fwd_server.providers.ollama import OllamaChat, OllamaExchange
from fwd_server.values.chat import ChatRequest, Chunk, End
from fwd_server.values.deployment import Deployment, Endpoint
from fwd_server.values.errors import ErrorKind, Refused, UpstreamError
from fwd_server.wire.sse import LONGEST_LINE

MESSAGE = {"role": "assistant", "content": "Hi"}
TOOLS = [{"type": "function", "function": {"name": "ping"}}]


def opened(**body: Any) -> OllamaExchange:
    request = golden.chat_request(**{"model": "ollama:gemma4", **body})
    return OllamaChat().open(request, golden.deployment("ollama", "gemma4"), golden.CLOCK, golden.fresh_ids())


def sent(**body: Any) -> dict[str, Any]:
    return opened(**body).body


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def file(mime: str, data: bytes) -> dict[str, Any]:
    url = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    return {"type": "file", "file": {"file_data": url, "filename": "a"}}


def refusal(**body: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        opened(**body)
    return caught.value


# -- the call


def test_a_key_is_a_bearer_token_and_only_hosted_servers_have_one() -> None:
    """Contract T18: headers are made from the configuration alone."""
    request = opened().request
    assert isinstance(request, UpstreamRequest)
    assert [name for name, _ in request.headers] == ["content-type", "authorization"]
    local = Deployment(Endpoint("ollama", enabled=True, headers=(("x-a", "b"),)), "gemma4")
    plain = OllamaChat().open(golden.chat_request(), local, 0, golden.fresh_ids()).request
    assert plain.headers == (("content-type", "application/json"), ("x-a", "b"))


def test_stream_is_always_said() -> None:
    """The server's own default is true."""
    assert sent()["stream"] is False
    assert sent(stream=True)["stream"] is True
    assert opened(stream=True).request.stream


@pytest.mark.parametrize(
    ("effort", "think"),
    [("none", False), ("minimal", "low"), ("medium", "medium"), ("xhigh", "max"), ("max", "max")],
)
def test_reasoning_effort_becomes_think(effort: str, think: object) -> None:
    assert sent(reasoning_effort=effort)["think"] == think


def test_an_effort_that_is_none_of_the_words_is_refused_by_name() -> None:
    assert refusal(reasoning_effort="turbo").param == "reasoning_effort"


def test_json_object_and_a_schema_without_a_schema_are_plain_json() -> None:
    assert sent(response_format={"type": "json_object"})["format"] == "json"
    assert sent(response_format={"type": "json_schema", "json_schema": {"name": "a"}})["format"] == "json"
    assert "format" not in sent(response_format={"type": "text"})


def test_the_newer_cap_wins_and_a_single_stop_becomes_a_list() -> None:
    options = sent(max_tokens=1, max_completion_tokens=2, stop="x", top_k=3)["options"]
    assert options == {"num_predict": 2, "stop": ["x"], "top_k": 3}


def test_tool_choice_none_leaves_the_tools_out_and_loses_nothing() -> None:
    exchange = opened(tools=TOOLS, tool_choice="none", parallel_tool_calls=True)
    assert "tools" not in exchange.body
    assert exchange.dropped == ()


def test_a_tool_without_parameters_gets_an_empty_schema() -> None:
    function = sent(tools=TOOLS)["tools"][0]["function"]
    assert function == {"name": "ping", "parameters": {"type": "object", "properties": {}}}


def test_what_has_no_counterpart_is_named() -> None:
    """Nothing is lost silently."""
    exchange = opened(tools=TOOLS, tool_choice="required", parallel_tool_calls=False, user="u", logit_bias={"1": 1})
    assert set(exchange.dropped) == {"tool_choice", "parallel_tool_calls", "user", "logit_bias"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"tools": [{"type": "custom", "custom": {"name": "a"}}]}, "tools[0]"),
        ({"ollama": []}, "ollama"),
        ({"ollama": {"stream": True}}, "ollama.stream"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    assert refusal(**body).param == param


def test_extra_body_is_merged_last() -> None:
    assert sent(ollama={"keep_alive": 1}, extra_body={"keep_alive": 2})["keep_alive"] == 2


def test_thinking_and_a_refusal_of_earlier_answers_go_back() -> None:
    said = {"role": "assistant", "content": None, "refusal": "No.", "reasoning_content": "Hm"}
    turn = sent(messages=[{"role": "user", "content": "Hi"}, said])["messages"][1]
    assert turn == {"role": "assistant", "content": "No.", "thinking": "Hm"}


@pytest.mark.parametrize("content", [None, "", [], "Well,", [{"type": "text", "text": "Well,"}]])
def test_a_refusal_is_said_beside_whatever_text_there_is(content: Any) -> None:
    """Ollama has no place of its own for it."""
    refused = {"role": "assistant", "content": content, "refusal": "No."}
    turn = sent(messages=[{"role": "user", "content": "Hi"}, refused, {"role": "user", "content": "Why?"}])["messages"][
        1
    ]
    assert turn == {"role": "assistant", "content": "Well,\nNo." if content else "No."}


def test_a_refusal_that_is_a_part_already_is_said_once() -> None:
    refused = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "refusal": "No."}
    assert sent(messages=[{"role": "user", "content": "Hi"}, refused])["messages"][1]["content"] == "No."


def test_an_earlier_answer_in_sound_is_refused_by_name() -> None:
    said = {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}
    assert refusal(messages=[{"role": "user", "content": "Hi"}, said]).param == "messages[1].audio"


@given(
    shared=st.lists(st.sampled_from("abc"), min_size=1, max_size=6).flatmap(
        lambda ids: st.tuples(st.just(ids), st.permutations(ids))
    )
)
def test_results_with_one_id_belong_to_its_calls_in_their_order(shared: tuple[list[str], list[str]]) -> None:
    """Ollama is told by name which call a result answers, and by an id that no other call of the message has."""
    ids, answered_ids = shared
    calls = [
        {"id": call_id, "type": "function", "function": {"name": f"{call_id}{ids[:n].count(call_id)}", "arguments": ""}}
        for n, call_id in enumerate(ids)
    ]
    results = [
        {"role": "tool", "tool_call_id": call_id, "content": f"{call_id}{answered_ids[:n].count(call_id)}"}
        for n, call_id in enumerate(answered_ids)
    ]
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        *results,
    ]
    turns = sent(messages=messages)["messages"]
    assert [turn["tool_name"] for turn in turns[2:]] == [turn["content"] for turn in turns[2:]]
    sent_ids = {call["function"]["name"]: call["id"] for call in turns[1]["tool_calls"]}
    assert len(set(sent_ids.values())) == len(ids)
    assert [turn["tool_call_id"] for turn in turns[2:]] == [sent_ids[turn["tool_name"]] for turn in turns[2:]]


def test_calls_of_an_answer_with_one_id_get_ids_of_their_own() -> None:
    """Whole, and over the lines of a stream."""
    calls = [{"id": "c", "function": {"name": name}} for name in ("get", "put")]
    whole = answered({"message": {"content": "", "tool_calls": calls}, "done_reason": "stop"})
    events = played(*({"message": {"content": "", "tool_calls": [call]}} for call in calls), {"done": True})
    streamed = [
        e.data["choices"][0]["delta"].get("tool_calls") for e in events if isinstance(e, Chunk) and e.data["choices"]
    ]
    assert [call["id"] for call in whole["choices"][0]["message"]["tool_calls"]] == ["c", "call_fx_0"]
    assert [found[0]["id"] for found in streamed if found] == ["c", "call_fx_0"]


def test_a_tool_called_twice_is_found_by_the_later_call() -> None:
    """Pitfall 15: the name is looked up by the call's id, and the last one wins."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
    for name in ("first", "second"):
        calls = [{"id": "c", "type": "function", "function": {"name": name, "arguments": ""}}]
        messages += [{"role": "assistant", "content": None, "tool_calls": calls}]
        messages += [{"role": "tool", "tool_call_id": "c", "content": "1"}]
    turns = sent(messages=messages)["messages"]
    assert [turn["tool_name"] for turn in turns if turn["role"] == "tool"] == ["first", "second"]
    assert turns[1]["tool_calls"][0]["function"]["arguments"] == {}


# -- parts


def test_sound_goes_where_images_go() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}
    assert sent(messages=user(part))["messages"][0]["images"] == ["UklG"]


@pytest.mark.parametrize("mime", ["text/plain", "application/json"])
def test_a_text_file_is_read_out(mime: str) -> None:
    assert sent(messages=user(file(mime, "é".encode())))["messages"][0]["content"] == "é"


@pytest.mark.parametrize(
    ("part", "code", "param"),
    [
        (file("application/pdf", b"%PDF"), "unsupported_parameter", "file.file_data"),
        (file("text/plain", b"\xff"), None, "file.file_data"),
        ({"type": "file", "file": {"file_data": "data:text/plain;base64,!"}}, None, "file.file_data"),
        ({"type": "file", "file": {"file_id": "f"}}, "unsupported_parameter", "file"),
        ({"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}, "image_link_not_supported", "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "ftp://a.b"}}, None, "image_url.url"),
        ({"type": "image_url"}, None, "image_url"),
        ({"type": "video"}, "unsupported_parameter", None),
    ],
)
def test_a_part_that_cannot_be_sent_is_refused_by_name(
    part: dict[str, Any], code: str | None, param: str | None
) -> None:
    """Contract T20: a link is never opened; it is refused where bytes are needed."""
    error = refusal(messages=user(part))
    assert error.code == code
    assert error.param == "messages[0].content[0]" + (f".{param}" if param else "")


# -- the answer


def answered(said: object) -> Any:
    return opened().answer(orjson.dumps(said)).data


def test_sound_times_and_offsets() -> None:
    """RFC 3339 with nanoseconds and an offset; anything else is the gateway's clock."""
    assert answered({"message": MESSAGE, "created_at": "2026-11-22T02:00:01.123456789+02:00"})["created"] == 1795305601
    for broken in ("2026-99-22T00:00:00Z", "yesterday", 5, None):
        assert answered({"message": MESSAGE, "created_at": broken})["created"] == golden.CLOCK


def test_probabilities_get_their_bytes() -> None:
    told = {"token": "é", "logprob": -0.5, "top_logprobs": [{"token": "é", "logprob": -0.5}]}
    answer = answered({"message": MESSAGE, "logprobs": [told]})
    top = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    assert answer["choices"][0]["logprobs"] == {"content": [{**top, "top_logprobs": [top]}]}


def test_a_call_without_a_name_is_none_and_one_without_arguments_has_an_empty_object() -> None:
    calls = [{"function": {}}, {"function": {"name": "ping"}}, {"function": {"name": "pong", "arguments": "{}"}}]
    choice = answered({"message": {"content": "", "tool_calls": calls}, "done_reason": "stop"})["choices"][0]
    assert [c["function"]["name"] for c in choice["message"]["tool_calls"]] == ["ping", "pong"]
    assert {c["function"]["arguments"] for c in choice["message"]["tool_calls"]} == {"{}"}
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("counts", [{}, {"prompt_eval_count": -1, "eval_count": "9"}, {"eval_count": 1e300}])
def test_nonsense_counts_are_no_tokens(counts: dict[str, Any]) -> None:
    """Contract T30."""
    assert answered({"message": MESSAGE, **counts})["usage"]["total_tokens"] == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"message": 1}', b"\xff", b"<html>"])
def test_an_answer_nobody_can_read_is_a_failure(body: bytes) -> None:
    """Contract F20."""
    with pytest.raises(UpstreamError) as caught:
        opened().answer(body)
    assert (caught.value.code, caught.value.status) == ("bad_payload", 502)


def test_an_error_inside_an_answer_is_a_failure() -> None:
    """Contract F21."""
    with pytest.raises(UpstreamError, match="CUDA"):
        opened().answer(b'{"error": "CUDA"}')


# -- the stream


def played(*lines: object, request: ChatRequest | None = None) -> list[Any]:
    return golden.play(opened(stream=True).decoder(), [orjson.dumps(line) + b"\n" for line in lines])


def codes(events: list[Any]) -> list[str | None]:
    return [event.code for event in events if isinstance(event, UpstreamError)]


def test_the_done_line_may_still_have_content() -> None:
    events = played({"message": MESSAGE, "done": True, "done_reason": "stop", "eval_count": 2})
    deltas = [event.data["choices"][0]["delta"] for event in events[:3] if isinstance(event, Chunk)]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "Hi"}, {}]
    assert isinstance(events[-1], End)
    assert events[-1].usage is not None
    assert events[-1].usage.completion == 2


def test_thinking_comes_first_and_a_full_answer_ends_by_length() -> None:
    said = {"message": {"content": "Hi", "thinking": "Hm"}, "done": False}
    events = played(said, {"done": True, "done_reason": "length"})
    choices = [event.data["choices"][0] for event in events[:4]]
    deltas = [{"role": "assistant", "content": ""}, {"reasoning_content": "Hm"}, {"content": "Hi"}, {}]
    assert [choice["delta"] for choice in choices] == deltas
    assert choices[-1]["finish_reason"] == "length"


def test_an_error_line_ends_the_stream() -> None:
    """Contract F21, pitfall 42: an error in a stream is never a clean end."""
    assert codes(played({"message": MESSAGE}, {"error": "CUDA error"})) == ["provider_error"]


def test_a_last_line_needs_no_line_end() -> None:
    decoder = opened(stream=True).decoder()
    assert decoder.feed(orjson.dumps({"message": MESSAGE, "done": True})) == []
    assert isinstance(decoder.close()[-1], End)


@pytest.mark.parametrize("tail", [b"", b'{"message":{"content":"H', b"\n\n"])
def test_a_stream_without_its_done_line_is_cut(tail: bytes) -> None:
    """Contract F22."""
    decoder = opened(stream=True).decoder()
    assert codes([*decoder.feed(tail), *decoder.close()]) == ["upstream_truncated"]


@pytest.mark.parametrize(
    ("line", "code"), [(b"{\n", "bad_payload"), (b"[]\n", "bad_payload"), (b"\xff\n", "bad_payload")]
)
def test_a_line_nobody_can_read_ends_the_stream(line: bytes, code: str) -> None:
    """Contract F27, F30: one error, and nothing after it."""
    decoder = opened(stream=True).decoder()
    assert codes(decoder.feed(line + orjson.dumps({"message": MESSAGE}) + b"\n")) == [code]
    assert decoder.feed(b"{}\n") == []
    assert decoder.close() == []


def test_a_line_over_the_limit_ends_the_stream() -> None:
    """Contract F26, T9."""
    decoder = opened(stream=True).decoder()
    assert codes(decoder.feed(b"x" * (LONGEST_LINE + 1))) == ["too_large"]
    assert decoder.close() == []


def test_what_comes_after_the_end_is_ignored() -> None:
    """Contract F30."""
    done = {"message": MESSAGE, "done": True}
    assert len(played(done, done, {"error": "late"})) == len(played(done))


def test_the_decoder_tells_usage_once_it_is_known() -> None:
    decoder = opened(stream=True).decoder()
    assert decoder.usage is None
    decoder.feed(b'{"done":true,"prompt_eval_count":3}\n')
    assert decoder.usage is not None
    assert decoder.usage.prompt == 3


# -- failures


def failed(status: int, said: object, **body: Any) -> UpstreamError:
    error = opened(**body).error(status, {"retry-after": "7"}, orjson.dumps(said))
    assert isinstance(error, UpstreamError)
    return error


def test_a_model_that_cannot_think_is_asked_once_more_without() -> None:
    body = orjson.dumps({"error": '"gemma4" does not support thinking'})
    amended = opened(reasoning_effort="low").error(400, {}, body)
    assert isinstance(amended, AmendedRequest)
    assert amended.error.code == "unsupported_parameter"
    assert amended.exchange.dropped == ("reasoning_effort",)
    assert isinstance(amended.exchange, OllamaExchange)
    assert "think" not in amended.exchange.body
    assert isinstance(amended.exchange.error(400, {}, body), UpstreamError)


def test_thinking_asked_for_in_ollamas_own_words_is_lost_by_that_name() -> None:
    amended = opened(ollama={"think": True}).error(400, {}, b'{"error": "x does not support thinking"}')
    assert isinstance(amended, AmendedRequest)
    assert amended.exchange.dropped == ("ollama",)


def test_a_prompt_that_is_too_long_is_said_so() -> None:
    """Contract F17: a longer model may take it."""
    error = failed(400, {"error": "the input length exceeds the context length"})
    assert (error.kind, error.code) == (ErrorKind.CONTEXT_LENGTH, "context_length_exceeded")


def test_a_refused_key_is_the_operators_to_check() -> None:
    """Contract F18: our own words, never the provider's."""
    error = failed(401, {"error": "bad key sk-canary-0123456789"})
    assert error.message == "ollama refused the gateway's API key: its operator must check API_KEY."


def test_how_long_to_wait_is_passed_on() -> None:
    """Contract F11."""
    assert failed(429, {"error": "slow down"}).retry_after_s == 7


USED_UP = "you (jo) have reached your weekly usage limit, upgrade for higher limits: https://ollama.com/upgrade"


def test_a_limit_of_hours_or_days_is_no_rate_limit() -> None:
    """Contract F12, F21: whoever waits for it waits too long; inside a 200 the words say so as well."""
    found = [failed(429, {"error": USED_UP}), *played({"error": USED_UP})]
    assert [(error.kind, error.status, error.should_retry) for error in found] == [(ErrorKind.QUOTA, 429, False)] * 2
    assert [error.retry_after_s for error in found] == [None, None]
    assert [error.upstream_status for error in found] == [429, 402]


@pytest.mark.parametrize("body", [b"<html>", b'{"error": {"a": 1}}', b"[]", b""])
def test_a_failure_without_words_gets_ours(body: bytes) -> None:
    error = opened().error(500, {}, body)
    assert isinstance(error, UpstreamError)
    assert (error.message, error.code) == ("The provider failed.", "provider_error")


def test_a_key_never_leaves_in_a_message() -> None:
    """Contract T16."""
    assert "canary" not in failed(500, {"error": "used sk-canary-0123456789"}).message


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (400, "model does not support tools", "unsupported_parameter"),
        (400, "input exceeds the context length", "context_length_exceeded"),
        (400, "no", None),
        (404, "model not found; context length", "model_not_found"),
        (500, "does not support context length", "provider_error"),
    ],
)
def test_only_a_refusal_is_read_for_its_words(status: int, said: str, code: str | None) -> None:
    assert failed(status, {"error": said}).code == code


def test_what_is_asked_beside_the_options() -> None:
    """Probabilities have places of their own; nothing of it is dropped."""
    exchange = opened(logprobs=True, top_logprobs=2, ollama={"keep_alive": "5m"})
    assert exchange.dropped == ()
    assert exchange.body.items() >= {"logprobs": True, "top_logprobs": 2, "keep_alive": "5m"}.items()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"n": 2}, "'n' must be 1 for this model."),
        ({"ollama": {"model": "x"}}, "'ollama' must not contain 'model'; send it at the top level."),
        ({"ollama": {"stream": True}}, "'ollama' must not contain 'stream'; send it at the top level."),
        ({"ollama": {"messages": []}}, "'ollama' must not contain 'messages'; send it at the top level."),
        ({"messages": user(file("application/pdf", b"x"))}, "application/pdf"),
    ],
)
def test_a_refusal_says_what_is_wrong(body: dict[str, Any], words: str) -> None:
    assert words in refusal(**body).message


def test_parts_are_lines_and_a_refusal_is_what_was_said() -> None:
    said = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    refused = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    turns = sent(messages=[{"role": "user", "content": said}, refused, {"role": "user", "content": ""}])["messages"]
    assert [turn["content"] for turn in turns] == ["a\nb", "No.", ""]
