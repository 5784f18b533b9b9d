"""From OpenAI's call to Gemini's: turns, parts, tools and settings.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby, takewhile
from typing import Any, Final

import orjson
from attrs import define, field, frozen

from fwd_server import models
from fwd_server.chat import Json
from fwd_server.errors import Refused
from fwd_server.providers import native
from fwd_server.providers.base import merge
from fwd_server.providers.google import schema

PROVIDER: Final = "google"

# Gemini 3 refuses a turn whose first call has no signature. This one, documented for calls that another model
# made, passes. https://ai.google.dev/gemini-api/docs/thought-signatures#faqs
PLACEHOLDER: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="  # base64 of skip_thought_signature_validator

_TAKEN: Final = (
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "logprobs",
    "top_logprobs",
    "tools",
    "tool_choice",
    "response_format",
    "reasoning_effort",
    "service_tier",
    "google",
)


@frozen
class Traits:
    """What the translation asks about a model. ``newer`` is Gemini 3 and every later generation."""

    newer: bool = True
    thinking: str | None = "level"
    minimal_level: bool = False
    sampling: bool = True
    pro: bool = False
    images: bool = False


def traits_of(model: str) -> Traits:
    """What is known of a model; one that is not in the table is judged by the generation in its name."""
    version = re.match(r"gemini-(\d{1,4})(?:\.(\d{1,4}))?", model)
    generation = (int(version[1]), int(version[2] or 0)) if version else (3, 0)
    newer = generation >= (3, 0) and model.startswith("gemini-")
    budget = not newer and version is not None and generation >= (2, 5)
    row = models.load().find(PROVIDER, model)
    known: Mapping[str, Any] = row.traits if row else {}
    return Traits(
        newer=known["generation"] == "3+" if "generation" in known else newer,
        thinking=known.get("thinking", "level" if newer else "budget" if budget else None),
        minimal_level=known.get("minimal_level", False),
        sampling=known.get("sampling_params", True),
        pro="-pro" in model,
        images="-image" in model,
    )


@frozen
class Built:
    """A call in Gemini's words, with what was lost on the way and the function names that had to change."""

    body: Json
    lost: tuple[str, ...]
    names: native.Names


def build(body: Json, model: str, *, signatures: bool = True) -> Built:
    """Translate a call. Without ``signatures`` the caller's are replaced by the placeholder."""
    traits = traits_of(model)
    _refuse(body, traits)
    names = native.Names(re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}"), 128)
    config, lost = _config(body, traits)
    built: Json = {
        **_Conversation(traits, names, signatures).read(body["messages"]),
        "tools": _tools(body, names),
        "toolConfig": _tool_config(body, names),
        "generationConfig": config,
        "serviceTier": _TIERS.get(body.get("service_tier") or ""),
    }
    given = {name: value for name, value in built.items() if value}
    return Built(_with_extras(given, body.get("google")), _lost(body, lost, given), names)


def _lost(body: Json, lost: Iterable[str], built: Json) -> tuple[str, ...]:
    gone = list(lost)
    if body.get("service_tier") not in (None, "auto", *_TIERS):
        gone.append("service_tier")
    if "toolConfig" not in built and body.get("tool_choice") not in (None, "auto", "none"):
        gone.append("tool_choice")
    return native.left_out(body, (*native.taken_always(body), *_TAKEN), gone)


def _refuse(body: Json, traits: Traits) -> None:
    if (body.get("n") or 1) > 8:
        raise Refused("'n' must be at most 8 for this model.", param="n")
    native.refuse_output(body, PROVIDER, *(("image",) if traits.images else ()))
    hint = ' Send {"google": {"tools": [{"googleSearch": {}}]}} instead.'
    native.refuse_hosted_search(body, PROVIDER, hint)
    if not traits.newer and body.get("tools") and _wants_json(body):
        raise Refused(
            "'response_format' and 'tools' cannot be used together with this model; Gemini 3 and later take both.",
            param="response_format",
        )


