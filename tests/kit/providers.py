"""Upstreams that speak each provider's own language: strict about what they are sent, real in what they answer.

``LANGUAGES`` has one for each provider. ``read`` takes a request apart and raises ``Wrong`` for anything that provider
does not take; ``whole`` and ``stream`` are its answers as bytes. ``serve`` puts one on a socket.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from attrs import define, field, frozen

from kit.conversation import TURNS, Asked, Json, Said
from kit.fakeup import STREAM_END, Fakeup, Seen, Step, answer, error_answer, piece

CREATED = 1_795_305_600
SIGNATURE = "c2lnbmF0dXJlLW9mLXRoZS1wcm92aWRlcg=="


class Wrong(Exception):
    """A request that this provider would refuse; says what and where."""


def same(found: object, wanted: object, where: str) -> None:
    """Raise Wrong unless both are equal."""
    if found != wanted:
        raise Wrong(f"{where}: found {found!r}, wanted {wanted!r}")


def only(value: Mapping[str, Any], needed: str, allowed: str = "", where: str = "body") -> None:
    """Raise Wrong unless ``value`` has all fields that are needed, and no other than these and the allowed ones."""
    missing = set(needed.split()) - set(value)
    unknown = set(value) - set(needed.split()) - set(allowed.split())
    same((sorted(missing), sorted(unknown)), ([], []), f"{where}: missing and unknown fields")


def dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def event(data: object, name: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + (data if isinstance(data, bytes) else dumps(data)) + b"\n\n"


def halves(text: str) -> list[str]:
    """A text in two pieces, as a stream brings it."""
    return [half for half in (text[: len(text) // 2], text[len(text) // 2 :]) if half]


class Language(Protocol):
    """One provider's side of the wire."""

    name: str
    model: str
    base: str  # the path of its base URL
    kind: str  # the content type of its streams

    def read(self, seen: Seen, key: str) -> Asked:
        """What is asked. Raises Wrong."""
        ...

    def whole(self, said: Said) -> bytes:
        """An answer in one piece."""
        ...

    def stream(self, said: Said) -> list[bytes]:
        """The same in pieces."""
        ...


# -- OpenAI, and those that speak its language in their own way


