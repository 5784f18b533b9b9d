"""What Gemini's answers become, beside what the wire fixtures show."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.server.providers import golden
from tests.server.providers.google.helpers import answered, choice, codes, deltas, frame, opened, played, said

from fwd_server.providers.google.answer import usage_of
from fwd_server.values.chat import End
from fwd_server.values.errors import UpstreamError
from fwd_server.values.usage import Usage
from fwd_server.wire.sse import LONGEST_LINE

CALL = {"functionCall": {"name": "ping"}}
HI = {"text": "Hi"}


# -- parts


def test_parts_that_are_the_providers_own_business_give_nothing() -> None:
    parts = ({"executableCode": {}}, {"toolCall": {}}, {"thought": True}, {"functionCall": {}}, {"text": 5}, HI)
    assert choice(said(*parts))["message"] == {"role": "assistant", "content": "Hi", "refusal": None}


def test_a_picture_is_markdown() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBOR"}}
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}}
    assert choice(said(picture, sound))["message"]["content"] == "![image](data:image/png;base64,iVBOR)"


def test_without_an_id_or_a_version_the_answer_gets_ours() -> None:
    answer = answered(said(HI))
    assert (answer["id"], answer["model"], answer["created"]) == ("chatcmpl-fx", "gemini-3.5-flash", golden.CLOCK)
    assert "usage" not in answer


def test_several_candidates_are_several_choices() -> None:
    """Pitfall 12: state is kept per choice."""
    answer = {
        "candidates": [{"content": {"parts": [CALL]}, "index": 1, "finishReason": "STOP"}, *said(HI)["candidates"]]
    }
    found = {one["index"]: one["finish_reason"] for one in answered(answer)["choices"]}
    assert found == {1: "tool_calls", 0: "stop"}


# -- why it ended


@pytest.mark.parametrize(
    ("reason", "part", "expected"),
    [
        ("STOP", {}, "stop"),
        ("STOP", CALL, "tool_calls"),
        ("MAX_TOKENS", CALL, "length"),
        ("CONTINUATION", HI, "length"),
        ("IMAGE_OTHER", {}, "content_filter"),
        ("SPII", CALL, "content_filter"),
        ("OTHER", HI, "stop"),
        ("UNEXPECTED_TOOL_CALL", CALL, "tool_calls"),
        ("SOMETHING_NEW", HI, "stop"),
        ("", HI, "stop"),
    ],
)
def test_every_reason_has_one_of_openais_words(reason: str, part: dict[str, Any], expected: str) -> None:
    """Pitfall 10."""
    assert choice(said(part, finishReason=reason))["finish_reason"] == expected


@pytest.mark.parametrize(
    ("reason", "shown"), [("OTHER", "OTHER"), ("", "unknown reason"), ("\x1b[2J", "unknown reason")]
)
def test_an_end_with_nothing_to_show_is_a_failure(reason: str, shown: str) -> None:
    """Pitfall 31; contract T25: nothing of the provider's goes on raw."""
    with pytest.raises(UpstreamError, match=f"\\({shown}\\)") as caught:
        answered(said(finishReason=reason))
    assert caught.value.code == "bad_payload"


@pytest.mark.parametrize("answer", [{}, {"candidates": []}, {"candidates": 5, "promptFeedback": {}}])
def test_no_candidate_and_no_reason_is_a_failure(answer: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError) as caught:
        answered(answer)
    assert caught.value.code == "bad_payload"


def test_an_error_inside_an_answer_is_a_failure() -> None:
    """Contract F21."""
    with pytest.raises(UpstreamError) as caught:
        answered({"error": {"code": 429, "message": "slow"}})
    assert caught.value.status == 429


# -- beside the text


def test_sources_become_citations_and_bytes_become_characters() -> None:
    chunks = [{"web": {"uri": "https://a.b", "title": "A"}}, {"maps": {}}, 5]
    supports = [
        {"segment": {"endIndex": 3}, "groundingChunkIndices": [0, 1, 9, "x", -1]},
        {"segment": {"startIndex": 3, "endIndex": 4}, "groundingChunkIndices": [0]},
        {"segment": {}, "groundingChunkIndices": None},
    ]
    grounding = {"groundingChunks": chunks, "groundingSupports": supports}
    found = choice(said({"text": "é!?"}, groundingMetadata=grounding))["message"]["annotations"]
    spans = [(one["url_citation"]["start_index"], one["url_citation"]["end_index"]) for one in found]
    assert spans == [(0, 2), (2, 3)]
    assert found[0]["url_citation"]["url"] == "https://a.b"