def _wants_json(body: Json) -> bool:
    return native.obj(body.get("response_format")).get("type") in ("json_object", "json_schema")


# -- settings

_TIERS: Final = {
    "default": "standard",
    "standard": "standard",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}
_SAMPLING: Final = {"temperature": "temperature", "top_p": "topP", "top_k": "topK"}
_PENALTIES: Final = {"presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}


def _config(body: Json, traits: Traits) -> tuple[Json, list[str]]:
    """``generationConfig``, and the names of what this model does not take."""
    lost: list[str] = []
    config: Json = {"maxOutputTokens": native.most_tokens(body), "stopSequences": native.stops(body) or None}
    for names, taken in ((_SAMPLING, traits.sampling), (_PENALTIES, not traits.newer)):
        if taken:
            config |= {there: body.get(here) for here, there in names.items()}
        else:
            lost += names
    config |= {"seed": _seed(body.get("seed")), "candidateCount": body.get("n") if body.get("n") != 1 else None}
    config |= {"responseLogprobs": body.get("logprobs") or None, "logprobs": body.get("top_logprobs")}
    config |= _form(body)
    config["thinkingConfig"] = _thinking(native.effort_of(body), traits)
    if config["thinkingConfig"] is None:
        lost.append("reasoning_effort")
    return {name: value for name, value in config.items() if value is not None}, lost


def _seed(seed: int | None) -> int | None:
    """Gemini's seed has 32 bits; a longer one is folded, the same way every time."""
    return seed if seed is None or -(2**31) <= seed < 2**31 else seed & 0x7FFFFFFF


def _form(body: Json) -> Json:
    """The form of the answer."""
    form: Json = {}
    if "image" in (body.get("modalities") or ()):
        form["responseModalities"] = [kind.upper() for kind in body["modalities"]]
    if _wants_json(body):
        form["responseMimeType"] = "application/json"
        wanted = native.obj(body["response_format"].get("json_schema")).get("schema")
        form |= {} if wanted is None else {"responseJsonSchema": schema.rewrite(wanted)}
    return form


_LEVELS: Final = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM"}
_BUDGETS: Final = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192}
_MOST_BUDGET: Final = 24576
_LEAST_PRO_BUDGET: Final = 128  # a Pro model cannot stop thinking


def _thinking(effort: str | None, traits: Traits) -> Json | None:
    """``thinkingConfig``: a level or a budget, never both. https://ai.google.dev/gemini-api/docs/thinking"""
    if effort is None or traits.thinking is None:
        return None
    shown = {"includeThoughts": effort != "none"}
    if traits.thinking == "budget":
        least = _LEAST_PRO_BUDGET if traits.pro else 0
        return {"thinkingBudget": max(_BUDGETS.get(effort, _MOST_BUDGET), least), **shown}
    level = _LEVELS.get(effort, "HIGH")
    return {"thinkingLevel": "LOW" if level == "MINIMAL" and not traits.minimal_level else level, **shown}


# -- tools


def _tools(body: Json, names: native.Names) -> list[Json]:
    functions = [_declaration(function, names) for function in native.functions(body, PROVIDER)]
    return [{"functionDeclarations": functions}] if functions else []


def _declaration(function: Json, names: native.Names) -> Json:
    declared: Json = {
        "name": names.there(function["name"]),
        "description": function.get("description"),
        "parametersJsonSchema": schema.parameters(function.get("parameters")),
    }
    return {name: value for name, value in declared.items() if value}


_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def _tool_config(body: Json, names: native.Names) -> Json | None:
    choice = body.get("tool_choice")
    if choice is None or not body.get("tools"):
        return None
    if isinstance(choice, str):
        if choice not in _MODES:
            raise _bad_choice(f"{choice!r}")
        return {"functionCallingConfig": {"mode": _MODES[choice]}}
    mode, functions = _chosen(choice)
    allowed = [names.there(native.text(function.get("name"))) for function in functions]
    return {"functionCallingConfig": {"mode": mode, "allowedFunctionNames": allowed}}


