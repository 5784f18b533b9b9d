"""The Messages API as callers speak it: what is refused and how, and what no golden case shows."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from tests.server.callers import messages
from tests.server.providers import golden

from fwd_server.callers.base import CallHead
from fwd_server.callers.messages import MESSAGES
from fwd_server.callers.messages.request import parse_request
from fwd_server.values.errors import BadRequest, GatewayError
from fwd_server.wire.capsule import Capsule, seal, unseal

Json = dict[str, Any]
USER: Json = {"role": "user", "content": "Hi"}
TOOL: Json = {"name": "look", "input_schema": {"type": "object"}}
CALLED: Json = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]}
PNG: Json = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}


def body(*turns: Json, **more: Any) -> bytes:
    return orjson.dumps({"model": "m", "max_tokens": 9, "messages": list(turns) or [USER], **more})


def sent(provider: str, data: bytes, model: str = "") -> Any:
    return orjson.loads(messages.play(provider, model or messages.NAMED[provider], data).exchange.request.body)


def refusal(data: bytes, provider: str = "openai", **headers: str) -> Any:
    """The failure's object, as the caller gets it."""
    with pytest.raises(GatewayError) as raised:
        messages.play(provider, messages.NAMED[provider], data, **headers)
    assert MESSAGES.status_of(raised.value) == 400
    found = orjson.loads(MESSAGES.render_error(raised.value, "req_1"))
    assert found["type"] == "error"
    assert found["error"]["type"] == "invalid_request_error"
    return found["error"]["message"]


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (b"{", "The body is not valid JSON"),
        (b"[]", "The body must be a JSON object"),
        (orjson.dumps({"max_tokens": 1, "messages": [USER]}), "model: Field required"),
        (orjson.dumps({"model": "m", "messages": [USER]}), "max_tokens: Field required"),
        (body(max_tokens="9"), "max_tokens: Input should be a valid integer"),
        (body(max_tokens=True), "max_tokens: Input should be a valid integer"),
        (body(max_tokens=-1), "max_tokens: Input should be a valid integer"),
        (body(messages=[]), "messages: List should have 1 to"),
        (body(messages="Hi"), "messages: Input should be a valid list"),
        (body(messages=[1]), "messages.0: Input should be a valid dictionary"),
        (body({"content": "Hi"}), "messages.0.role: Field required"),
        (body({"role": "tool", "content": "Hi"}), "messages.0.role: Input should be 'user', 'assistant' or 'system'"),
        (body({"role": "user"}), "messages.0.content: Field required"),
        (body({"role": "user", "content": [1]}), "messages.0.content.0: Input should be a valid dictionary"),
        (body({"role": "user", "content": [{"text": "Hi"}]}), "messages.0.content.0.type: Field required"),
        (body({"role": "user", "content": [{"type": "text"}]}), "messages.0.content.0.text: Field required"),
        (body({"role": "user", "content": [{"type": "image"}]}), "messages.0.content.0.source: Field required"),
        (
            body({"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}),
            "messages.0.content.0.source: a file that was uploaded",
        ),
        (body({"role": "user", "content": [{"type": "hologram"}]}), "messages.0.content.0.type: 'hologram'"),
        (body(system=[{"type": "text", "text": 1}]), "system.0.text: Input should be a valid string"),
        (body(stream="yes"), "stream: Input should be a valid boolean"),
        (body(temperature="hot"), "temperature: Input should be a valid number"),
        (body(temperature=3), "temperature: Input should be between 0 and 1"),
        (body(stop_sequences=[1]), "stop_sequences: Input should be a valid list of strings"),
        (body(tools=[1]), "tools.0: Input should be a valid dictionary"),
        (body(tools=[{"name": "f"}]), "tools.0.input_schema: Field required"),
        (body(tools=[{"type": "bash_20250124", "name": "bash"}]), "tools.0.type: 'bash_20250124' is a tool that only"),
        (body(tools=[TOOL], tool_choice={"type": "maybe"}), "tool_choice.type: Input should be"),
        (body(tools=[TOOL], tool_choice={"type": "tool", "name": "x"}), "tool_choice.name: there is no tool 'x'"),
        (body(thinking={"type": "deep"}), "thinking.type: Input should be 'enabled'"),
        (body(thinking={"type": "enabled"}), "thinking.budget_tokens: Input should be a valid integer"),
        (body(output_config={"effort": "huge"}), "output_config.effort: Input should be 'low'"),
        (body(output_config={"format": {"type": "text"}}), "output_config.format.type: Input should be"),
        (body(mcp_servers=[{"name": "a"}]), "mcp_servers: only Anthropic connects"),
        (
            body(USER, CALLED, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t2"}]}),
            "messages.2.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t2",
        ),
        (
            body(USER, CALLED),
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1",
        ),
    ],
)
def test_a_malformed_call_is_named_by_its_path(data: bytes, begins: str) -> None:
    """In the words of Anthropic's own API, with the path of the field."""
    assert refusal(data).startswith(begins)


def test_an_unknown_version_is_told_which_there_are() -> None:
    """Both versions are accepted, and none means the older one."""
    assert refusal(body(), anthropic_version="2031-01-01").endswith("'2023-06-01' or '2026-10-21' is.")
    for version in ("2023-06-01", "2026-10-21"):
        assert parse_request(body(), CallHead("", {"anthropic-version": version})).model == "m"
    with pytest.raises(BadRequest, match="top_k: Extra inputs"):
        parse_request(body(top_k=1), CallHead("", {"anthropic-version": "2026-10-21"}))


# -- what goes to Anthropic as it is


def test_blocks_that_are_newer_than_we_are_pass_to_anthropic() -> None:
    """Only what must be right there too is checked; everything else is Anthropic's to judge."""
    data = body({"role": "user", "content": [{"type": "hologram", "at": 1}]}, tools=[{"type": "bash_9"}], some=1)
    assert messages.play("anthropic", "m", data).exchange.request.body == data


def test_headers_are_an_allow_list_of_checked_values() -> None:
    """Contract T18: nothing else of the caller's, and nothing that could end a line."""
    given = {"anthropic_beta": "a,b", "cookie": "x", "x_api_key": "secret", "anthropic_version": "2023-06-01"}
    headers = dict(messages.play("anthropic", "m", body(), **given).exchange.request.headers)
    assert headers["anthropic-beta"] == "a,b"
    assert "cookie" not in headers
    assert str(headers["x-api-key"]) == "***"
    for bad in ("a\x01b", "b" * 5000, "ü"):
        assert "anthropic-beta" not in dict(
            messages.play("anthropic", "m", body(), anthropic_beta=bad).exchange.request.headers
        )


def test_a_refusal_of_anthropics_comes_back_unchanged() -> None:
    """Claude Code sends the same call with one beta less when it reads such a 400."""
    told = b'{"type":"error","error":{"type":"invalid_request_error","message":"Unexpected value(s) `x` for the '
    told += b'`anthropic-beta` header."},"request_id":"req_up"}'
    error = messages.play("anthropic", "m", body()).exchange.error(400, {}, told)
    assert MESSAGES.render_error(error, "req_1") == told
    assert MESSAGES.status_of(error) == 400
    # The gateway's own key is not the caller's business (contract F18).
    denied = b'{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}'
    error = messages.play("anthropic", "m", body()).exchange.error(401, {}, denied)
    shown = orjson.loads(MESSAGES.render_error(error, "req_1"))
    assert MESSAGES.status_of(error) == 502
    assert shown["error"]["type"] == "api_error"
    assert "x-api-key" not in shown["error"]["message"]


def test_an_address_in_a_refusal_is_not_shown() -> None:
    """Contract S12: then our words stand for the provider's."""
    told = b'{"type":"error","error":{"type":"invalid_request_error","message":"no route to 10.0.0.7:80"}}'
    error = messages.play("anthropic", "m", body()).exchange.error(400, {}, told)
    assert b"10.0.0.7" not in MESSAGES.render_error(error, "req_1")


def test_thinking_of_another_model_is_taken_out_when_anthropic_refuses_it() -> None:
    """One more try without it; the first refusal is what the caller sees if that fails too."""
    thought = {"type": "thinking", "thinking": "T", "signature": "UkVBTA=="}
    data = body(USER, {"role": "assistant", "content": [thought, {"type": "text", "text": "A"}]}, USER)
    told = (
        b'{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` '
    )
    told += b'in `thinking` block"}}'
    amended = messages.play("anthropic", "m", data).exchange.error(400, {}, told)
    again = orjson.loads(amended.exchange.request.body)
    assert again["messages"][1]["content"] == [{"type": "text", "text": "A"}]
    assert amended.error.native == told


# -- capsules


SIGNED = Capsule("google", "gemini-3.8-flash", [], {"t1": "U0lH"})


@pytest.mark.parametrize(
    "broken",
    [
        "fwd1.",
        "fwd1.!!",
        "fwd1." + base64.urlsafe_b64encode(b"[1]").decode(),
        "fwd1." + base64.urlsafe_b64encode(b'{"p":1,"m":"x"}').decode(),
        "fwd1." + base64.urlsafe_b64encode(b'{"p":"google","m":"gemini-3","d":[1]}').decode(),
        "fwd1." + base64.urlsafe_b64encode(b'{"p":"google","m":"gemini-3","t":{"a":1}}').decode(),
        "fwd1." + base64.urlsafe_b64encode(b'{"p":"google","m":"' + b"x" * (300 << 10) + b'"}').decode(),
        seal(SIGNED)[:-3],
    ],
)
def test_a_broken_capsule_is_removed_and_is_no_error(broken: str) -> None:
    """It is the caller's own data: never an error, and never a way to choose anything."""
    assert unseal(broken) is None
    thought = {"type": "thinking", "thinking": "T", "signature": broken}
    turns = (USER, {"role": "assistant", "content": [thought, {"type": "text", "text": "A"}]}, USER)
    played = messages.play("google", "gemini-3.8-flash", body(*turns))
    assert played.translation.dropped == ()
    assert "T" not in str(orjson.loads(played.exchange.request.body)["contents"])
    assert b"fwd1." not in messages.play("anthropic", "m", body(*turns)).exchange.request.body


def test_a_capsule_goes_back_to_its_own_family_only() -> None:
    """The same provider, and a model of the same family."""
    assert SIGNED.is_for("google", "gemini-3-pro")
    assert not SIGNED.is_for("google", "gemini-2.5-pro")
    assert not SIGNED.is_for("openrouter", "gemini-3.8-flash")
    assert Capsule("openai", "gpt-6-luna-2026-01-01").is_for("openai", "gpt-6-luna")
    assert not Capsule("openai", "gpt-6-luna").is_for("openai", "gpt-6")
    assert unseal(seal(SIGNED)) == SIGNED
    assert seal(Capsule("a", "b")) == ""


# -- what becomes of the rest


def test_results_come_first_and_their_pictures_after_them() -> None:
    """Wherever they stand in the turn; a note of the system keeps its place after them."""
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "image", "source": PNG}]}
    turn = {"role": "user", "content": [{"type": "text", "text": "See"}, result]}
    note = {"role": "system", "content": "Note"}
    got = sent("openai", body(USER, CALLED, note, turn, tools=[TOOL]))["messages"]
    assert [message["role"] for message in got] == ["user", "assistant", "tool", "system", "user"]
    assert got[2]["content"] == "[image 1]"
    assert [part["type"] for part in got[4]["content"]] == ["text", "image_url", "text"]