def test_grounding_without_chunks_gives_no_citation() -> None:
    grounding = {"groundingSupports": [{"groundingChunkIndices": [0]}]}
    assert "annotations" not in choice(said(HI, groundingMetadata=grounding))["message"]


def test_probabilities_have_openais_shape() -> None:
    one = {"token": "Hi", "logProbability": -0.1, "tokenId": 5}
    result = {"chosenCandidates": [one, one], "topCandidates": [{"candidates": [one]}]}
    told = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}
    expected = [{**told, "top_logprobs": [told]}, {**told, "top_logprobs": []}]
    assert choice(said(HI, logprobsResult=result))["logprobs"] == {"content": expected}


# -- usage


@pytest.mark.parametrize(
    ("counted", "usage"),
    [
        ({"promptTokenCount": 5, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 10}, (5, 5, 2)),
        ({"promptTokenCount": 5, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 8}, (5, 3, 2)),
        ({"promptTokenCount": 5, "candidatesTokenCount": 3, "thoughtsTokenCount": 2}, (5, 5, 2)),
        ({"promptTokenCount": "5", "candidatesTokenCount": -3, "thoughtsTokenCount": 1e300}, (0, 0, 0)),
    ],
)
def test_thoughts_are_counted_once(counted: dict[str, Any], usage: tuple[int, int, int]) -> None:
    """Pitfall 39; contract T30."""
    prompt, completion, reasoning = usage
    assert usage_of(counted) == Usage(prompt, completion, reasoning=reasoning)


def test_cached_tokens_are_never_more_than_the_prompt() -> None:
    """Pitfall 38."""
    assert usage_of({"promptTokenCount": 5, "cachedContentTokenCount": 9}).cached == 5


def test_sound_and_pictures_in_the_prompt_are_told_apart() -> None:
    details = [{"modality": "AUDIO", "tokenCount": 2}, {"modality": "AUDIO", "tokenCount": 3}, {"modality": "TEXT"}]
    counted = {"promptTokenCount": 9, "promptTokensDetails": [*details, {"modality": "IMAGE", "tokenCount": 4}]}
    usage = answered({**said(HI), "usageMetadata": counted})["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0, "audio_tokens": 5, "image_tokens": 4}


# -- the stream


def test_a_reason_on_every_frame_ends_the_stream_once() -> None:
    """Older models say STOP with each piece: nothing may follow a finish reason, so it waits for the end."""
    events = played(said(HI), said({"text": "!"}))
    assert [(delta, finish) for _, delta, finish in deltas(events)] == [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "Hi"}, None),
        ({"content": "!"}, None),
        ({}, "stop"),
    ]
    assert events[-1] == End(None)


def test_what_comes_after_the_end_is_ignored() -> None:
    """Contract F30: a piece without a reason shows that the reason before it was the end; usage still counts."""
    late = {"candidates": [{"content": {"parts": [{"text": "late"}]}}], "usageMetadata": {"candidatesTokenCount": 9}}
    events = played(said(HI), late, said({"text": "later"}, finishReason="MAX_TOKENS"))
    assert [(delta, finish) for _, delta, finish in deltas(events)] == [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "Hi"}, None),
        ({}, "stop"),
    ]
    assert events[-1] == End(Usage(0, 9))


def test_sources_may_come_after_the_reason() -> None:
    """They are no content of their own: nothing ends with them."""
    chunks = {"groundingChunks": [{"web": {"uri": "https://a.b"}}]}
    grounding = {**chunks, "groundingSupports": [{"segment": {"endIndex": 2}, "groundingChunkIndices": [0]}]}
    late = {"candidates": [{"groundingMetadata": grounding}]}
    found = deltas(played(said(HI), late, said({"text": "!"})))
    assert [delta.get("content") for _, delta, _ in found] == ["", "Hi", "!", None, None]
    assert "annotations" in found[-2][1]


def test_choices_are_kept_apart() -> None:
    """Pitfall 12: each has its own role chunk, its own call numbers and its own end."""
    other = {"index": 1, "content": {"parts": [CALL]}, "finishReason": "STOP"}
    found = deltas(played({"candidates": [*said(CALL)["candidates"], other]}))
    assert [index for index, _, _ in found] == [0, 0, 1, 1, 0, 1]
    assert [delta["tool_calls"][0]["index"] for _, delta, _ in found if "tool_calls" in delta] == [0, 0]


