"""A tool choice in any API's shape: read as it is meant, or refused by its name."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.server.providers import golden

from fwd_server.providers.base import UpstreamRequest
from fwd_server.providers.tool_choice import ToolChoice, read_tool_choice
from fwd_server.values.errors import Refused

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("w", "v")]
FLAT = {"type": "function", "name": "w"}
NESTED = {"type": "function", "function": {"name": "w"}}


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        (None, None),
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ("any", ToolChoice("required")),
        ({"type": "auto"}, ToolChoice("auto")),
        ({"type": "any"}, ToolChoice("required")),
        ({"type": "none"}, ToolChoice("none")),
        (NESTED, ToolChoice("required", ("w",))),
        (FLAT, ToolChoice("required", ("w",))),
        ({"type": "tool", "name": "w"}, ToolChoice("required", ("w",))),
        ({"name": "w"}, ToolChoice("required", ("w",))),
        ({"function": {"name": "w"}}, ToolChoice("required", ("w",))),
        ({"type": "allowed_tools", "mode": "auto", "tools": [FLAT]}, ToolChoice("auto", ("w",))),
        ({"type": "allowed_tools", "mode": "any", "tools": [FLAT, "v"]}, ToolChoice("required", ("w", "v"))),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NESTED]}},
            ToolChoice("required", ("w",)),
        ),
        ({"type": "allowed_tools", "allowed_tools": {"tools": [NESTED, FLAT]}}, ToolChoice("auto", ("w", "w"))),
    ],
)
def test_a_choice_is_read_as_it_is_meant(choice: Any, meant: ToolChoice | None) -> None:
    assert read_tool_choice({"tools": TOOLS, "tool_choice": choice}, "google") == meant


WRONG = [
    "",
    "w",
    {},
    {"type": "function"},
    {"type": "function", "function": {}},
    {"type": "function", "function": {"name": ""}},
    {"type": "function", "function": {"name": 5}},
    {"type": "function", "name": ""},
    {"type": "tool"},
    {"type": "custom", "custom": {"name": "w"}},
    {"type": "web_search"},
    {"type": 5},
    {"type": "allowed_tools"},
    {"type": "allowed_tools", "tools": []},
    {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
    {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function"}]}},
    {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NESTED, ""]}},
    {"type": "allowed_tools", "allowed_tools": {"mode": "sometimes", "tools": [NESTED]}},
    {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "custom": {"name": "w"}}]},
]


@pytest.mark.parametrize("provider", ["google", "ollama"])
@pytest.mark.parametrize("choice", WRONG)
def test_a_choice_without_a_meaning_is_refused_by_name(provider: str, choice: Any) -> None:
    call = golden.chat_request(model=f"{provider}:m", tools=TOOLS, tool_choice=choice)
    with pytest.raises(Refused) as caught:
        golden.open_exchange(provider, call)
    assert caught.value.param == "tool_choice"


def sent(provider: str, choice: Any) -> tuple[Any, tuple[str, ...]]:
    exchange = golden.open_exchange(
        provider, golden.chat_request(model=f"{provider}:m", tools=TOOLS, tool_choice=choice)
    )
    assert isinstance(exchange.request, UpstreamRequest)
    return orjson.loads(exchange.request.body), exchange.dropped


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (FLAT, {"mode": "ANY", "allowedFunctionNames": ["w"]}),
        ("any", {"mode": "ANY"}),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [FLAT]},
            {"mode": "VALIDATED", "allowedFunctionNames": ["w"]},
        ),
        ({"type": "allowed_tools", "mode": "none", "tools": [FLAT]}, {"mode": "NONE"}),
    ],
)
def test_gemini_is_told_its_own_mode(choice: Any, config: dict[str, Any]) -> None:
    """https://ai.google.dev/gemini-api/docs/function-calling#function_calling_modes"""
    body, dropped = sent("google", choice)
    assert (body["toolConfig"]["functionCallingConfig"], dropped) == (config, ())


@pytest.mark.parametrize(
    ("choice", "tools", "dropped"),
    [
        ("auto", ["w", "v"], ()),
        ({"type": "none"}, None, ()),
        ("required", ["w", "v"], ("tool_choice",)),
        (FLAT, ["w"], ("tool_choice",)),
        ({"type": "allowed_tools", "mode": "auto", "tools": [FLAT]}, ["w"], ()),
        ({"type": "allowed_tools", "mode": "required", "tools": [FLAT]}, ["w"], ("tool_choice",)),
    ],
)
def test_ollama_gets_the_tools_that_may_be_called(choice: Any, tools: list[str] | None, dropped: Any) -> None:
    """It has no word for a choice: that one must be called is lost, and named."""
    body, gone = sent("ollama", choice)
    names = [tool["function"]["name"] for tool in body["tools"]] if "tools" in body else None
    assert (names, gone) == (tools, dropped)
