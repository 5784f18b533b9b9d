"""Chunks from bytes, and whole answers from chunks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fwd_client import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    Chat,
    DeadlineError,
    Receipt,
    StreamInterruptedError,
    ToolCall,
    UpstreamError,
    Usage,
)
from fwd_client._decode import read_value
from fwd_client._operations import Reply
from fwd_client._stream import Folder, Reader, StreamFacts, merge_fields
from fwd_client._values import Chunk, FunctionCall

from .conftest import STREAM, chunk, event

WIRE = Path(__file__).parents[1] / "golden" / "wire"
OTHER_LANGUAGES = {"messages", "responses"}
GOLDEN = [path for path in sorted(WIRE.glob("*/*.expected.sse")) if path.parent.name not in OTHER_LANGUAGES]
HEAD = Reply(200, {"x-request-id": "r"})


def read_all(*parts: bytes) -> tuple[list[Chunk], Reader]:
    reader = Reader.of(HEAD)
    return [item for part in parts for item in reader.feed(part)], reader


def folded(*chunks: Any) -> Chat:
    folder = Folder()
    for data in chunks:
        folder.add(read_value(Chunk, data))
    return folder.chat(Receipt())


def delta(**fields: Any) -> dict[str, Any]:
    return {**chunk(), "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def test_whole_stream() -> None:
    """Chunks come out, `[DONE]` ends them, and the end of the bytes is then no surprise."""
    chunks, reader = read_all(*STREAM)
    reader.close()
    assert "".join(item.text for item in chunks) == "hello"
    assert reader.done


@pytest.mark.parametrize("cut", range(1, len(b"".join(STREAM))))
def test_cut_stream(cut: int) -> None:
    """Contract 3a: a stream that ends anywhere before `[DONE]` never looks complete."""
    text = b"".join(STREAM)[:-1]
    _, reader = read_all(text[:cut])
    assert not reader.done
    with pytest.raises(StreamInterruptedError) as caught:
        reader.close(APIConnectionError("reset"))
    assert (caught.value.code, caught.value.request_id) == ("stream_interrupted", "r")


def test_silence_after_the_end() -> None:
    """F30: whatever follows `[DONE]` is not looked at, and a connection that breaks then broke too late."""
    chunks, reader = read_all(event(chunk("a")), event("[DONE]"), b"data: {broken\n\n", event(chunk("b")))
    reader.close(APIConnectionError("reset"))
    assert len(chunks) == 1


def test_timeout_midway() -> None:
    """F10: a stream that falls silent is a timeout, with the request's id."""
    with pytest.raises(APITimeoutError, match="had begun") as caught:
        Reader.of(HEAD).close(APITimeoutError("No answer."))
    assert (caught.value.code, caught.value.request_id) == ("stream_timeout", "r")


def test_error_event() -> None:
    """G5: an error inside the stream is raised as its class, after the chunks before it, from the same bytes."""
    failed = {"error": {"message": "m", "type": "server_error", "param": None, "code": "upstream_truncated"}}
    items = Reader.of(HEAD).feed(event(chunk("a")) + event(failed))
    assert next(items).text == "a"
    with pytest.raises(UpstreamError) as caught:
        next(items)
    assert (caught.value.code, caught.value.status, caught.value.request_id) == ("upstream_truncated", None, "r")


def test_stalled_event() -> None:
    """F10: the gateway's word for silence upstream."""
    with pytest.raises(DeadlineError):
        read_all(event({"error": {"message": "m", "code": "upstream_stalled"}}))


@pytest.mark.parametrize("data", [b"data: {broken\n\n", b"data: []\n\n", b"data: 3\n\n", b'data: "\xff"\n\n'])
def test_broken_event(data: bytes) -> None:
    """F27: an event that is no chunk is an error that names the request, not a gap in the answer."""
    with pytest.raises(APIResponseError) as caught:
        read_all(data)
    assert caught.value.request_id == "r"


