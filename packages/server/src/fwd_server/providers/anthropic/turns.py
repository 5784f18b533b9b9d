"""The caller's messages as Claude takes them: a system prompt, and turns made of typed blocks.

All results of a turn's tool calls stand first in the very next turn, and thinking comes before everything else of its
turn, unmodified. https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Final

from attrs import define, field

from fwd_server.providers import lenient, media, request_fields
from fwd_server.providers.anthropic import parts
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused

FORMAT: Final = "anthropic-claude-v1"  # of reasoning that only Claude can read back
_SYSTEM: Final = frozenset({"system", "developer"})


class Renaming:
    """Names and ids in the characters the API takes, unique, and back again."""

    def __init__(self, longest: int = 128) -> None:
        self._longest = longest
        self._there: dict[str, str] = {}
        self._back: dict[str, str] = {}
        self._numbers: dict[str, int] = {}  # the last one given to a name, so that the next is found at once

    def there(self, name: str) -> str:
        """What to send for ``name``: the same every time."""
        if name not in self._there:
            self._there[name] = self.fresh(name)
        return self._there[name]

    def fresh(self, name: str) -> str:
        """What to send for one more thing called ``name``: different from all before."""
        base = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[: self._longest] or "_"
        sent, number = base, self._numbers.get(base, 1)
        while sent in self._back:
            number += 1
            sent = f"{base[: self._longest - 8]}_{number}"
        self._numbers[base] = number
        self._back[sent] = name
        return sent

    def back(self, sent: str) -> str:
        """The caller's own name."""
        return self._back.get(sent, sent)


def build(messages: list[Json], names: Renaming, *, mid_system: bool) -> tuple[list[Json], list[Json]]:
    """The blocks of the system prompt, and the turns.

    ``mid_system`` says that the model takes system messages in the middle; otherwise they go into the next turn of
    the user. Never into the system prompt: that would change the prefix the provider has cached. System messages
    alone become one turn of the user. Raises Refused when there is nothing to send.
    """
    lead = next((i for i, message in enumerate(messages) if message["role"] not in _SYSTEM), len(messages))
    system = [block for i, message in enumerate(messages[:lead]) for block in _system_blocks(message, i)]
    turns = _Turns(names, mid_system)
    turns.take(messages, lead)
    if turns.done:
        return system, turns.done
    if not system:
        raise Refused("'messages' has no text, image, file or tool call in it.", code=None, param="messages")
    return [], [{"role": "user", "content": parts.plain(system)}]


