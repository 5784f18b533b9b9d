"""What no translation of the Messages API may lose, for all providers, both ways; and what no input may break.

The other side of each wire is the strict upstream of the conversation tests (``kit.providers``).
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.conversation import MOST_TOKENS, SYSTEM, TOOLS, Asked, Json, Said
from kit.fakeup import Seen
from kit.providers import LANGUAGES, Language
from tests.server.callers import messages
from tests.server.providers.test_laws import KEY, answers, each, results, texts

from fwd_server.callers.messages import MESSAGES
from fwd_server.callers.messages.request import parse_request
from fwd_server.values.errors import GatewayError
from fwd_server.values.foreign import TargetTraits
from fwd_server.values.secret import Secret

OWN_TOOLS = [
    {"name": f["name"], "description": f["description"], "input_schema": f["parameters"]}
    for f in (tool["function"] for tool in TOOLS)
]


def play(language: Language, turns: list[Json], *, stream: bool = False) -> messages.Played:
    body: Json = {"model": language.model, "max_tokens": MOST_TOKENS, "system": SYSTEM, "messages": turns}
    body |= {"tools": OWN_TOOLS, "stream": stream}
    return messages.play(language.name, language.model, orjson.dumps(body), anthropic_version="2026-10-21")


def folded(stream: bytes) -> Json:
    """A stream as the message that it tells, by the rules every client goes by."""
    message: Json = {}
    inputs: dict[int, str] = {}
    for event in messages.frames(stream):
        kind = event["type"]
        if kind == "message_start":
            message = event["message"]
        elif kind == "content_block_start":
            assert event["index"] == len(message["content"])
            message["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            block, delta = message["content"][event["index"]], event["delta"]
            if delta["type"] == "input_json_delta":
                inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
            else:
                (name,) = delta.keys() - {"type"}
                block[name] = block.get(name, "") + delta[name]
        elif kind == "message_delta":
            message |= event["delta"]
            message["usage"] = {**message["usage"], **event["usage"]}
    for index, written in inputs.items():
        message["content"][index]["input"] = orjson.loads(written)
    return message


def comparable(message: Json) -> Json:
    """Without ids that are made anew for each answer, and what only some providers say."""
    blocks = [{k: v for k, v in b.items() if k not in ("id", "signature", "citations")} for b in message["content"]]
    kept = [block for block in blocks if block["type"] != "redacted_thinking"]  # its data names the calls by their ids
    return {"content": kept, "stop_reason": message["stop_reason"], "output": message["usage"]["output_tokens"]}


@each
@settings(max_examples=20, deadline=None)
@given(said=answers, size=st.integers(1, 400))
def test_a_stream_tells_the_same_message_as_a_whole_answer(language: Language, said: Said, size: int) -> None:
    """Whole equals folded, whatever way the bytes are cut; text, calls, thinking and counts are what was said."""
    whole = play(language, [{"role": "user", "content": "Hi"}]).whole(language.whole(said))
    raw = b"".join(language.stream(said))
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    told = folded(play(language, [{"role": "user", "content": "Hi"}], stream=True).stream(*pieces))
    assert comparable(told) == comparable(whole)
    texts_said = "".join(block["text"] for block in whole["content"] if block["type"] == "text")
    calls = [(block["name"], block["input"]) for block in whole["content"] if block["type"] == "tool_use"]
    assert (texts_said, calls) == (said.text, [(name, given) for name, given in said.calls])
    assert whole["usage"]["output_tokens"] == said.completion
    assert whole["usage"]["input_tokens"] == said.prompt
    assert whole["stop_reason"] == ("tool_use" if said.calls else "end_turn")


translated = pytest.mark.parametrize(
    "language", [one for one in LANGUAGES if one.name != "anthropic"], ids=lambda language: language.name
)


@translated
@settings(max_examples=12, deadline=None)
@given(turns=st.lists(st.tuples(texts, answers, results), min_size=1, max_size=3), last=texts)
def test_an_answer_can_be_sent_back(language: Language, turns: list[Any], last: str) -> None:
    """Output is legal input: the provider understands the conversation as it was, its own signed thinking included.

    What goes to Anthropic are the caller's own bytes, which the golden cases show.
    """
    history: list[Json] = []
    said: list[tuple[Any, ...]] = []
    for question, given_answer, result in turns:
        # Ollama's double wants the thinking of a call back, and what no provider has signed is not replayed.
        is_plain = language.name == "ollama"
        answer = Said(given_answer.text or "Yes.") if is_plain else given_answer
        history.append({"role": "user", "content": question})
        content = play(language, history).whole(language.whole(answer))["content"]
        history.append({"role": "assistant", "content": content})
        calls = [block for block in content if block["type"] == "tool_use"]
        if calls:
            given_back = [{"type": "tool_result", "tool_use_id": b["id"], "content": result} for b in calls]
            history.append({"role": "user", "content": given_back})
        said += [("user", question), *([("model", answer.text)] if answer.text else [])]
        said += [("call", *call) for call in answer.calls] + [("result", name, result) for name, _ in answer.calls]
    history.append({"role": "user", "content": last})
    upstream = play(language, history).exchange.request
    headers = {name: value.reveal() if isinstance(value, Secret) else value for name, value in upstream.headers}
    sent = upstream.body
    if language.name == "openrouter":  # it takes either name of the limit, and the double knows one
        sent = sent.replace(b'"max_tokens"', b'"max_completion_tokens"', 1)
    understood = language.read(Seen(upstream.method, language.base + upstream.path, headers, sent), KEY)
    tools = tuple((tool["name"], tool["input_schema"]) for tool in OWN_TOOLS)
    assert understood == Asked(SYSTEM, (*said, ("user", last)), tools, False)


# -- inputs nobody thought of

scalars = st.none() | st.booleans() | st.integers(-3, 2**40) | st.text(max_size=6)
blocks = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "document", "tool_use", "tool_result", "thinking", "tool_reference"])},
    optional={
        name: st.recursive(
            scalars,
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(["type", "text", "data", "url", "media_type", "content"]), inner, max_size=3
                )
            ),
            max_leaves=4,
        )
        for name in ("text", "source", "id", "tool_use_id", "name", "input", "content", "signature", "title", "tool")
    },
)
turns_ = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system", "tool"]),
        "content": scalars | st.lists(blocks | scalars, max_size=3),
    }
)
loose = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "effort", "format", "name", "user_id", "edits", "budget_tokens", "schema"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)
FIELDS = ("system", "tools", "tool_choice", "thinking", "output_config", "metadata", "stop_sequences", "temperature")
bodies = st.fixed_dictionaries(
    {"model": st.just("m"), "max_tokens": st.integers(0, 9), "messages": st.lists(turns_, max_size=4)},
    optional=dict.fromkeys((*FIELDS, "context_management", "service_tier", "mcp_servers", "stream"), loose),
)


@settings(max_examples=200, deadline=None)
@given(body=bodies)
def test_no_body_breaks_the_reader(body: Json) -> None:
    """Whatever is in it, it is read, or refused with a 400 in Anthropic's shape; estimates and names never raise."""
    shown = reaction(body)
    assert shown is None or shown["error"]["message"]


def reaction(body: Json) -> Any:
    """None for a call that can be translated, else the failure as the caller gets it."""
    try:
        call = parse_request(orjson.dumps(body))
        assert call.estimate > 0
        assert all(isinstance(text, str) for text in call.texts())
        assert set(call.other_parts()) <= {"image", "file"}
        assert call.view.model == "m"
        call.chat_for(TargetTraits("openai", "gpt-6-luna", reasons=True, samples=False))
    except GatewayError as error:
        return orjson.loads(MESSAGES.render_error(error, "req_1")) if MESSAGES.status_of(error) == 400 else {}
    return None


def test_all_languages_are_judged() -> None:
    """One of each, Anthropic's own among them."""
    assert {"openai", "anthropic", "google", "ollama"} <= {language.name for language in LANGUAGES}