def _chosen(choice: Json) -> tuple[str, list[Json]]:
    """The mode, and the functions that may be called."""
    if choice.get("type") == "function":
        return "ANY", [native.obj(choice.get("function"))]
    if choice.get("type") == "allowed_tools":
        allowed = native.obj(choice.get("allowed_tools"))
        mode = "ANY" if allowed.get("mode") == "required" else "VALIDATED"
        return mode, native.functions(allowed, PROVIDER)
    raise _bad_choice(f"type {choice.get('type')!r}")


def _bad_choice(found: str) -> Refused:
    return Refused(
        f"{PROVIDER} does not take 'tool_choice' {found}; it takes 'auto', 'none', 'required', a function, or "
        "'allowed_tools' of functions.",
        param="tool_choice",
    )


# -- what the caller says in Gemini's own words


def _with_extras(built: Json, extras: Any) -> Json:
    """The caller's ``google`` object merged in, last: thinking into the settings, tools after the others."""
    if extras is None:
        return built
    if not isinstance(extras, dict) or not isinstance(extras.get("tools", []), list):
        raise Refused("Invalid type for 'google': expected an object, its 'tools' an array.", code=None, param="google")
    more = dict(extras)
    tools, thinking = more.pop("tools", []), more.pop("thinkingConfig", None)
    merged = merge(built, more)
    if thinking is not None:
        merged = merge(merged, {"generationConfig": {"thinkingConfig": thinking}})
    if tools:
        merged = {**merged, "tools": [*merged.get("tools", ()), *tools]}
    return _one_thinking(merged, built)


def _one_thinking(merged: Json, built: Json) -> Json:
    """Level or budget, never both (400): the one that came of ``reasoning_effort`` gives way."""
    thinking = native.obj(native.obj(merged.get("generationConfig")).get("thinkingConfig"))
    if not {"thinkingLevel", "thinkingBudget"} <= thinking.keys():
        return merged
    ours = native.obj(native.obj(built.get("generationConfig")).get("thinkingConfig"))
    kept = {name: value for name, value in thinking.items() if name == "includeThoughts" or name not in ours}
    return {**merged, "generationConfig": {**merged["generationConfig"], "thinkingConfig": kept}}


# -- the conversation

_SYSTEM: Final = ("system", "developer")


@define
class _Conversation:
    """Reads the messages into turns: neighbours of one role are one turn, and the first is the user's."""

    traits: Traits
    names: native.Names
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

    def _add(self, role: str, parts: list[Json]) -> None:
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["parts"] += parts
        elif parts:
            self.turns.append({"role": role, "parts": [*parts]})

    def _say(self, run: Iterable[tuple[int, Json]]) -> None:
        for index, message in run:
            if message["role"] == "assistant":
                self._add("model", self._assistant(index, message))
            elif message["role"] in _SYSTEM:
                parts = [{"text": f"<system>{part['text']}</system>"} for part in self._texts(index, message)]
                self._add("user", parts)
            else:
                self._add("user", self._parts(index, message))

    def _texts(self, index: int, message: Json) -> list[Json]:
        return [part for part in self._parts(index, message) if "text" in part]

    def _parts(self, index: int, message: Json) -> list[Json]:
        parts = []
        for number, part in enumerate(native.parts_of(message.get("content"))):
            where = f"messages[{index}].content[{number}]"
            read = _PARTS.get(part["type"])
            if read is None:
                raise native.part_refused(part["type"], PROVIDER, where)
            parts.append(read(part, where, self.traits))
        return [part for part in parts if part.get("text") != ""]

    def _assistant(self, index: int, message: Json) -> list[Json]:
        parts = self._parts(index, message)
        if not parts and message.get("refusal"):
            parts = [{"text": message["refusal"]}]
        signature = self._signature(message)
        if signature:  # at the end of the text, where the stream had it
            parts = parts or [{"text": ""}]
            parts[-1] = {**parts[-1], "thoughtSignature": signature}
        calls = list(native.calls_of(message, PROVIDER, f"messages[{index}]"))
        self.calls = [call for call, _ in calls]
        return [*parts, *(self._call(call, where) for call, where in calls)]

    def _call(self, call: Json, where: str) -> Json:
        name = self.names.there(call["function"]["name"])
        part: Json = {"functionCall": {**self._id(call), "name": name, "args": native.arguments(call, where)}}
        signature = self._signature(call)
        return {**part, "thoughtSignature": signature} if signature else part

    def _id(self, call: Json) -> Json:
        return {"id": call["id"]} if self.traits.newer else {}  # 2.5 refuses ids

    def _signature(self, said: Json) -> str:
        google = native.obj(native.obj(said.get("extra_content")).get("google"))
        return native.text(google.get("thought_signature")) if self.signatures else ""

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
        parts = self._parts(index, message)
        said = "\n".join(part["text"] for part in parts if "text" in part)
        media = [part for part in parts if "text" not in part]
        response = {**self._id(call), "name": self.names.there(call["function"]["name"]), "response": _result(said)}
        if media and self.traits.newer:
            return {**response, "parts": media}, []
        return response, media


