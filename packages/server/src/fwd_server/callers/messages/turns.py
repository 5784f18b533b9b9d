"""The conversation of a Messages call in the chat shape, for one target.

Anthropic puts the results of tools into the user's turn, and lets several turns of one role follow each other. In the
chat shape every result is a message of its own, directly after the calls, before all else of that turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fwd_server.callers.messages.content import PartReader, is_media, is_of_server_tool
from fwd_server.callers.messages.fields import invalid, one_of, optional_list, read_blocks, read_text
from fwd_server.callers.messages.names import ToolNames
from fwd_server.values.chat import Json
from fwd_server.values.foreign import TargetTraits
from fwd_server.wire import jsontext
from fwd_server.wire.capsule import unseal

# Claude Code begins its system prompt with one; it differs with every version, and would spoil every prompt cache.
BILLING: Final = "x-anthropic-billing-header:"
_ROLES: Final = ("user", "assistant", "system")
_THINKING: Final = ("thinking", "redacted_thinking")
_TOOL_CHANGES: Final = ("tool_addition", "tool_removal")
_NAMED: Final = {"image_url": "image", "file": "document"}


class TurnWriter:
    """Writes the messages of one call. ``dropped`` gathers what was left out, ``names`` are those of the tools."""

    def __init__(self, target: TargetTraits, names: ToolNames, dropped: set[str]) -> None:
        self.messages: list[Json] = []
        self._target = target
        self._names = names
        self._parts = PartReader(target, dropped)
        self._open: list[str] = []  # ids of the calls that wait for their results
        self._called_at = 0

    def write_turns(self, call: Json) -> list[Json]:
        """The system prompt and all messages. Raises BadRequest."""
        self._write_system(call.get("system"))
        turns = optional_list(call, "messages")
        run: list[tuple[str, Json]] = []  # what stands between two turns of the model
        for at, turn in enumerate(turns):
            where = f"messages.{at}"
            role = turn.get("role") if isinstance(turn, dict) else None
            if role not in _ROLES:
                raise invalid(f"{where}.role", f"Input should be {one_of(_ROLES)}")
            if role != "assistant":
                run.append((where, turn))
                continue
            self._write_run(run)
            run = []
            self._write_answer(turn, where)
            self._called_at = at
        self._write_run(run)
        return self.messages

    # -- system

    def _write_system(self, system: object) -> None:
        blocks = list(read_blocks(system, "system")) if system else []
        parts = [
            part
            for path, block in blocks
            for part in self._parts.read_part(block, path)
            if not part.get("text", "").startswith(BILLING)
        ]
        self._add_system(parts, "\n\n")

    def _add_system(self, parts: list[Json], between: str) -> None:
        texts = [part for part in parts if part["type"] == "text"]
        if not texts:
            return
        # A mark belongs to one part, so marked parts stay apart; without marks one text is what every provider takes.
        marked = any("cache_control" in part for part in texts)
        content: Any = texts if marked else between.join(part["text"] for part in texts)
        self.messages.append({"role": "system", "content": content})

    # -- the user's side

    def _write_run(self, run: list[tuple[str, Json]]) -> None:
        """The turns between two of the model's: results first, then the rest in its order."""
        results: list[Json] = []
        rest: list[Json] = []
        for place, (where, turn) in enumerate(run):
            if turn["role"] == "system":
                # Such a note holds for one turn of the user only.
                later = any(other["role"] == "user" for _, other in run[place + 1 :])
                if turn.get("clear_at") == "next_user_message" and later:
                    continue
                rest += self._system_message(turn, where)
            else:
                rest += self._user_message(turn, where, results)
        if self._open:
            raise invalid(
                f"messages.{self._called_at}",
                "`tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(self._open)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message.",
            )
        self.messages += [*results, *rest]

    def _system_message(self, turn: Json, where: str) -> list[Json]:
        kept = [
            (path, block)
            for path, block in read_blocks(turn.get("content"), f"{where}.content")
            if block["type"] not in _TOOL_CHANGES
        ]
        parts = [part for path, block in kept for part in self._parts.read_part(block, path)]
        return [{"role": "system", "content": _content(parts)}] if parts else []

    def _user_message(self, turn: Json, where: str, results: list[Json]) -> list[Json]:
        """The message without its results, which join ``results``; their pictures may have to come before it."""
        beside: list[Json] = []
        parts: list[Json] = []
        for path, block in read_blocks(turn.get("content"), f"{where}.content"):
            if block["type"] == "tool_result":
                results.append(self._result(block, path, beside))
            elif not is_of_server_tool(block) and block["type"] not in _TOOL_CHANGES:
                parts += self._parts.read_part(block, path)
        parts = [*beside, *parts]
        return [{"role": "user", "content": _content(parts)}] if parts else []

    def _result(self, block: Json, where: str, beside: list[Json]) -> Json:
        call_id = read_text(block, "tool_use_id", where)
        if call_id not in self._open:
            raise invalid(
                where,
                f"unexpected `tool_use_id` found in `tool_result` blocks: {call_id[:64]}. Each `tool_result` block "
                "must have a corresponding `tool_use` block in the previous message.",
            )
        # Removed at once, so that a second result for the same call is refused, too.
        self._open.remove(call_id)
        parts = [part for path, one in _result_blocks(block, where) for part in self._result_parts(one, path)]
        if not self._target.tool_media:
            parts = _move_media(parts, beside)
        # The chat shape has no field for a failed tool; the model reads it in the text.
        failed = "[error] " if block.get("is_error") is True else ""
        if any(map(is_media, parts)):
            content: Any = [{"type": "text", "text": failed.rstrip()}, *parts] if failed else parts
        else:
            content = failed + "\n".join(part["text"] for part in parts)
        return {"role": "tool", "tool_call_id": call_id, "content": content}

    def _result_parts(self, block: Json, where: str) -> list[Json]:
        kind = block["type"]
        if kind == "tool_reference":
            return [{"type": "text", "text": f"[tool_reference {read_text(block, 'tool_name', where)}]"}]
        if kind in ("text", "image", "document", "search_result"):
            return [
                {k: v for k, v in part.items() if k != "cache_control"} for part in self._parts.read_part(block, where)
            ]
        return [{"type": "text", "text": f"[{kind[:64]}]"}]

    # -- the model's side

    def _write_answer(self, turn: Json, where: str) -> None:
        texts: list[Json] = []
        calls: list[Json] = []
        details: list[Json] = []
        signatures: dict[str, str] = {}
        for path, block in read_blocks(turn.get("content"), f"{where}.content"):
            kind = block["type"]
            if kind == "tool_use":
                calls.append(self._call(block, path))
            elif kind in _THINKING:
                self._unpack(block, details, signatures)
            elif not is_of_server_tool(block):
                texts += self._parts.read_part(block, path)
        for call in calls:
            signature = signatures.get(call["id"])
            if signature is not None:
                call["extra_content"] = {"google": {"thought_signature": signature}}
        self._open = [call["id"] for call in calls]
        message: Json = {"role": "assistant", "content": _content(texts) if texts else None}
        if calls:
            message["tool_calls"] = calls
        if details:
            message["reasoning_details"] = details
        # Thinking alone is no message in the chat shape, where it must have a content or calls.
        if texts or calls:
            self.messages.append(message)

    def _call(self, block: Json, where: str) -> Json:
        given = block.get("input")
        if not isinstance(given, dict):
            raise invalid(f"{where}.input", "Input should be a valid dictionary")
        name = self._names.there(read_text(block, "name", where))
        function = {"name": name, "arguments": jsontext.dumps(given).decode()}
        return {"id": read_text(block, "id", where), "type": "function", "function": function}

    def _unpack(self, block: Json, details: list[Json], signatures: dict[str, str]) -> None:
        """Reasoning goes back to the model that it is from; of any other it is left out, which loses nothing."""
        held = unseal(block.get("signature" if block["type"] == "thinking" else "data"))
        if held is not None and held.is_for(self._target.provider, self._target.model):
            details += held.details
            signatures.update(held.signatures)


