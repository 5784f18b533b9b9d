"""OpenAI's messages as Gemini's turns: neighbours of one role are one turn, and the first is the user's.

https://ai.google.dev/api/caching#Content
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, takewhile
from typing import Any, Final

import orjson
from attrs import define, field

from fwd_server.providers import lenient, request_fields, tool_names
from fwd_server.providers.google import parts
from fwd_server.providers.google.traits import PROVIDER, Traits
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused
from fwd_server.wire import jsontext

# Gemini 3 refuses a turn whose first call has no signature. This one, documented for calls that another model
# made, passes. https://ai.google.dev/gemini-api/docs/thought-signatures#faqs
PLACEHOLDER: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="  # base64 of skip_thought_signature_validator

_SYSTEM: Final = ("system", "developer")


@define
class Conversation:
    """Reads the messages of one call; without ``signatures`` the caller's are left out."""

    traits: Traits
    names: tool_names.Names
    signatures: bool
    turns: list[Json] = field(factory=list, init=False)
    calls: list[Json] = field(factory=list, init=False)  # those of the last assistant message

    def read(self, messages: list[Json]) -> Json:
        """``systemInstruction``, if there is one, and ``contents``."""
        leading = list(takewhile(lambda message: message["role"] in _SYSTEM, messages))
        instructions = [part for message in enumerate(leading) for part in self._texts(*message)]
        if len(leading) == len(messages):
            self._add("user", instructions)
            return {"contents": self._finished()}
        rest = list(enumerate(messages))[len(leading) :]
        for answers, run in groupby(rest, lambda item: item[1]["role"] == "tool"):
            if answers:
                self._answers(list(run))
            else:
                self._say(run)
        contents = {"contents": self._finished()}
        return {"systemInstruction": {"parts": instructions}, **contents} if instructions else contents

    def _finished(self) -> list[Json]:
        if not self.turns:
            raise Refused(f"'messages' say nothing that {PROVIDER} could be sent.", code=None, param="messages")
        if self.turns[0]["role"] != "user":
            self.turns.insert(0, {"role": "user", "parts": [{"text": " "}]})
        for turn in self.turns:
            _complete(turn, self.traits.newer)
        return self.turns

    def _add(self, role: str, said: list[Json]) -> None:
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["parts"] += said
        elif said:
            self.turns.append({"role": role, "parts": [*said]})

    def _say(self, run: Iterable[tuple[int, Json]]) -> None:
        for index, message in run:
            if message["role"] == "assistant":
                self._add("model", self._assistant(index, message))
            elif message["role"] in _SYSTEM:
                said = [{"text": f"<system>{part['text']}</system>"} for part in self._texts(index, message)]
                self._add("user", said)
            else:
                self._add("user", self._parts(index, message))

    def _texts(self, index: int, message: Json) -> list[Json]:
        return [part for part in self._parts(index, message) if "text" in part]

    def _parts(self, index: int, message: Json) -> list[Json]:
        where = f"messages[{index}].content"
        written = enumerate(request_fields.parts_of(message.get("content")))
        read = [parts.read(part, f"{where}[{number}]", self.traits) for number, part in written]
        return [part for part in read if part.get("text") != ""]

    def _assistant(self, index: int, message: Json) -> list[Json]:
        said = self._parts(index, message)
        if not said and message.get("refusal"):
            said = [{"text": message["refusal"]}]
        signature = self._signature(message)
        if signature:  # at the end of the text, where the stream had it
            said = said or [{"text": ""}]
            said[-1] = {**said[-1], "thoughtSignature": signature}
        calls = list(request_fields.calls_of(message, PROVIDER, f"messages[{index}]"))
        self.calls = [call for call, _ in calls]
        return [*said, *(self._call(call, where) for call, where in calls)]

    def _call(self, call: Json, where: str) -> Json:
        name = self.names.there(call["function"]["name"])
        part: Json = {"functionCall": {**self._id(call), "name": name, "args": request_fields.arguments(call, where)}}
        signature = self._signature(call)
        return {**part, "thoughtSignature": signature} if signature else part

    def _id(self, call: Json) -> Json:
        return {"id": call["id"]} if self.traits.newer else {}  # 2.5 refuses ids

    def _signature(self, said: Json) -> str:
        google = lenient.obj(lenient.obj(said.get("extra_content")).get("google"))
        return lenient.text(google.get("thought_signature")) if self.signatures else ""

    def _answers(self, run: list[tuple[int, Json]]) -> None:
        """As many responses as there are calls, in the order of the calls, in one turn."""
        order = {call["id"]: number for number, call in reversed(list(enumerate(self.calls)))}
        run.sort(key=lambda item: order[item[1]["tool_call_id"]])
        responses, media = [], []
        for call, (index, message) in zip(self.calls, run, strict=True):
            response, beside = self._answer(call, index, message)
            responses.append({"functionResponse": response})
            media += beside
        self._add("user", [*responses, *media])

    def _answer(self, call: Json, index: int, message: Json) -> tuple[Json, list[Json]]:
        read = self._parts(index, message)
        said = "\n".join(part["text"] for part in read if "text" in part)
        media = [part for part in read if "text" not in part]
        response = {**self._id(call), "name": self.names.there(call["function"]["name"]), "response": _result(said)}
        if media and self.traits.newer:
            return {**response, "parts": media}, []
        return response, media


def _complete(turn: Json, newer: bool) -> None:
    """What a turn must not lack: a user's media some text, a newer model's first call a signature."""
    said: list[Json] = turn["parts"]
    if turn["role"] == "user":
        if not any("text" in part or "functionResponse" in part for part in said):
            said.append({"text": " "})
        return
    first = next((part for part in said if "functionCall" in part), None)
    if newer and first is not None:
        first.setdefault("thoughtSignature", PLACEHOLDER)


_ERROR: Final = "[error] "  # how callers of other languages say that a tool failed


def _result(said: str) -> Json:
    """A tool's answer: an object as it is, anything else as ``output``; Gemini reads ``$ref`` as a pointer."""
    if said.startswith(_ERROR):
        return {"error": said[len(_ERROR) :]}
    if said.lstrip()[:1] == "{":
        try:
            value: Json = jsontext.loads(said)
        except orjson.JSONDecodeError:
            return {"output": said}
        return {"output": said} if _points(value) else value
    return {"output": said}


def _points(value: Json) -> bool:
    nodes: list[Any] = [value]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                return True
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
    return False
