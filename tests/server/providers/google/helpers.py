"""Calls and answers of Gemini, as short as a test needs them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.server.providers import golden

from fwd_server.providers.google import GoogleChat, GoogleExchange
from fwd_server.values.chat import Chunk
from fwd_server.values.errors import Refused, UpstreamError

NEWER, OLDER = "gemini-3.5-flash", "gemini-2.5-flash"
PICTURE = "data:image/png;base64,iVBOR"
TOOL = {"type": "function", "function": {"name": "ping"}}


def opened(model: str = NEWER, **body: Any) -> GoogleExchange:
    """An exchange with a model."""
    request = golden.chat_request(**{"model": f"google:{model}", **body})
    return GoogleChat().open(request, golden.deployment("google", model), golden.CLOCK, golden.fresh_ids())


def refusal(model: str = NEWER, **body: Any) -> Refused:
    """Why a call is refused."""
    with pytest.raises(Refused) as caught:
        opened(model, **body)
    return caught.value


def config(model: str = NEWER, **body: Any) -> dict[str, Any]:
    """The settings that are sent."""
    found: dict[str, Any] = opened(model, **body).body.get("generationConfig", {})
    return found


def contents(*messages: dict[str, Any], model: str = NEWER) -> list[dict[str, Any]]:
    """The turns that are sent."""
    found: list[dict[str, Any]] = opened(model, messages=list(messages)).body["contents"]
    return found


def user(*parts: dict[str, Any] | str) -> dict[str, Any]:
    """A user's message."""
    return {"role": "user", "content": [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]}


def calls(*names: str, **more: Any) -> dict[str, Any]:
    """An assistant's message with calls, whose ids are their places."""
    made = [{"id": str(i), "type": "function", "function": {"name": n, "arguments": ""}} for i, n in enumerate(names)]
    return {"role": "assistant", "content": None, "tool_calls": made, **more}


def result(call: int, content: Any) -> dict[str, Any]:
    """The answer to a call."""
    return {"role": "tool", "tool_call_id": str(call), "content": content}


def said(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A whole answer of one candidate."""
    return {"candidates": [{"content": {"parts": list(parts)}, "finishReason": "STOP", **more}]}


def answered(answer: object, **body: Any) -> dict[str, Any]:
    """What the caller gets for a whole answer."""
    return opened(**body).answer(orjson.dumps(answer)).data


def choice(answer: object) -> dict[str, Any]:
    """The first choice of what the caller gets."""
    found: dict[str, Any] = answered(answer)["choices"][0]
    return found


def frame(answer: object) -> bytes:
    """A frame of a stream."""
    return b"data: " + orjson.dumps(answer) + b"\r\n\r\n"


def played(*frames: object) -> list[Any]:
    """The events of a stream."""
    return golden.play(opened(stream=True).decoder(), [frame(one) for one in frames])


def deltas(events: list[Any]) -> list[tuple[int, dict[str, Any], str | None]]:
    """Index, delta and finish reason of every chunk with a choice."""
    found = [event.data["choices"] for event in events if isinstance(event, Chunk) and event.data]
    return [(c[0]["index"], c[0]["delta"], c[0]["finish_reason"]) for c in found if c]


def codes(events: list[Any]) -> list[str | None]:
    """The codes of a stream's errors."""
    return [event.code for event in events if isinstance(event, UpstreamError)]


def image(url: str, **more: Any) -> dict[str, Any]:
    """A picture."""
    return {"type": "image_url", "image_url": {"url": url, **more}}


def file(**data: Any) -> dict[str, Any]:
    """A file."""
    return {"type": "file", "file": data}