def test_a_note_for_one_turn_is_left_out_later() -> None:
    """``clear_at``: it holds until the next message of the user."""
    note = {"role": "system", "content": "Now", "clear_at": "next_user_message"}
    assert [m["content"] for m in sent("openai", body(USER, note))["messages"]] == ["Hi", "Now"]
    assert [m["content"] for m in sent("openai", body(note, USER))["messages"]] == ["Hi"]


def test_a_model_that_does_not_reason_gets_no_effort() -> None:
    """And it is said, unless thinking was to be off anyway."""
    thinks = messages.play("openai", "gpt-4.1", body(thinking={"type": "adaptive"}))
    assert thinks.translation.dropped == ("thinking",)
    assert "reasoning_effort" not in orjson.loads(thinks.exchange.request.body)
    assert messages.play("openai", "gpt-4.1", body(thinking={"type": "disabled"})).translation.dropped == ()


def test_cache_marks_reach_those_who_read_them() -> None:
    """OpenRouter passes them on; for OpenAI they are left out, which changes no answer."""
    mark = {"type": "ephemeral"}
    turn = {"role": "user", "content": [{"type": "text", "text": "Long", "cache_control": mark}]}
    assert sent("openrouter", body(turn))["messages"][0]["content"][0]["cache_control"] == mark
    assert sent("openai", body(turn))["messages"][0]["content"] == "Long"