def test_receipt_grows() -> None:
    """The comment before `[DONE]` completes what the head said; the usage chunk joins in."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    comment = b': fwd {"provider":"groq","attempts":2}\n\n: keep-alive\n\n'
    _, reader = read_all(comment, event({**chunk(), "choices": [], "usage": usage}))
    assert reader.receipt == Receipt(
        request_id="r", provider="groq", attempts=2, usage=Usage(1, 2, 3), headers=HEAD.headers
    )


def test_fold_text() -> None:
    """Pieces add up, kinds stay apart, choices too."""
    second = {"index": 1, "delta": {"content": "B"}, "finish_reason": "length"}
    chat = folded(
        delta(role="assistant", content=""),
        delta(reasoning_content="hm"),
        delta(content="a"),
        delta(refusal="no"),
        {**chunk("b", "stop"), "system_fingerprint": "f"},
        {**chunk(), "choices": [second]},
    )
    assert (chat.text, chat.finish_reason) == ("ab", "stop")
    assert (chat.message.reasoning_content, chat.message.refusal) == ("hm", "no")
    assert (chat.choices[1].message.content, chat.choices[1].finish_reason) == ("B", "length")


def test_fold_nothing() -> None:
    """Before the first chunk the answer so far is empty."""
    assert folded() == Chat()


def call(index: int, arguments: str | None = None, **fields: Any) -> dict[str, Any]:
    function = {key: fields.pop(key) for key in ("name",) if key in fields} | {"arguments": arguments}
    return {"index": index, **fields, "function": function}


def test_fold_tool_calls() -> None:
    """Calls grow by index, however their pieces are mixed; unknown fields of a call are kept."""
    chat = folded(
        delta(tool_calls=[call(1, "", id="b", name="g")]),
        delta(tool_calls=[call(0, "{", id="a", name="f", extra_content={"x": 1}), call(1, "[")]),
        delta(tool_calls=[call(1, "]"), call(0, "}"), {"index": 0}]),
    )
    assert chat.tool_calls == (
        ToolCall("a", "function", FunctionCall("f", "{}"), extra={"extra_content": {"x": 1}}),
        ToolCall("b", "function", FunctionCall("g", "[]")),
    )
    assert chat.message.content is None


def test_fold_unknown_fields() -> None:
    """Lists of unknown fields grow, objects merge, the rest is replaced."""
    chat = folded(delta(reasoning_details=[1], x="a", o={"a": 1}), delta(reasoning_details=[2], x="b", o={"b": 2}))
    assert chat.message.extra == {"reasoning_details": [1, 2], "x": "b", "o": {"a": 1, "b": 2}}


@pytest.mark.parametrize(
    ("known", "new", "expected"),
    [(None, 1, 1), (1, None, 1), ({"a": [1]}, {"a": [2]}, {"a": [1, 2]}), ("a", "b", "b"), ([1], {"a": 1}, {"a": 1})],
)
def test_merge(known: Any, new: Any, expected: Any) -> None:
    """Null changes nothing."""
    assert merge_fields(known, new) == expected


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_golden_streams(path: Path) -> None:
    """Every recorded stream says byte by byte what it says at once, and ends with `[DONE]` or as an error."""
    data = path.read_bytes()
    if b"data: [DONE]" not in data:
        with pytest.raises(APIStatusError):
            read_all(data)
        return
    chunks, reader = read_all(data)
    slowly, _ = read_all(*(data[i : i + 1] for i in range(len(data))))
    assert reader.done
    assert slowly == chunks


def test_facts() -> None:
    """A stream knows what it has so far, and shows it in short."""
    facts = StreamFacts(HEAD)
    assert (facts.snapshot.text, facts.usage, facts.is_done) == ("", None, False)
    assert repr(facts) == "StreamFacts(open, text='', request_id='r')"
    list(facts._reader.feed(b"".join(STREAM)))
    assert "done" in repr(facts)


def test_snapshot_round_trip() -> None:
    """A folded answer is JSON again like any other."""
    chat = folded(*(json.loads(item[6:]) for item in STREAM[:3]))
    assert chat.to_dict()["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "hello"},
        "finish_reason": "stop",
    }
