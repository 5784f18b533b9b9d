"""The caller's messages as Claude takes them: a system prompt, and turns made of typed blocks.

All results of a turn's tool calls stand first in the very next turn, and thinking comes before everything else of its
turn, unmodified. https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import groupby
from typing import Final

from attrs import Factory, define, field, frozen

from fwd_server.providers import lenient, media, request_fields
from fwd_server.providers.anthropic import parts, property_names, thoughts
from fwd_server.providers.tool_names import NameTranslator
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused

_SYSTEM: Final = frozenset({"system", "developer"})


@frozen
class CallNames:
    """The names of tools, and of their properties by the tool's name at the provider, as the API takes them."""

    tools: NameTranslator = Factory(NameTranslator)
    properties: dict[str, NameTranslator] = Factory(dict)

    def use_block(self, call: Json, call_id: str, where: str) -> Json:
        """A call of the conversation. Raises Refused for arguments that are not an object."""
        name, value = self.tools.provider_name(call["function"]["name"]), request_fields.parse_arguments(call, where)
        if name in self.properties:
            value = property_names.rename_keys(value, self.properties[name].known_name)
        return {"type": "tool_use", "id": call_id, "name": name, "input": value}


def build_turns(messages: list[Json], names: CallNames, *, mid_system: bool) -> tuple[list[Json], list[Json]]:
    """The blocks of the system prompt, and the turns.

    Only the system messages at the very beginning become the system prompt: a later one there would change the prefix
    that the provider has cached. System messages alone become one turn of the user. ``mid_system`` says that the model
    takes system messages among the turns. Raises Refused when there is nothing to send, or nothing to answer.
    """
    lead = next((i for i, message in enumerate(messages) if message["role"] not in _SYSTEM), len(messages))
    system = [block for i, message in enumerate(messages[:lead]) for block in _system_blocks(message, i)]
    turns = _Turns(names)
    turns.add_all(messages, lead)
    # System messages are placed first, since their texts may have to join a turn of results.
    placed = _joined_results(_placed_systems(turns.done, mid_system))
    if not placed:
        if not system:
            raise Refused("'messages' contains no text, image, file or tool call.", code=None, param="messages")
        return [], [{"role": "user", "content": parts.as_plain(system)}]
    if placed[-1]["role"] == "assistant":
        _check_last_turn(messages)
        _trim_last_turn(placed[-1])
    return system, placed


@define
class _Turns:
    """Turns as they grow, one for every message that has something in it; a run of results is one."""

    names: CallNames
    done: list[Json] = field(factory=list)
    ids: NameTranslator = field(factory=NameTranslator)
    calls: list[tuple[str, str]] = field(factory=list)  # of the last turn that has some: the caller's id, and ours

    def add_all(self, messages: list[Json], start: int) -> None:
        """Every message from ``start`` on; those that answer one turn's calls are read together."""
        places = enumerate(messages[start:], start)
        for role, run in groupby(places, key=lambda place: _turn_role(place[1])):
            if role == "tool":
                self._add_results(list(run))
                continue
            for index, message in run:
                if role == "assistant":
                    self._add_assistant(message, index)
                else:
                    readers = parts.SYSTEM if role == "system" else parts.USER
                    self._add(role, _read_content(message, index, readers))

    def _add(self, role: str, content: parts.Content) -> None:
        if content:
            self.done.append({"role": role, "content": content})

    def _add_assistant(self, message: Json, index: int) -> None:
        where = f"messages[{index}]"
        if message.get("audio"):
            raise media.part_refused("audio", parts.PROVIDER, f"{where}.audio")
        calls = list(request_fields.calls_of(message, parts.PROVIDER, where))
        # Clients that count calls from 0 in every turn repeat ids, and the API wants each id once in a conversation.
        self.calls = [(call["id"], self.ids.fresh_name(call["id"])) for call, _ in calls]
        uses = [self.names.use_block(call, sent, at) for (call, at), (_, sent) in zip(calls, self.calls, strict=True)]
        spoken = _spoken_content(message, index)
        # Thinking alone is no turn: the API refuses one that ends with it.
        if not spoken and not uses:
            return
        ordered = thoughts.in_order(message.get("reasoning_details"), parts.as_blocks(spoken), uses)
        # A single unmarked text stays a string: the same bytes as before keep the provider's prompt cache valid.
        plain = spoken if len(ordered) == 1 and not uses else ordered
        self._add("assistant", parts.mark_last(plain, message))

    def _add_results(self, run: list[tuple[int, Json]]) -> None:
        """One turn with a result for every call, in the order of the calls, whatever order they came in."""
        # Two calls may have the same id; their results then belong to them in the order they came in.
        answers: dict[str, list[Json]] = defaultdict(list)
        for index, message in run:
            content = parts.read_content(message, f"messages[{index}]", parts.USER)
            answers[message["tool_call_id"]].append(parts.with_mark({"content": content or ""}, message))
        blocks = [{"type": "tool_result", "tool_use_id": sent, **answers[given].pop(0)} for given, sent in self.calls]
        self._add("user", blocks)