def test_the_limit_is_brought_to_the_models_own() -> None:
    """Claude Code asks for 128000 whatever the model."""
    assert sent("openrouter", body(max_tokens=10**6), "openai/gpt-oss-120b")["max_tokens"] == 32768


def test_tools_that_only_anthropic_runs_are_dropped_with_what_needs_them() -> None:
    """No tool is left, so nothing is said of the choice among them."""
    tools = [{"type": "web_search_20250305", "name": "web_search"}, {"type": "mcp_toolset", "mcp_server_name": "s"}]
    played = messages.play("openai", "gpt-6-luna", body(tools=tools, tool_choice={"type": "auto"}))
    assert played.translation.dropped == ("tools.s", "tools.web_search")
    assert {"tools", "tool_choice"}.isdisjoint(orjson.loads(played.exchange.request.body))


def test_arguments_that_are_no_json_are_a_failure_of_the_provider() -> None:
    """Never silently an empty object: a client would run the call."""
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{oops"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
    answer["choices"] = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    with pytest.raises(GatewayError) as raised:
        messages.play("local", "m", body(tools=[TOOL])).whole(orjson.dumps(answer))
    assert raised.value.code == "bad_payload"


def test_a_stream_for_a_whole_call_and_a_whole_answer_for_a_stream_are_used() -> None:
    """Contract F24, for Anthropic's own answers too."""
    case = next(c for c, _ in messages.entries("native_stream") if c.name.endswith("native-stream"))
    played = messages.play("anthropic", "claude-sonnet-5-5", body())
    events = golden.play(played.exchange.decoder(), [case.read("upstream_response")])
    assert all(type(event).__name__ != "NativeChunk" for event in events)