def test_probabilities_go_with_the_next_chunk() -> None:
    result = {"chosenCandidates": [{"token": "Hi", "logProbability": -0.1}]}
    for parts in ((HI,), ()):
        events = played(said(*parts, logprobsResult=result))
        told = [event.data["choices"][0]["logprobs"] for event in events[:-1]]
        assert len([one for one in told if one]) == 1


def test_sources_come_before_the_end() -> None:
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://a.b"}}],
        "groundingSupports": [{"segment": {"endIndex": 2}, "groundingChunkIndices": [0]}],
    }
    found = deltas(played(said(HI), said(groundingMetadata=grounding)))
    assert "annotations" in found[-2][1]
    assert found[-1][2] == "stop"


def test_an_end_with_nothing_to_show_fails_the_stream() -> None:
    assert codes(played(said(finishReason="MALFORMED_FUNCTION_CALL"))) == ["bad_payload"]


def test_a_prompt_blocked_late_ends_what_was_begun() -> None:
    events = played({"candidates": [{"content": {"parts": [HI]}}]}, {"promptFeedback": {"blockReason": "JAILBREAK"}})
    assert deltas(events)[-2][1] == {"refusal": "The provider blocked the prompt (JAILBREAK)."}
    assert deltas(events)[-1][2] == "content_filter"


@pytest.mark.parametrize("frames", [[], [{}], [{"usageMetadata": {}}], [{"candidates": [{"content": {}}]}]])
def test_a_stream_without_a_reason_is_cut(frames: list[Any]) -> None:
    """Contract F22."""
    assert codes(played(*frames)) == ["upstream_truncated"]


def test_one_choice_without_its_end_is_a_cut_stream() -> None:
    other = {"index": 1, "content": {"parts": [HI]}}
    assert codes(played({"candidates": [*said(HI)["candidates"], other]})) == ["upstream_truncated"]


def test_the_decoder_tells_usage_as_it_grows() -> None:
    decoder = opened(stream=True).decoder()
    for tokens in (1, 4):
        decoder.feed(frame({"usageMetadata": {"candidatesTokenCount": tokens}}))
    assert decoder.usage == Usage(0, 4)


# -- plain JSON in a stream

ERROR = {"error": {"code": 503, "message": "Busy", "status": "UNAVAILABLE"}}
INDENTED = orjson.dumps([ERROR], option=orjson.OPT_INDENT_2)


@pytest.mark.parametrize("plain", [orjson.dumps(ERROR), orjson.dumps(ERROR) + b"\n", INDENTED, b"\r\n" + INDENTED])
@pytest.mark.parametrize("before", [b"", frame({"candidates": [{"content": {"parts": [HI]}}]})])
def test_an_error_may_come_as_plain_json(before: bytes, plain: bytes) -> None:
    """On one line or on many, alone or after frames, and whatever way it is cut (contract T10)."""
    stream = before + plain
    for at in range(len(stream)):
        events = golden.play(opened(stream=True).decoder(), [stream[:at], stream[at:]])
        assert codes(events) == ["provider_overloaded"]
        assert len(deltas(events)) == (2 if before else 0)


def test_a_whole_array_of_answers_is_a_stream_too() -> None:
    """What the endpoint gives when alt=sse is lost on the way."""
    pieces = orjson.dumps([said(HI), said({"text": "!"})])
    assert deltas(golden.play(opened(stream=True).decoder(), [pieces]))[-1][2] == "stop"


@pytest.mark.parametrize("plain", [b'{"error": {"co', b"[{", b"[1]", b"[" * 300 + b"]" * 300])
def test_plain_json_nobody_can_read_fails_the_stream(plain: bytes) -> None:
    assert len(codes(golden.play(opened(stream=True).decoder(), [plain]))) == 1


def test_plain_json_has_a_limit_too() -> None:
    """Contract T9."""
    decoder = opened(stream=True).decoder()
    decoder.feed(b"{")
    assert codes(decoder.feed(b" " * LONGEST_LINE)) == ["too_large"]


# -- ids of calls


def test_calls_with_one_id_get_ids_of_their_own() -> None:
    """Over all choices of an answer, whole and streamed: callers match results by nothing but the id."""
    parts = [{"functionCall": {"id": "c", "name": name}} for name in ("get", "put")]
    pair = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP", "index": index} for index in (0, 1)]}
    whole = [call["id"] for one in answered(pair)["choices"] for call in one["message"]["tool_calls"]]
    streamed = [delta["tool_calls"][0]["id"] for _, delta, _ in deltas(played(pair)) if "tool_calls" in delta]
    assert whole == streamed == ["c", "call_fx_0", "call_fx_1", "call_fx_2"]