@define
class _Turns:
    """Turns as they grow. ``open`` says that what the user says next joins the last one."""

    names: Renaming
    mid_system: bool
    done: list[Json] = field(factory=list)
    open: bool = False
    ids: Renaming = field(factory=Renaming)
    calls: list[tuple[str, str]] = field(factory=list)  # of the last turn that has some: the caller's id, and ours

    def take(self, messages: list[Json], start: int) -> None:
        """Every message from ``start`` on; those that answer one turn's calls are taken together."""
        places = enumerate(messages[start:], start)
        runs = [(role, list(run)) for role, run in groupby(places, key=lambda place: _kind(place[1]))]
        for at, (role, run) in enumerate(runs):
            following = runs[at + 1][0] if at + 1 < len(runs) else ""
            self._run(role, run, before_user=following == "user")
        self._trim()

    def _run(self, role: str, run: list[tuple[int, Json]], *, before_user: bool) -> None:
        if role == "tool":
            self._results(run)
            return
        for index, message in run:
            if role == "system":
                self._system(_system_blocks(message, index), before_user=before_user)
            elif role == "user":
                self._user(_said(message, index, parts.USER))
            else:
                self._assistant(message, index)

    def _user(self, content: parts.Content) -> None:
        if content and self.open:
            self.done[-1]["content"] += parts.blocks(content)
            self.open = False
        elif content:
            self.done.append({"role": "user", "content": content})

    def _system(self, blocks: list[Json], *, before_user: bool) -> None:
        if blocks and self.mid_system:
            self.done.append({"role": "system", "content": parts.plain(blocks)})
            self.open = False
        elif blocks:
            text = "\n".join(block["text"] for block in blocks)
            self._join({**blocks[-1], "text": f"<system>{text}</system>"}, before_user=before_user)

    def _join(self, block: Json, *, before_user: bool) -> None:
        """A system text into the user's turn that follows, else into the one before it, else one of its own."""
        last = self.done[-1] if self.done else None
        if not self.open and not before_user and last and last["role"] == "user":
            if isinstance(last["content"], str):
                last["content"] = parts.blocks(last["content"])
            self.open = True
        self._user([block])
        self.open = before_user

    def _assistant(self, message: Json, index: int) -> None:
        where = f"messages[{index}]"
        if message.get("audio"):
            raise media.part_refused("audio", parts.PROVIDER, f"{where}.audio")
        calls = list(request_fields.calls_of(message, parts.PROVIDER, where))
        self.calls = [(call["id"], self.ids.fresh(call["id"])) for call, _ in calls]
        uses = [self._use(call, at, sent) for (call, at), (_, sent) in zip(calls, self.calls, strict=True)]
        said = _spoken(message, index)
        if said or uses:
            thoughts = list(_thoughts(message))
            content = [*thoughts, *parts.blocks(said), *uses] if thoughts or uses else said
            self.done.append({"role": "assistant", "content": parts.mark_last(content, message)})
            self.open = False

    def _use(self, call: Json, where: str, sent: str) -> Json:
        name = self.names.there(call["function"]["name"])
        return {"type": "tool_use", "id": sent, "name": name, "input": request_fields.arguments(call, where)}

    def _results(self, run: list[tuple[int, Json]]) -> None:
        """One turn with a result for every call, in the order of the calls, whatever order they came in."""
        answers: dict[str, list[Json]] = defaultdict(list)
        for index, message in run:
            content = parts.content(message, f"messages[{index}]", parts.USER)
            answers[message["tool_call_id"]].append(parts.marked({"content": content or ""}, message))
        blocks = [{"type": "tool_result", "tool_use_id": sent, **answers[given].pop(0)} for given, sent in self.calls]
        self.done.append({"role": "user", "content": blocks})
        self.open = True

    def _trim(self) -> None:
        """A last turn of the assistant is a beginning to go on from: white space at its end is an error there."""
        if not self.done or self.done[-1]["role"] != "assistant":
            return
        content = self.done[-1]["content"]
        if isinstance(content, str):
            self.done[-1]["content"] = content.rstrip()
        else:  # calls would have been answered, so what comes last is text
            content[-1] = {**content[-1], "text": content[-1]["text"].rstrip()}


def _kind(message: Json) -> str:
    role: str = message["role"]
    return "system" if role in _SYSTEM else role


def _said(message: Json, index: int, readers: Mapping[str, parts.Reader]) -> parts.Content:
    return parts.mark_last(parts.content(message, f"messages[{index}]", readers), message)


def _system_blocks(message: Json, index: int) -> list[Json]:
    return parts.blocks(_said(message, index, parts.SYSTEM))


def _spoken(message: Json, index: int) -> parts.Content:
    """What the assistant said: its text, and a refusal as text too."""
    content = parts.content(message, f"messages[{index}]", parts.ASSISTANT)
    refusal = message.get("refusal")
    return [*parts.blocks(content), *parts.blocks(refusal)] if refusal else content


def _thoughts(message: Json) -> Iterator[Json]:
    """Earlier thinking, as it came and in its order: only what Claude has signed can be read back."""
    for entry in lenient.objects(message.get("reasoning_details")):
        if entry.get("format") != FORMAT:
            continue
        if entry.get("type") == "reasoning.text" and entry.get("signature"):
            text = lenient.text(entry.get("text"))
            yield {"type": "thinking", "thinking": text, "signature": entry["signature"]}
        elif entry.get("type") == "reasoning.encrypted" and entry.get("data"):
            yield {"type": "redacted_thinking", "data": entry["data"]}