@define
class OpenAI:
    """https://platform.openai.com/docs/api-reference/chat"""

    name: str = "openai"
    model: str = "gpt-4.1"
    base: str = "/v1"
    kind: str = "text/event-stream"
    cap: str = "max_completion_tokens"
    asks_usage: bool = True
    takes_back: str = ""  # fields of an assistant message beside OpenAI's own
    has_refusal: bool = True  # in every message, null or not

    def read(self, seen: Seen, key: str) -> Asked:
        same((seen.method, seen.target), ("POST", f"{self.base}/chat/completions"), "request line")
        same(seen.headers.get("authorization"), f"Bearer {key}", "authorization")
        body = seen.json
        only(body, f"model messages tools {self.cap}", "stream stream_options stop response_format")
        same(body["model"], self.model, "model")
        wanted = {"include_usage": True} if body.get("stream") and self.asks_usage else None
        same(body.get("stream_options"), wanted, "stream_options")
        system, *rest = body["messages"]
        same(system["role"], "system", "messages[0].role")
        return Asked(
            system["content"],
            tuple(self._said(rest)),
            tuple(self._tool(tool) for tool in body["tools"]),
            bool(body.get("stream")),
            self._schema(body.get("response_format")),
            body[self.cap],
        )

    def _tool(self, tool: Json) -> tuple[str, Json]:
        only(tool, "type function", where="tool")
        only(tool["function"], "name description parameters", where="function")
        return tool["function"]["name"], tool["function"]["parameters"]

    def _schema(self, wanted: Json | None) -> Json | None:
        if wanted is None:
            return None
        same(wanted["type"], "json_schema", "response_format.type")
        only(wanted["json_schema"], "name schema strict", where="json_schema")
        schema: Json = wanted["json_schema"]["schema"]
        return schema

    def _said(self, messages: list[Json]) -> Iterable[tuple[Any, ...]]:
        names: dict[str, str] = {}
        for message in messages:
            if message["role"] == "user":
                only(message, "role content", where="user message")
                yield from self._parts(message["content"])
            elif message["role"] == "tool":
                only(message, "role content tool_call_id", where="tool message")
                yield ("result", names.pop(message["tool_call_id"]), message["content"])
            else:
                same(message["role"], "assistant", "role")
                only(message, "role", f"content tool_calls refusal {self.takes_back}", "assistant message")
                yield from self._model(message, names)
        same(names, {}, "calls without a result")

    def _parts(self, content: Any) -> Iterable[tuple[Any, ...]]:
        if isinstance(content, str):
            yield ("user", content)
            return
        for part in content:
            if part["type"] == "text":
                yield ("user", part["text"])
            else:
                same(part["type"], "image_url", "type of a part")
                yield ("image", base64.b64decode(part["image_url"]["url"].removeprefix("data:image/png;base64,")))

    def _model(self, message: Json, names: dict[str, str]) -> Iterable[tuple[Any, ...]]:
        if message.get("content"):
            yield ("model", message["content"])
        for call in message.get("tool_calls") or ():
            only(call, "id type function", where="tool call")
            function = call["function"]
            names[call["id"]] = function["name"]
            yield ("call", function["name"], json.loads(function["arguments"]))

    def whole(self, said: Said) -> bytes:
        calls = [self._call(index, call, index=False) for index, call in enumerate(said.calls)]
        message = {"role": "assistant", "content": said.text or None, **self.thinking(said.thought)}
        message |= {"refusal": None} if self.has_refusal else {}
        message |= {"tool_calls": calls} if calls else {}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": said.finish}
        return dumps(self.dress({**self._head("chat.completion"), "choices": [choice], "usage": self.usage(said)}))

    def stream(self, said: Said) -> list[bytes]:
        deltas: list[Json] = [{"role": "assistant", "content": "" if said.text else None}]
        deltas += [self.thinking(half) for half in halves(said.thought) if self.thinking(half)]
        deltas += [{"content": half} for half in halves(said.text)]
        for index, (name, arguments) in enumerate(said.calls):
            deltas.append({"tool_calls": [self._call(index, (name, None))]})
            for half in halves(dumps(arguments).decode()):
                deltas.append({"tool_calls": [{"index": index, "function": {"arguments": half}}]})
        chunks = [*(self._chunk(delta) for delta in deltas), self._chunk({}, said.finish)]
        return [*map(event, [*chunks, self.last(said)]), event(b"[DONE]")]

    def _call(self, number: int, call: tuple[str, Json | None], *, index: bool = True) -> Json:
        name, arguments = call
        function = {"name": name, "arguments": "" if arguments is None else dumps(arguments).decode()}
        return {
            **({"index": number} if index else {}),
            "id": f"call_{number}",
            "type": "function",
            "function": function,
        }

    def _head(self, kind: str) -> Json:
        return {"id": "chatcmpl-7", "object": kind, "created": CREATED, "model": self.model}

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        more = {"usage": None} if self.name == "openai" else {}
        return self.dress({**self._head("chat.completion.chunk"), "choices": [choice], **more})

    def last(self, said: Said) -> Json:
        """The chunk with the usage."""
        return self.dress({**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage(said)})

    def thinking(self, thought: str) -> Json:
        """Reasoning, for those that show it."""
        return {}

    def dress(self, data: Json) -> Json:
        """What this provider says besides."""
        return {**data, "service_tier": "default", "system_fingerprint": "fp_1"}

    def usage(self, said: Said) -> Json:
        """Usage in its own words."""
        total = said.prompt + said.completion
        counts = {"prompt_tokens": said.prompt, "completion_tokens": said.completion, "total_tokens": total}
        return {**counts, "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0}}


@define
class Groq(OpenAI):
    """https://console.groq.com/docs/openai"""

    name: str = "groq"
    model: str = "openai/gpt-oss-120b"
    base: str = "/openai/v1"
    has_refusal: bool = False

    def thinking(self, thought: str) -> Json:
        return {"reasoning": thought} if thought else {}

    def dress(self, data: Json) -> Json:
        return {**data, "system_fingerprint": "fp_1", "x_groq": {"id": "req_1"}}

    def usage(self, said: Said) -> Json:
        total = said.prompt + said.completion
        counts = {"prompt_tokens": said.prompt, "completion_tokens": said.completion, "total_tokens": total}
        return {"queue_time": 0.1, "prompt_time": 0.1, "completion_time": 0.1, "total_time": 0.3, **counts}


@define
class OpenRouter(OpenAI):
    """https://openrouter.ai/docs/api/api-reference/chat/send-chat-completion-request"""

    name: str = "openrouter"
    model: str = "anthropic/claude-opus-4.8"
    base: str = "/api/v1"
    asks_usage: bool = False
    takes_back: str = "reasoning reasoning_details"

    def thinking(self, thought: str) -> Json:
        if not thought:
            return {}
        detail = {"type": "reasoning.text", "text": thought, "format": "anthropic-claude-v1", "index": 0}
        return {"reasoning": thought, "reasoning_details": [detail]}

    def dress(self, data: Json) -> Json:
        choices = [{**choice, "native_finish_reason": choice["finish_reason"]} for choice in data["choices"]]
        dressed = {**data, "id": "gen-1", "provider": "Anthropic", "choices": choices}
        return dressed if data["object"].endswith("chunk") else {**dressed, "system_fingerprint": None}

    def usage(self, said: Said) -> Json:
        return {**OpenAI.usage(self, said), "cost": 0.0008, "is_byok": False, "cost_details": {}}

    def last(self, said: Said) -> Json:
        return {**self._chunk({"role": "assistant", "content": ""}), "usage": self.usage(said)}

    def stream(self, said: Said) -> list[bytes]:
        return [b": OPENROUTER PROCESSING\n\n", *OpenAI.stream(self, said)]


# -- Anthropic: https://platform.claude.com/docs/en/api/messages


@define
class Anthropic:
    """The Messages API."""

    name: str = "anthropic"
    model: str = "claude-opus-5-5"
    base: str = "/v1"
    kind: str = "text/event-stream"

    def read(self, seen: Seen, key: str) -> Asked:
        same((seen.method, seen.target), ("POST", "/v1/messages"), "request line")
        same(seen.headers.get("x-api-key"), key, "x-api-key")
        same(seen.headers.get("authorization"), None, "authorization")
        same(seen.headers.get("anthropic-version"), "2026-10-21", "anthropic-version")
        body = seen.json
        only(body, "model max_tokens messages system tools", "stream stop_sequences output_config tool_choice")
        same(body["model"], self.model, "model")
        same([turn["role"] for turn in body["messages"]], self._roles(len(body["messages"])), "roles")
        tools = []
        for tool in body["tools"]:
            only(tool, "name description input_schema", where="tool")
            tools.append((tool["name"], tool["input_schema"]))
        return Asked(
            "".join(block["text"] for block in body["system"]),
            tuple(self._said(body["messages"])),
            tuple(tools),
            bool(body.get("stream")),
            self._schema(body.get("output_config")),
            body["max_tokens"],
        )

    def _roles(self, turns: int) -> list[str]:
        return ["user" if number % 2 == 0 else "assistant" for number in range(turns)]

    def _schema(self, wanted: Json | None) -> Json | None:
        if wanted is None:
            return None
        only(wanted, "format", where="output_config")
        only(wanted["format"], "type schema", where="output_config.format")
        schema: Json = wanted["format"]["schema"]
        return schema

    def _said(self, turns: list[Json]) -> Iterable[tuple[Any, ...]]:
        names: dict[str, str] = {}
        for turn in turns:
            who = "model" if turn["role"] == "assistant" else "user"
            content = turn["content"]
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            calls = [block for block in blocks if block["type"] == "tool_use"]
            if calls:
                thought = {"type": "thinking", "thinking": TURNS[0].answer.thought, "signature": SIGNATURE}
                same(blocks[0], thought, "the thinking before a call")
            for block in blocks:
                yield from self._block(who, block, names)
        same(names, {}, "calls without a result")

    def _block(self, who: str, block: Json, names: dict[str, str]) -> Iterable[tuple[Any, ...]]:
        kind = block["type"]
        if kind == "text":
            only(block, "type text", where="text block")
            same(bool(block["text"].strip()), True, "a text block has text")
            yield (who, block["text"])
        elif kind == "image":
            same(sorted(block["source"]), ["data", "media_type", "type"], "source of an image")
            same(block["source"]["media_type"], "image/png", "media_type")
            yield ("image", base64.b64decode(block["source"]["data"]))
        elif kind == "tool_use":
            only(block, "type id name input", where="tool_use block")
            names[block["id"]] = block["name"]
            yield ("call", block["name"], block["input"])
        elif kind == "tool_result":
            only(block, "type tool_use_id content", where="tool_result block")
            content = block["content"]
            text = content if isinstance(content, str) else "".join(part["text"] for part in content)
            yield ("result", names.pop(block["tool_use_id"]), text)
        else:
            same(kind, "thinking", "type of a block")

    def _blocks(self, said: Said) -> list[Json]:
        blocks: list[Json] = []
        if said.thought:
            blocks.append({"type": "thinking", "thinking": said.thought, "signature": SIGNATURE})
        if said.text:
            blocks.append({"type": "text", "text": said.text, "citations": None})
        for number, (name, arguments) in enumerate(said.calls):
            blocks.append({"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": arguments})
        return blocks

    def _message(self, said: Said, **more: Any) -> Json:
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": self.model}
        usage = {"input_tokens": said.prompt, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        return {**head, "stop_sequence": None, "usage": {**usage, "output_tokens": said.completion}, **more}

    def _stop(self, said: Said) -> str:
        return "tool_use" if said.calls else "end_turn"

    def whole(self, said: Said) -> bytes:
        return dumps(self._message(said, content=self._blocks(said), stop_reason=self._stop(said)))

    def stream(self, said: Said) -> list[bytes]:
        start = self._message(Said(prompt=said.prompt, completion=1), content=[], stop_reason=None)
        events: list[Json] = [{"type": "message_start", "message": start}, {"type": "ping"}]
        for index, block in enumerate(self._blocks(said)):
            empty, deltas = self._pieces(block)
            events.append({"type": "content_block_start", "index": index, "content_block": empty})
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        delta = {"stop_reason": self._stop(said), "stop_sequence": None}
        events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": said.completion}})
        return [event(one, one["type"]) for one in [*events, {"type": "message_stop"}]]

    def _pieces(self, block: Json) -> tuple[Json, list[Json]]:
        if block["type"] == "text":
            pieces = [{"type": "text_delta", "text": half} for half in halves(block["text"])]
            return {"type": "text", "text": ""}, pieces
        if block["type"] == "thinking":
            pieces = [{"type": "thinking_delta", "thinking": half} for half in halves(block["thinking"])]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*pieces, signed]
        written = ["", *halves(dumps(block["input"]).decode())]
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": half} for half in written]


# -- Gemini: https://ai.google.dev/api/generate-content


@define
class Google:
    """generateContent and streamGenerateContent."""

    name: str = "google"
    model: str = "gemini-3.5-flash"
    base: str = "/v1beta"
    kind: str = "text/event-stream"

    def read(self, seen: Seen, key: str) -> Asked:
        stream = seen.target.endswith(":streamGenerateContent?alt=sse")
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        same((seen.method, seen.target), ("POST", f"{self.base}/models/{self.model}:{method}"), "request line")
        same(seen.headers.get("x-goog-api-key"), key, "x-goog-api-key")
        same(seen.headers.get("authorization"), None, "authorization")
        body = seen.json
        only(body, "contents systemInstruction tools generationConfig")
        config = body["generationConfig"]
        only(config, "maxOutputTokens", "stopSequences responseMimeType responseJsonSchema", "generationConfig")
        if "responseJsonSchema" in config:
            same(config.get("responseMimeType"), "application/json", "responseMimeType")
        (tools,) = body["tools"]
        declared = []
        for tool in tools["functionDeclarations"]:
            only(tool, "name description parametersJsonSchema", where="functionDeclaration")
            declared.append((tool["name"], tool["parametersJsonSchema"]))
        return Asked(
            "".join(part["text"] for part in body["systemInstruction"]["parts"]),
            tuple(self._said(body["contents"])),
            tuple(declared),
            stream,
            config.get("responseJsonSchema"),
            config["maxOutputTokens"],
        )

    def _said(self, contents: list[Json]) -> Iterable[tuple[Any, ...]]:
        called: list[tuple[str, str]] = []
        after, answering = "model", False
        for number, content in enumerate(contents):
            # Nothing follows the responses within their turn: the user's next words are a turn of their own.
            allowed = ("user", "model") if answering else ("user",) if after == "model" else ("model",)
            after = content["role"]
            same(after in allowed, True, f"contents[{number}].role is one of {allowed}")
            parts = content["parts"]
            answering = "functionResponse" in parts[0]
            same({"functionResponse" in part for part in parts}, {answering}, f"contents[{number}]: only responses")
            answered = [
                (p["functionResponse"]["id"], p["functionResponse"]["name"]) for p in parts if "functionResponse" in p
            ]
            same(answered, called, f"contents[{number}]: the responses to the calls before")
            called = [(p["functionCall"]["id"], p["functionCall"]["name"]) for p in parts if "functionCall" in p]
            signed = [p.get("thoughtSignature") for p in parts if "functionCall" in p]
            same(signed, [SIGNATURE, *[None] * (len(signed) - 1)][: len(signed)], "signatures of the calls")
            for part in parts:
                yield self._part(after, part)
        same(called, [], "calls without a response")

    def _part(self, who: str, part: Json) -> tuple[Any, ...]:
        if "functionCall" in part:
            return ("call", part["functionCall"]["name"], part["functionCall"]["args"])
        if "functionResponse" in part:
            only(part["functionResponse"]["response"], "output", where="response")
            return ("result", part["functionResponse"]["name"], part["functionResponse"]["response"]["output"])
        if "inlineData" in part:
            same(part["inlineData"]["mimeType"], "image/png", "mimeType")
            return ("image", base64.b64decode(part["inlineData"]["data"]))
        only(part, "text", where="part")
        return (who, part["text"])

    def _parts(self, said: Said) -> list[Json]:
        parts: list[Json] = [{"text": half, "thought": True} for half in halves(said.thought)]
        parts += [{"text": half} for half in halves(said.text)]
        for number, (name, arguments) in enumerate(said.calls):
            signed = {} if number else {"thoughtSignature": SIGNATURE}
            parts.append({"functionCall": {"id": f"fc_{number}", "name": name, "args": arguments}, **signed})
        return parts

    def _frame(self, parts: list[Json], said: Said | None = None) -> Json:
        candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
        frame = {"candidates": [candidate], "modelVersion": self.model, "responseId": "r1"}
        if said is None:
            return frame
        candidate["finishReason"] = "STOP"
        counts = {"promptTokenCount": said.prompt, "candidatesTokenCount": said.completion - 2, "thoughtsTokenCount": 2}
        return {**frame, "usageMetadata": {**counts, "totalTokenCount": said.prompt + said.completion}}

    def whole(self, said: Said) -> bytes:
        return dumps(self._frame(self._parts(said), said))

    def stream(self, said: Said) -> list[bytes]:
        frames = [self._frame([part]) for part in self._parts(said)]
        return [event(frame) for frame in [*frames, self._frame([{"text": ""}], said)]]


# -- Ollama: https://github.com/ollama/ollama/blob/main/docs/api.md


@define
class Ollama:
    """/api/chat."""

    name: str = "ollama"
    model: str = "qwen3.8:27b"
    base: str = ""
    kind: str = "application/x-ndjson"

    def read(self, seen: Seen, key: str) -> Asked:
        same((seen.method, seen.target), ("POST", "/api/chat"), "request line")
        same(seen.headers.get("authorization"), f"Bearer {key}", "authorization")
        body = seen.json
        only(body, "model messages stream tools options", "format")
        same(body["model"], self.model, "model")
        only(body["options"], "num_predict", "stop", "options")
        tools = []
        for tool in body["tools"]:
            only(tool, "type function", where="tool")
            only(tool["function"], "name description parameters", where="function")
            tools.append((tool["function"]["name"], tool["function"]["parameters"]))
        system, *rest = body["messages"]
        same(system["role"], "system", "messages[0].role")
        said = tuple(one for message in rest for one in self._message(message))
        cap = body["options"]["num_predict"]
        return Asked(system["content"], said, tuple(tools), body["stream"], body.get("format"), cap)

    def _message(self, message: Json) -> Iterable[tuple[Any, ...]]:
        if message["role"] == "tool":
            only(message, "role content tool_name tool_call_id", where="tool message")
            yield ("result", message["tool_name"], message["content"])
            return
        only(message, "role content", "images tool_calls thinking", "message")
        if message["content"]:
            yield ("user" if message["role"] == "user" else "model", message["content"])
        for image in message.get("images", ()):
            yield ("image", base64.b64decode(image, validate=True))
        for call in message.get("tool_calls", ()):
            only(call, "id function", where="tool call")
            same(message.get("thinking"), TURNS[0].answer.thought, "the thinking of a call")
            yield ("call", call["function"]["name"], call["function"]["arguments"])

    def _line(self, message: Json, said: Said | None = None) -> Json:
        line = {"model": self.model, "created_at": "2026-11-22T00:00:00.123456Z"}
        line |= {"message": {"role": "assistant", "content": "", **message}, "done": said is not None}
        if said is None:
            return line
        counts = {"prompt_eval_count": said.prompt, "eval_count": said.completion}
        return {**line, "done_reason": "stop", "total_duration": 12, "load_duration": 4, **counts}

    def _calls(self, said: Said) -> list[Json]:
        return [{"function": {"index": 0, "name": name, "arguments": args}} for name, args in said.calls]

    def whole(self, said: Said) -> bytes:
        thought = {"thinking": said.thought} if said.thought else {}
        calls = {"tool_calls": self._calls(said)} if said.calls else {}
        return dumps(self._line({"content": said.text, **thought, **calls}, said))

    def stream(self, said: Said) -> list[bytes]:
        messages: list[Json] = [{"thinking": half} for half in halves(said.thought)]
        messages += [{"content": half} for half in halves(said.text)]
        messages += [{"tool_calls": [call]} for call in self._calls(said)]
        return [dumps(line) + b"\n" for line in [*map(self._line, messages), self._line({}, said)]]


LANGUAGES: tuple[Language, ...] = (OpenAI(), Anthropic(), Google(), Groq(), OpenRouter(), Ollama())


# -- on a socket


@frozen
class Provider:
    """A provider that listens: answers what it understands, and journals both that and what was wrong."""

    language: Language
    key: str
    script: tuple[Said, ...] = tuple(turn.answer for turn in TURNS)
    asked: list[Asked] = field(factory=list)
    wrong: list[str] = field(factory=list)

    def __call__(self, seen: Seen) -> Iterable[Step]:
        """The steps of one answer."""
        try:
            asked = self.language.read(seen, self.key)
        except (Wrong, KeyError, TypeError, ValueError) as error:
            self.wrong.append(repr(error))
            return [error_answer(400, repr(error))]
        said = self.script[len(self.asked)]
        self.asked.append(asked)
        return self._streamed(said) if asked.stream else [answer(200, self.language.whole(said))]

    def _streamed(self, said: Said) -> list[Step]:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {self.language.kind}\r\ntransfer-encoding: chunked\r\n\r\n"
        return [head.encode(), *map(piece, self.language.stream(said)), STREAM_END]


def serve(provider: Provider) -> Fakeup:
    """The provider on a loopback port, to be entered."""
    return Fakeup(provider)


def address(up: Fakeup, language: Language) -> str:
    """Its base URL, with the path that the real one has."""
    return up.url.removesuffix("/v1") + language.base