def _complete(turn: Json, newer: bool) -> None:
    """What a turn must not lack: a user's media some text, a newer model's first call a signature."""
    parts: list[Json] = turn["parts"]
    if turn["role"] == "user":
        if not any("text" in part or "functionResponse" in part for part in parts):
            parts.append({"text": " "})
        return
    first = next((part for part in parts if "functionCall" in part), None)
    if newer and first is not None:
        first.setdefault("thoughtSignature", PLACEHOLDER)


_ERROR: Final = "[error] "  # how callers of other languages say that a tool failed


def _result(said: str) -> Json:
    """A tool's answer: an object as it is, anything else as ``output``; Gemini reads ``$ref`` as a pointer."""
    if said.startswith(_ERROR):
        return {"error": said[len(_ERROR) :]}
    if said.lstrip()[:1] == "{":
        try:
            value: Json = orjson.loads(said)
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


# -- parts

_FILES: Final = re.compile(r"(?:https://generativelanguage\.googleapis\.com/v1beta/files/|gs://)\S+")
_DETAILS: Final = {"low": "LOW", "medium": "MEDIUM", "high": "HIGH", "original": "HIGH"}
_SOUNDS: Final = {"wav": "audio/wav", "mp3": "audio/mp3"}


def _text(part: Json, where: str, traits: Traits) -> Json:
    return {"text": native.needed(part, part["type"], where)}


def _image(part: Json, where: str, traits: Traits) -> Json:
    image = native.needed(part, "image_url", where)
    read = _bytes(image["url"], f"{where}.image_url.url")
    level = _DETAILS.get(image.get("detail") or "")
    if level and traits.newer:
        return {**read, "mediaResolution": {"level": f"MEDIA_RESOLUTION_{level}"}}
    return read


def _audio(part: Json, where: str, traits: Traits) -> Json:
    sound = native.needed(part, "input_audio", where)
    kind = sound["format"]
    return {"inlineData": {"mimeType": _SOUNDS.get(kind, f"audio/{kind}"), "data": sound["data"]}}


def _file(part: Json, where: str, traits: Traits) -> Json:
    file = native.needed(part, "file", where)
    if file.get("file_data"):
        return _bytes(file["file_data"], f"{where}.file.file_data")
    at = f"{where}.file.file_id"
    uri = file.get("file_id") or ""
    if _FILES.fullmatch(uri):
        return {"fileData": {"fileUri": uri}}
    raise Refused(f"Invalid value for '{at}': {PROVIDER} takes URIs of its own Files API and gs:// only.", param=at)


def _bytes(url: str, where: str) -> Json:
    if _FILES.fullmatch(url):
        return {"fileData": {"fileUri": url}}
    read = native.inline(url, PROVIDER, where)
    return {"inlineData": {"mimeType": read.mime, "data": read.data}}


_PARTS: Final[Mapping[str, Callable[[Json, str, Traits], Json]]] = {
    "text": _text,
    "refusal": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
}
