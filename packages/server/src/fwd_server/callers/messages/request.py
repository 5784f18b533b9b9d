"""A call of the Messages API: what must be right whoever answers, and what it is in the chat shape.

https://platform.claude.com/docs/en/api/messages/create
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from attrs import define, field

from fwd_server.callers.base import NO_HEAD, CallHead
from fwd_server.callers.messages import options
from fwd_server.callers.messages.content import texts_of
from fwd_server.callers.messages.estimate import blocks_in, estimate_tokens
from fwd_server.callers.messages.fields import invalid, one_of
from fwd_server.callers.messages.names import ToolNames, sent_name
from fwd_server.callers.messages.tools import write_tools
from fwd_server.callers.messages.turns import TurnWriter
from fwd_server.callers.validation import convert_body
from fwd_server.values.chat import MAX_MESSAGES, ChatBody, ChatRequest, Json
from fwd_server.values.errors import BadRequest
from fwd_server.values.foreign import ChatForm, ForeignRequest, TargetTraits, selected_headers
from fwd_server.wire import jsontext

LANGUAGE: Final = "anthropic-messages"
# The newer one refuses sampling. https://platform.claude.com/docs/en/api/versioning
OLDER: Final = "2023-06-01"
NEWER: Final = "2026-10-21"
_ABILITIES: Final = {"image": "image", "document": "file"}
_INDEX: Final = re.compile(r"\[[^\]]*\]")
# Fields of the chat shape as they are called here; None: the caller never wrote it, so nothing of theirs is lost.
_OWN_NAMES: Final[dict[str, str | None]] = {
    "stop": "stop_sequences",
    "max_completion_tokens": "max_tokens",
    "response_format": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "stream_options": None,
    "safety_identifier": None,
    "cache_control": None,
    "reasoning_details": None,
    "extra_content": None,
}


@define(eq=False)
class MessagesRequest(ForeignRequest):
    """A validated call. ``headers`` are the version and the betas, which only Anthropic reads."""

    _names: dict[str, str] | None = field(default=None, init=False)
    _estimate: int = field(default=0, init=False)

    def chat_for(self, target: TargetTraits) -> ChatForm:
        """The call for one target. Raises BadRequest or Refused in Anthropic's words."""
        dropped: set[str] = set()
        names = ToolNames()
        chat: Json = {"model": self.model, **options.write_options(self.own, target, dropped)}
        chat |= write_tools(self.own, names, dropped)
        chat["messages"] = TurnWriter(target, names, dropped).write_turns(self.own)
        if not chat["messages"]:
            raise invalid("messages", "there is no text in them, and no system prompt")
        if self.stream:
            # Anthropic's streams always end with the usage, so it is always asked for.
            chat |= {"stream": True, "stream_options": {"include_usage": True}}
        form = ChatForm(ChatRequest(chat, convert_body(chat, ChatBody)), tuple(sorted(dropped)))
        # `max_tokens: 0` only fills Anthropic's cache; elsewhere there is nothing to send, and the answer is made here.
        return form if self.own.get("max_tokens") != 0 else ChatForm(form.request, form.dropped, self._warmed_up())

    def own_names(self, dropped: Iterable[str]) -> tuple[str, ...]:
        """Names of fields in the chat shape as the caller calls them."""
        return tuple(sorted({name for path in dropped if (name := self._own_name(path))}))

    def texts(self) -> Iterator[str]:
        """Every text of the conversation, for estimates."""
        yield from texts_of(self.own.get("system"))
        for turn in self.own["messages"]:
            yield from texts_of(turn.get("content"))

    def other_parts(self) -> Iterator[str]:
        """The ability that each part needs which is no text."""
        for turn in self.own["messages"]:
            yield from (
                _ABILITIES[kind]
                for block in blocks_in(turn.get("content"))
                if (kind := block.get("type")) in _ABILITIES
            )

    def abilities(self) -> Iterator[str]:
        """What else it needs of a model."""
        config = self.own.get("output_config")
        if self.own.get("tools"):
            yield "tools"
        if isinstance(config, dict) and config.get("format"):
            yield "json_schema"

    def user(self) -> str | None:
        """Whom the caller names as its own user; Claude Code writes who is logged in, as JSON."""
        metadata = self.own.get("metadata")
        user = metadata.get("user_id") if isinstance(metadata, dict) else None
        return user if isinstance(user, str) else None

    def caller_name(self, sent: str) -> str:
        """The caller's own name of a tool, whichever way it was sent."""
        if self._names is None:
            tools = self.own.get("tools")
            given = [tool.get("name") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
            self._names = {sent_name(name): name for name in given if isinstance(name, str)}
        return self._names.get(sent, sent)

    @property
    def estimate(self) -> int:
        """The gateway's own count of the prompt's tokens."""
        if not self._estimate:
            self._estimate = estimate_tokens(self.own)
        return self._estimate

    def _own_name(self, path: str) -> str | None:
        bare = _INDEX.sub("", path)
        first, _, rest = bare.partition(".")
        if first == "reasoning_effort":
            return "output_config.effort" if (self.own.get("output_config") or {}).get("effort") else "thinking"
        if first == "tools":  # functions are one level deeper in the chat shape
            return f"tools.{rest.removeprefix('function.')}" if rest else "tools"
        if bare.rpartition(".")[2] in _OWN_NAMES and first == "messages":
            return None
        return _OWN_NAMES.get(first, bare)

    def _warmed_up(self) -> Json:
        """The answer to a call that only warms a cache, which other providers do not have to be told."""
        usage = {"prompt_tokens": self.estimate, "completion_tokens": 0, "total_tokens": self.estimate}
        message = {"role": "assistant", "content": ""}
        choice = {"index": 0, "message": message, "finish_reason": "length"}
        return {"model": self.model, "choices": [choice], "usage": usage}


def parse_request(body: bytes, head: CallHead = NO_HEAD) -> MessagesRequest:
    """Read a call. Raises BadRequest that names the field.

    Only what must be right at Anthropic too is checked here: a call may go there as it is, with blocks that are newer
    than this version.
    """
    own = _read_object(body, head)
    most = own.get("max_tokens")
    if most is None:
        raise invalid("max_tokens", "Field required")
    if type(most) is not int or most < 0:
        raise invalid("max_tokens", "Input should be a valid integer, 0 or more")
    return _as_request(own, body, head)


def parse_count(body: bytes, head: CallHead = NO_HEAD) -> MessagesRequest:
    """Read a call whose tokens are to be counted: it needs no limit. Raises BadRequest that names the field."""
    return _as_request(_read_object(body, head), body, head)


def _as_request(own: Json, body: bytes, head: CallHead) -> MessagesRequest:
    passed = selected_headers(head.headers, ("anthropic-version", "anthropic-beta"))
    return MessagesRequest(None, None, raw=body, language=LANGUAGE, own=own, headers=passed)


def _read_object(body: bytes, head: CallHead) -> Json:
    own = jsontext.parse_object(body)
    if not isinstance(own.get("model"), str) or not own["model"]:
        raise invalid("model", "Input should be a valid string" if own.get("model") else "Field required")
    if not isinstance(own.get("stream"), (bool, type(None))):
        raise invalid("stream", "Input should be a valid boolean")
    _check_turns(own.get("messages"))
    _check_version(own, head.headers.get("anthropic-version"))
    options.check_options(own)
    return own


def _check_turns(turns: Any) -> None:
    if not isinstance(turns, list):
        raise invalid("messages", "Field required" if turns is None else "Input should be a valid list")
    if not 1 <= len(turns) <= MAX_MESSAGES:
        raise invalid("messages", f"List should have 1 to {MAX_MESSAGES} items, not {len(turns)}")
    for at, turn in enumerate(turns):
        if not isinstance(turn, dict):
            raise invalid(f"messages.{at}", "Input should be a valid dictionary")
        if not isinstance(turn.get("role"), str):
            raise invalid(f"messages.{at}.role", "Field required")


def _check_version(own: Json, version: str | None) -> None:
    version = version or OLDER
    if version not in (OLDER, NEWER):
        raise BadRequest(
            f"anthropic-version: {version[:40]!r} is not known; {one_of((OLDER, NEWER))} is.", param="anthropic-version"
        )
    for name in options.SAMPLING:
        if version == NEWER and own.get(name) is not None:
            raise invalid(name, "Extra inputs are not permitted")
