"""Pictures that Gemini made, on their way to the caller and back."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.providers import golden
from tests.server.providers.accumulate import accumulated
from tests.server.providers.google.helpers import calls, choice, contents, frame, opened, result, said, user

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
IMAGE_MODEL = "gemini-3-pro-image-preview"


def picture(mime: str = "image/png", data: str = PNG) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime, "data": data}}


def returned(message: dict[str, Any], model: str = IMAGE_MODEL) -> list[dict[str, Any]]:
    """The parts that an answer's message becomes in the next call."""
    found: list[dict[str, Any]] = contents(user("Hi"), message, user("Make it blue."), model=model)[1]["parts"]
    return found


def streamed(frames: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """The message of a streamed answer, added up by the caller."""
    call = golden.chat_request(model="google:m", stream=True)
    pieces = [frame({"candidates": [{"content": {"parts": parts}, "index": 0}]}) for parts in frames]
    pieces.append(frame(said({"text": ""})))
    return accumulated(golden.frames(golden.rendered(golden.play(opened(stream=True).decoder(), pieces), call)))


parts = st.one_of(
    st.text("ab !", min_size=1, max_size=5).map(lambda text: {"text": text}),
    st.builds(
        picture,
        st.sampled_from(["image/png", "image/jpeg", "image/svg+xml"]),
        st.binary(min_size=1, max_size=9).map(lambda data: base64.b64encode(data).decode()),
    ),
)
signed = st.tuples(parts, st.sampled_from([{}, {"thoughtSignature": "QQ=="}, {"thoughtSignature": "Qg=="}]))
answers = st.lists(signed.map(lambda both: {**both[0], **both[1]}), min_size=1, max_size=5)


def joined(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parts with neighbouring texts as one, which has the last signature of them: a message has one text."""
    made: list[dict[str, Any]] = []
    for part in found:
        if made and "text" in part and "text" in made[-1]:
            made[-1] = {**made[-1], **part, "text": made[-1]["text"] + part["text"]}
        else:
            made.append(dict(part))
    return made


@given(answer=answers, cuts=st.sets(st.integers(1, 4)))
def test_what_gemini_said_is_what_it_is_given_back(answer: list[dict[str, Any]], cuts: set[int]) -> None:
    """Pictures as pictures, every signature on its part; whole, and streamed and added up by an SDK."""
    assert returned(choice(said(*answer))["message"]) == joined(answer)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(answer)), len(answer)]
    frames = [answer[start:end] for start, end in itertools.pairwise(bounds)]
    assert returned(streamed(frames)) == joined(answer)


def test_a_signature_after_everything_else_goes_back_on_the_last_part() -> None:
    """A stream may bring it with an empty text."""
    last = {"text": "", "thoughtSignature": "QQ=="}
    assert returned(choice(said({"text": "Here:"}, picture(), last))["message"]) == [
        {"text": "Here:"},
        {**picture(), "thoughtSignature": "QQ=="},
    ]


def test_two_signatures_of_a_stream_are_not_joined() -> None:
    """OpenAI's SDKs add texts up: two deltas with a signature would make one that Google never gave."""
    message = streamed([[{"text": "a", "thoughtSignature": "QQ=="}], [{"text": "b", "thoughtSignature": "Qg=="}]])
    assert message["extra_content"] == {"google": {"thought_signature": "Qg=="}}


def test_a_client_that_knows_one_signature_only_gives_the_last_part_its_own() -> None:
    message = choice(said({"text": "Here:"}, {**picture(), "thoughtSignature": "QQ=="}))["message"]
    del message["extra_content"]["google"]["thought_signatures"]
    assert returned(message)[1]["thoughtSignature"] == "QQ=="


@pytest.mark.parametrize("form", ["string", "part"])
def test_a_picture_beside_calls_goes_back_before_them(form: str) -> None:
    content: Any = f"Look: ![image](data:image/png;base64,{PNG})"
    message = calls("ping", content=content if form == "string" else [{"type": "text", "text": content}])
    sent = contents(user("Hi"), message, result(0, "1"), model=IMAGE_MODEL)[1]["parts"]
    assert sent[:2] == [{"text": "Look: "}, picture()]
    assert "functionCall" in sent[2]


def test_only_an_answer_is_read_for_pictures() -> None:
    """What a user or a tool wrote stays as it was written."""
    written = f"![image](data:image/png;base64,{PNG})"
    turns = contents(user(written), calls("ping"), result(0, written))
    assert turns[0]["parts"] == [{"text": written}]
    assert turns[2]["parts"][0]["functionResponse"]["response"] == {"output": written}


@pytest.mark.parametrize(
    "text", ["![image](https://a.b/c.png)", "![image](data:image/png;base64,)", "![chart](data:image/png;base64,QQ==)"]
)
def test_other_markdown_stays_text(text: str) -> None:
    assert returned({"role": "assistant", "content": text}) == [{"text": text}]


def test_media_that_are_not_pictures_are_no_content() -> None:
    assert choice(said({"text": "Hi"}, picture("audio/wav")))["message"]["content"] == "Hi"