def each_result_block(call: Json, see: Callable[[Json], None]) -> None:
    """Show ``see`` every block of the conversation, and those in results, in their order; nothing is refused."""
    turns = call.get("messages")
    for turn in turns if isinstance(turns, list) else ():
        content = turn.get("content") if isinstance(turn, dict) else None
        for block in content if isinstance(content, list) else ():
            if not isinstance(block, dict):
                continue
            see(block)
            inner = block.get("content")
            for one in inner if isinstance(inner, list) else [inner]:
                if isinstance(one, dict):
                    see(one)


def _result_blocks(block: Json, where: str) -> list[tuple[str, Json]]:
    content = block.get("content")
    return [] if content is None else list(read_blocks(content, f"{where}.content"))


def _move_media(parts: list[Json], beside: list[Json]) -> list[Json]:
    """Pictures and files stand in the message after the results, and a mark in their place says which is which."""
    left = []
    for part in parts:
        if is_media(part):
            number = 1 + sum(1 for moved in beside if is_media(moved))
            mark = {"type": "text", "text": f"[{_NAMED[part['type']]} {number}]"}
            left.append(mark)
            beside += [mark, part]
        else:
            left.append(part)
    return left


def _content(parts: list[Json]) -> Any:
    """One text is a plain string: the same bytes, whichever way the caller wrote it."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts
