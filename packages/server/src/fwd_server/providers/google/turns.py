"""OpenAI's messages as Gemini's turns: neighbours of one role are one turn, and the first is the user's.

https://ai.google.dev/api/caching#Content
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, takewhile
from typing import Any, Final

import orjson
from attrs import define, field

from fwd_server.providers import call_ids, lenient, media, request_fields, tool_names
from fwd_server.providers.google import parts, pictures
from fwd_server.providers.google.traits import PROVIDER, Traits
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused
from fwd_server.wire import jsontext

# Gemini 3 refuses a turn whose first call has no signature. This one, documented for calls that another model
# made, passes. https://ai.google.dev/gemini-api/docs/thought-signatures#faqs
PLACEHOLDER: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="  # base64 of skip_thought_signature_validator

# Gemini refuses an empty text and accepts a blank one.
_BLANK: Final = " "
# The user's turn for a model that cannot go on from its own: it asks for what the caller meant by the order of turns.
_GO_ON: Final = "Continue."

_SYSTEM: Final = ("system", "developer")


@define
class Conversation:
    """Reads the messages of one call; without ``signatures`` those of the caller are not sent."""

    traits: Traits
    names: tool_names.NameMap
    signatures: bool
    turns: list[Json] = field(factory=list, init=False)
    calls: list[Json] = field(factory=list, init=False)  # those of the last assistant message

    def read_messages(self, messages: list[Json]) -> Json:
        """``systemInstruction``, if there is one, and ``contents``.

        Raises Refused for what Gemini cannot take, and for messages that say nothing at all.
        """
        leading = list(takewhile(lambda message: message["role"] in _SYSTEM, messages))
        instructions = [part for message in enumerate(leading) for part in self._texts(*message)]
        if len(leading) == len(messages):
            self._add_parts("user", instructions)
            instructions = []
        rest = list(enumerate(messages))[len(leading) :]
        for are_results, run in groupby(rest, lambda item: item[1]["role"] == "tool"):
            if are_results:
                self._add_results(list(run))
            else:
                self._add_messages(run)
        if not instructions and all(part == {"text": _BLANK} for turn in self.turns for part in turn["parts"]):
            raise Refused(f"'messages' contain nothing that can be sent to {PROVIDER}.", code=None, param="messages")
        contents = {"contents": self._finished_turns()}
        return {"systemInstruction": {"parts": instructions}, **contents} if instructions else contents

    def _finished_turns(self) -> list[Json]:
        if not self.turns or self.turns[0]["role"] != "user":
            # Gemini wants the first turn to be the user's.
            self.turns.insert(0, {"role": "user", "parts": [{"text": _BLANK}]})
        if self.turns[-1]["role"] == "model" and not self.traits.continues_own_turn:
            self._add_parts("user", [{"text": _GO_ON}])
        for turn in self.turns:
            _complete_turn(turn, self.traits.newer)
        return self.turns

    def _add_parts(self, role: str, added: list[Json]) -> None:
        """Parts into the last turn, if it is of this role, or into a new one.

        Nothing follows a function response within its turn: newer models refuse that, and older ones read it as the
        tool's words. A new turn of the user begins there.
        """
        last = self.turns[-1] if self.turns else None
        if last is not None and last["role"] == role and "functionResponse" not in last["parts"][-1]:
            last["parts"] += added
        elif added:
            self.turns.append({"role": role, "parts": [*added]})

    def _add_messages(self, run: Iterable[tuple[int, Json]]) -> None:
        for index, message in run:
            if message["role"] == "assistant":
                self._add_parts("model", self._assistant_parts(index, message))
            elif message["role"] in _SYSTEM:
                texts = self._texts(index, message)
                self._add_parts("user", [{"text": f"<system>{part['text']}</system>"} for part in texts])
            else:
                self._add_user(index, message)

    def _add_user(self, index: int, message: Json) -> None:
        """A user's message. An empty one is still the user's turn: without it the model's turn would be the last."""
        added = self._parts(index, message)
        if not added and (not self.turns or self.turns[-1]["role"] != "user"):
            added = [{"text": _BLANK}]
        self._add_parts("user", added)

    def _texts(self, index: int, message: Json) -> list[Json]:
        return [part for part in self._parts(index, message) if "text" in part]

    def _parts(self, index: int, message: Json) -> list[Json]:
        where = f"messages[{index}].content"
        written = enumerate(request_fields.parts_of(message.get("content")))
        read = [parts.read_part(part, f"{where}[{number}]", self.traits) for number, part in written]
        return [part for part in read if part.get("text") != ""]

    def _assistant_parts(self, index: int, message: Json) -> list[Json]:
        where = f"messages[{index}]"
        if message.get("audio"):
            raise media.part_refused("audio", PROVIDER, f"{where}.audio")
        spoken = [
            piece
            for part in self._parts(index, message)
            for piece in (pictures.split_pictures(part["text"]) if "text" in part else [part])
        ]
        refusal = message.get("refusal")
        if refusal and {"text": refusal} not in spoken:  # Gemini has no field for a refusal
            spoken.append({"text": refusal})
        # After a change of the model they are worth nothing, and Gemini refuses the whole call for one of them.
        if self.signatures:
            spoken = pictures.sign_parts(spoken, message)
        calls = list(request_fields.calls_of(message, PROVIDER, where))
        # Gemini 3 matches responses to calls by id, so a message must not have one twice.
        ids = call_ids.number_repeated(call["id"] for call, _ in calls)
        self.calls = [{**call, "sent_id": sent_id} for (call, _), sent_id in zip(calls, ids, strict=True)]
        return [*spoken, *(self._call_part(call, at) for call, (_, at) in zip(self.calls, calls, strict=True))]

    def _call_part(self, call: Json, where: str) -> Json:
        name = self.names.provider_name(call["function"]["name"])
        part: Json = {
            "functionCall": {**self._id(call), "name": name, "args": request_fields.parse_arguments(call, where)}
        }
        google = lenient.obj(lenient.obj(call.get("extra_content")).get("google"))
        signature = lenient.text(google.get("thought_signature")) if self.signatures else ""
        return {**part, "thoughtSignature": signature} if signature else part

    def _id(self, call: Json) -> Json:
        return {"id": call["sent_id"]} if self.traits.newer else {}  # 2.5 refuses ids

    def _add_results(self, run: list[tuple[int, Json]]) -> None:
        """As many responses as there are calls, in the order of the calls, in a turn of their own."""
        order = call_ids.match_results(
            (call["id"] for call in self.calls), (message["tool_call_id"] for _, message in run)
        )
        responses, beside = [], []
        for place, (index, message) in sorted(zip(order, run, strict=True)):
            response, pictures_beside = self._response(self.calls[place], index, message)
            responses.append({"functionResponse": response})
            beside += pictures_beside
        # Always a turn of its own: the number of responses in it must be that of the calls before (pitfall 14).
        self.turns.append({"role": "user", "parts": responses})
        self._add_parts("user", beside)

    def _response(self, call: Json, index: int, message: Json) -> tuple[Json, list[Json]]:
        """A call's response, and the media of the result for which an older model has no place within it.

        https://ai.google.dev/gemini-api/docs/function-calling#multimodal
        """
        read = self._parts(index, message)
        written = "\n".join(part["text"] for part in read if "text" in part)
        attached = [_without_resolution(part) for part in read if "text" not in part]
        name = self.names.provider_name(call["function"]["name"])
        response = {**self._id(call), "name": name, "response": _response_object(written)}
        if attached and self.traits.newer:
            # Beside the response they would be a further part of the turn, which the count of the calls forbids.
            return {**response, "parts": attached}, []
        return response, attached


