"""A streamed answer added up to a message as OpenAI's SDKs do it, for messages that go back as history.

Texts and lists grow, objects join, entries of lists are found by ``index``; ``index`` and ``type`` are replaced. It is
the rule of ``openai.lib.streaming._deltas.accumulate_delta``, and it raises where that does.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def accumulate_delta(message: Json, delta: Json) -> Json:
    """``message`` with one more delta in it."""
    for key, value in delta.items():
        if key not in message or message[key] is None or key in ("index", "type"):
            message[key] = value
        elif isinstance(message[key], (str, int, float)) and not isinstance(message[key], bool):
            message[key] += value
        elif isinstance(message[key], dict):
            message[key] = accumulate_delta(message[key], value)
        elif isinstance(message[key], list):
            _extend(message[key], value)
    return message


def _extend(entries: list[Any], added: list[Any]) -> None:
    if all(isinstance(entry, (str, int, float)) for entry in entries):
        entries.extend(added)
        return
    for entry in added:
        index = entry["index"]
        if index < len(entries):
            entries[index] = accumulate_delta(entries[index], entry)
        else:
            entries.insert(index, entry)


def accumulated(chunks: list[Any], index: int = 0) -> Json:
    """The message of one choice, from the parsed frames of a stream."""
    message: Json = {}
    for chunk in chunks:
        for choice in chunk["choices"] if isinstance(chunk, dict) else ():
            if choice["index"] == index:
                accumulate_delta(message, choice["delta"])
    return message