def _placed_systems(turns: list[Json], mid_system: bool) -> list[Json]:
    """The turns with every system message where the API takes it.

    As a message of its own one may only follow a turn of the user, and only an assistant's turn or nothing may follow
    it; never two in a row, so neighbours become one. Anywhere else, and for models that take none, it is text in a
    turn of the user: the one that follows, else the one before, else one of its own.
    https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages
    """
    runs = [(role, list(run)) for role, run in groupby(turns, key=lambda turn: turn["role"])]
    placed: list[Json] = []
    texts: list[Json] = []  # of system messages that wait for the turn of the user that follows
    for at, (role, run) in enumerate(runs):
        before = placed[-1]["role"] if placed else ""
        following = runs[at + 1][0] if at + 1 < len(runs) else ""
        if role != "system":
            placed += [_with_first_texts(run[0], texts), *run[1:]]
            texts = []
        elif mid_system and before == "user" and following != "user":
            blocks = [block for turn in run for block in parts.as_blocks(turn["content"])]
            placed.append({"role": "system", "content": parts.as_plain(blocks)})
        elif following == "user":
            # They wait for that turn, because the results it may begin with must come before any text.
            texts = _system_texts(run)
        elif before == "user":
            placed[-1] = {"role": "user", "content": [*parts.as_blocks(placed[-1]["content"]), *_system_texts(run)]}
        else:
            placed.append({"role": "user", "content": _system_texts(run)})
    return placed


def _system_texts(turns: list[Json]) -> list[Json]:
    """System messages as texts, one for each; a cache mark stays on its last block."""
    blocks = [parts.as_blocks(turn["content"]) for turn in turns]
    return [
        {**found[-1], "text": "<system>" + "\n".join(block["text"] for block in found) + "</system>"}
        for found in blocks
    ]


def _with_first_texts(turn: Json, texts: list[Json]) -> Json:
    """A turn with ``texts`` at its beginning, but after the results it may begin with: those must come first."""
    if not texts:
        return turn
    blocks = parts.as_blocks(turn["content"])
    results = [block for block in blocks if block["type"] == "tool_result"]
    return {**turn, "content": [*results, *texts, *blocks[len(results) :]]}


def _joined_results(turns: list[Json]) -> list[Json]:
    """The turns, where what the user says right after results joins their turn: the API wants both in one."""
    joined: list[Json] = []
    for turn in turns:
        last = joined[-1] if joined else None
        if last and turn["role"] == last["role"] == "user" and _is_results(last):
            joined[-1] = {**last, "content": [*last["content"], *parts.as_blocks(turn["content"])]}
        else:
            joined.append(turn)
    return joined


def _is_results(turn: Json) -> bool:
    return all(block["type"] == "tool_result" for block in lenient.objects(turn["content"])) and bool(
        lenient.objects(turn["content"])
    )


def _check_last_turn(messages: list[Json]) -> None:
    """Refuse a last message of the user with nothing in it.

    It is left out as all empty messages are, but then the conversation would end with the assistant's turn, which
    means something else: a beginning to go on from, and newer models refuse it.
    """
    spoken = [i for i, message in enumerate(messages) if message["role"] not in _SYSTEM]
    if messages[spoken[-1]]["role"] == "user":
        where = f"messages[{spoken[-1]}].content"
        raise Refused(
            f"'{where}' contains no text, image or file, and anthropic needs something to respond to.",
            code=None,
            param=where,
        )


def _trim_last_turn(turn: Json) -> None:
    """White space at the end of a beginning to go on from is an error there."""
    content = turn["content"]
    if isinstance(content, str):
        turn["content"] = content.rstrip()
    elif "text" in content[-1]:  # calls would have been answered, so what comes last is text or thinking
        content[-1] = {**content[-1], "text": content[-1]["text"].rstrip()}


def _turn_role(message: Json) -> str:
    role: str = message["role"]
    return "system" if role in _SYSTEM else role


def _read_content(message: Json, index: int, readers: Mapping[str, parts.Reader]) -> parts.Content:
    return parts.mark_last(parts.read_content(message, f"messages[{index}]", readers), message)


def _system_blocks(message: Json, index: int) -> list[Json]:
    return parts.as_blocks(_read_content(message, index, parts.SYSTEM))


def _spoken_content(message: Json, index: int) -> parts.Content:
    """The assistant's text; a refusal is text too, because Claude has no field for it."""
    content = parts.read_content(message, f"messages[{index}]", parts.ASSISTANT)
    refusal = message.get("refusal")
    return [*parts.as_blocks(content), *parts.as_blocks(refusal)] if refusal else content