def _without_resolution(part: Json) -> Json:
    """A part within a response is nothing but its data: https://ai.google.dev/api/caching#FunctionResponsePart"""
    return {name: value for name, value in part.items() if name != "mediaResolution"}


def _complete_turn(turn: Json, newer: bool) -> None:
    """Add what a turn requires: text beside a user's media, and a signature on the first call for newer models."""
    parts_: list[Json] = turn["parts"]
    if turn["role"] == "user":
        if not any("text" in part or "functionResponse" in part for part in parts_):
            parts_.append({"text": _BLANK})
        return
    first = next((part for part in parts_ if "functionCall" in part), None)
    if newer and first is not None:
        first.setdefault("thoughtSignature", PLACEHOLDER)


_ERROR: Final = "[error] "  # how callers of other languages say that a tool failed


def _response_object(written: str) -> Json:
    """A tool's result: an object as it is where Google can hold it exactly, anything else as ``output``."""
    if written.startswith(_ERROR):
        # Gemini knows `error` beside `output` in a function's response:
        # https://ai.google.dev/api/caching#FunctionResponse
        return {"error": written[len(_ERROR) :]}
    if written.lstrip()[:1] == "{":
        try:
            value: Json = jsontext.loads(written)
        except orjson.JSONDecodeError:
            return {"output": written}
        return {"output": written} if any(map(_is_misread, _nodes(value))) else value
    return {"output": written}


_MOST_EXACT: Final = 2**53


def _is_misread(node: Any) -> bool:
    """Whether Google would read something else than stands there.

    An object with a text under ``$ref`` is a pointer to a part of the response; and numbers are doubles, so a whole
    number beyond 2**53 becomes another one (https://protobuf.dev/reference/protobuf/google.protobuf/#value).
    """
    if isinstance(node, dict):
        return isinstance(node.get("$ref"), str)
    if isinstance(node, jsontext.LongInteger):
        return True
    return isinstance(node, (int, float)) and abs(node) > _MOST_EXACT


def _nodes(value: Any) -> Iterable[Any]:
    nodes: list[Any] = [value]
    while nodes:
        node = nodes.pop()
        yield node
        if isinstance(node, dict):
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
