"""The classes of answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError

from fwd_client import Chat, Chunk, Health, Message, Model, Models, Receipt, _values
from fwd_client._decode import read_value

from .conftest import CHAT, chunk

RICH: dict[str, Any] = {
    **CHAT,
    "x_new": {"deep": [1]},
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "reasoning_details": [{"type": "reasoning.encrypted", "data": "…"}],
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}", "odd": 1},
                        "extra_content": {"google": {"thought_signature": "s"}},
                    }
                ],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 1, "text_tokens": 1},
    },
}


def test_nothing_is_lost() -> None:
    """Unknown fields survive at every depth: reading and `to_dict` give the object again."""
    chat = read_value(Chat, RICH)
    assert chat.to_dict() == RICH
    assert json.loads(chat.to_json()) == RICH
    assert chat.extra == {"x_new": {"deep": [1]}}
    assert chat.tool_calls[0].extra["extra_content"]["google"] == {"thought_signature": "s"}


def test_null_is_absent() -> None:
    """Null and absent are both None, and are left out again."""
    message = read_value(Message, {"role": "assistant", "content": None, "refusal": None})
    assert message == Message()
    assert message.to_dict() == {"role": "assistant"}


def test_shortcuts() -> None:
    """`text`, `message`, `tool_calls` and `finish_reason` are the first choice's; none is no reason to fail."""
    chat = read_value(Chat, CHAT)
    assert (chat.text, chat.finish_reason, chat.tool_calls) == ("hi", "stop", ())
    empty = read_value(Chat, {})
    assert (empty.text, empty.finish_reason, empty.message) == ("", None, Message())


def test_arguments() -> None:
    """A tool call's arguments are text, and values on demand."""
    call = read_value(_values.FunctionCall, {"name": "f", "arguments": '{"a": 1}'})
    assert call.parsed() == {"a": 1}
    assert read_value(_values.FunctionCall, {"name": "f"}).parsed() == {}


def test_frozen() -> None:
    """An answer cannot be changed."""
    with pytest.raises(FrozenInstanceError):
        read_value(Chat, CHAT).model = "other"  # type: ignore[misc]


def test_receipt_is_no_part_of_equality() -> None:
    """The same answer twice is equal, whoever gave it; its facts are one attribute away."""
    known = Receipt(request_id="r", provider="p", attempts=2, dropped=("top_k",), timings={"total": 1.5})
    chat = read_value(Chat, CHAT, receipt=known)
    assert chat == read_value(Chat, CHAT)
    assert (chat.request_id, chat.provider, chat.attempts) == ("r", "p", 2)
    assert (chat.dropped, chat.timings) == (("top_k",), {"total": 1.5})


def test_short_reprs() -> None:
    """A repr is one short line."""
    long = read_value(Chat, {**CHAT, "choices": [{"message": {"content": "x" * 100}}]})
    assert repr(long) == f"Chat(text='{'x' * 39}…', model='m')"
    assert repr(read_value(Chunk, chunk("a"))) == "Chunk(text='a', choices=1)"
    assert repr(Model(id="m", owned_by="o")) == "Model(id='m', owned_by='o')"
    assert repr(Models(data=(Model(id="m"),))) == "Models(count=1, first=['m'])"
    assert repr(Health(status="ok")) == "Health(status='ok', ok=True)"


def test_models_are_a_list() -> None:
    """Models can be counted and walked through."""
    models = Models(data=(Model(id="a"), Model(id="b")))
    assert [model.id for model in models] == ["a", "b"]
    assert len(models) == 2
