"""Ollama's own language: ``/api/chat``, answers in one object or in lines of JSON.

https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import orjson
from attrs import evolve, frozen

from fwd_server.providers import answer_shape, json_stream, lenient, media, request_fields, request_headers
from fwd_server.providers.base import AmendedRequest, NewId, UpstreamRequest, merge
from fwd_server.values import embeddings, usage
from fwd_server.values.chat import ChatRequest, ChatResponse, Json, StreamEvent
from fwd_server.values.deployment import Deployment, Endpoint
from fwd_server.values.embeddings import EmbeddingsRequest, EmbeddingsResponse
from fwd_server.values.errors import Refused, UpstreamError, from_status, upstream_failure
from fwd_server.wire.backoff import parse_retry_after
from fwd_server.wire.redact import clean
from fwd_server.wire.sse import Lines

_PROVIDER: Final = "ollama"

# What the model is told under the same name, inside ``options``.
_OPTIONS: Final = ("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty")
_TAKEN: Final = (
    *_OPTIONS,
    "stop",
    "max_tokens",
    "max_completion_tokens",
    "tools",
    "response_format",
    "reasoning_effort",
    "logprobs",
    "top_logprobs",
    "ollama",
)
_THINK: Final[dict[str, bool | str]] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}
# These decide where the call goes and how it comes back.
_NOT_EXTRA: Final = ("model", "stream", "messages")


class OllamaChat:
    """Chat completions by ``/api/chat``."""

    def open(self, request: ChatRequest, deployment: Deployment, now: int, new_id: NewId) -> OllamaExchange:
        """Translate a call. Raises Refused for what Ollama has no word for."""
        body = merge(_build(request.body, deployment.model), request.extra_body)
        dropped = request_fields.left_out(request.body, _taken(request.body), ())
        return OllamaExchange(body, dropped, request, deployment, now, new_id)


@frozen
class OllamaExchange:
    """One attempt at ``/api/chat``."""

    body: Json
    dropped: tuple[str, ...]
    _call: ChatRequest
    _deployment: Deployment
    _now: int
    _new_id: NewId

    @cached_property
    def request(self) -> UpstreamRequest:
        """The call as Ollama takes it."""
        stream = self.body["stream"] is True
        return _request("/api/chat", self._deployment, self.body, stream=stream)

    def answer(self, body: bytes) -> ChatResponse:
        """Read a whole answer. Raises UpstreamError."""
        said = lenient.obj(lenient.load(body))
        if "error" in said:
            raise self._failure(said["error"])
        if not isinstance(said.get("message"), dict):
            raise upstream_failure("bad_payload")
        return _Reading(self._failure, self._now, self._new_id).whole(said)

    def decoder(self) -> json_stream.JsonStream:
        """A decoder for the lines of a streamed answer."""
        return json_stream.JsonStream(Lines(), _Reading(self._failure, self._now, self._new_id))

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError | AmendedRequest:
        """Read a failure. A model that cannot think is asked once more, without thinking."""
        said = _error_text(body)
        error = _read_failure(self._deployment.endpoint, status, said, parse_retry_after(headers))
        if status == 400 and "think" in self.body and "does not support thinking" in said:
            return AmendedRequest(self._without_thinking(), error)
        return error

    def _without_thinking(self) -> OllamaExchange:
        body = {name: value for name, value in self.body.items() if name != "think"}
        said = "ollama" if self._call.body.get("reasoning_effort") is None else "reasoning_effort"
        return evolve(self, body=body, dropped=(*self.dropped, said))

    def _failure(self, said: object) -> UpstreamError:
        return _read_failure(self._deployment.endpoint, None, said)


def _request(path: str, deployment: Deployment, body: Json, *, stream: bool = False) -> UpstreamRequest:
    endpoint = deployment.endpoint
    headers = request_headers.headers(endpoint, *request_headers.bearer(endpoint))
    return UpstreamRequest(path, headers, orjson.dumps(body), stream=stream, json_lines=stream)


# -- failures

# What the account has for hours or for a week (contract F12); inside an answer the words are all there is.
_USED_UP: Final = re.compile(r"reached your [a-z]{1,20} usage limit", re.IGNORECASE)


def _read_failure(
    endpoint: Endpoint, status: int | None, said: object, retry_after_s: float | None = None
) -> UpstreamError:
    """Read an error's text; inside an answer there is no ``status`` with it."""
    words = lenient.text(said)
    meant = 402 if _USED_UP.search(words) else status or 500
    error = from_status(
        meant,
        clean(words, endpoint.key),
        provider=_PROVIDER,
        key_name=endpoint.key_name,
        retry_after_s=retry_after_s,
    )
    error.upstream_status = status or meant
    if status == 400 and "does not support" in error.message:
        error.code = "unsupported_parameter"
    elif status == 400 and "context length" in error.message:
        request_fields.too_long(error)
    return error


def _error_text(body: bytes) -> str:
    try:
        return lenient.text(lenient.obj(orjson.loads(body)).get("error"))
    except orjson.JSONDecodeError:
        return ""


# -- the call


def _taken(body: Json) -> tuple[str, ...]:
    # "none" is kept by leaving the tools out; no other choice has a counterpart.
    choice = ("tool_choice",) if body.get("tool_choice") == "none" else ()
    return (*request_fields.taken_always(body), *_TAKEN, *choice)


def _build(body: Json, model: str) -> Json:
    _refuse(body)
    built: Json = {
        "model": model,
        "stream": bool(body.get("stream")),  # the server's own default is true
        "messages": _messages(body["messages"]),
        "tools": _tools(body),
        "format": _format(body.get("response_format")),
        "think": _think(request_fields.effort_of(body)),
        "options": _options(body),
        "logprobs": body.get("logprobs"),
        "top_logprobs": body.get("top_logprobs"),
    }
    given = {name: value for name, value in built.items() if value is not None}
    return merge(given, _extras(body))


def _refuse(body: Json) -> None:
    if (body.get("n") or 1) > 1:
        raise Refused("'n' must be 1 for this model.", param="n")
    request_fields.refuse_output(body, _PROVIDER)
    request_fields.refuse_hosted_search(body, _PROVIDER)


def _extras(body: Json) -> Json:
    extras = request_fields.extras(body, _PROVIDER)
    for name in _NOT_EXTRA:
        if name in extras:
            at = f"ollama.{name}"
            raise Refused(f"'ollama' must not have '{name}'; give it at the top level.", code=None, param=at)
    return extras


def _tools(body: Json) -> list[Json] | None:
    tools = request_fields.functions(body, _PROVIDER)
    if not tools or body.get("tool_choice") == "none":
        return None
    return [{"type": "function", "function": _function(function)} for function in tools]


def _function(function: Json) -> Json:
    known = {name: function[name] for name in ("name", "description") if function.get(name) is not None}
    return {**known, "parameters": function.get("parameters") or {"type": "object", "properties": {}}}


def _format(wanted: Any) -> Json | str | None:
    kind = lenient.obj(wanted).get("type")
    if kind == "json_schema":
        schema: Json | None = lenient.obj(wanted.get("json_schema")).get("schema")
        return "json" if schema is None else schema
    return "json" if kind == "json_object" else None


def _think(effort: str | None) -> bool | str | None:
    return None if effort is None else _THINK[effort]


def _options(body: Json) -> Json | None:
    options = {"num_predict": request_fields.most_tokens(body), "stop": request_fields.stops(body) or None}
    options |= {name: body.get(name) for name in _OPTIONS}
    return {name: value for name, value in options.items() if value is not None} or None


def _messages(messages: list[Json]) -> list[Json]:
    names: dict[str, str] = {}  # of the calls, by id; an id used twice means the later one
    sent = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        turn = _turn(message, where)
        if message["role"] == "assistant":
            turn |= _assistant(message, names, where)
        elif message["role"] == "tool":
            turn["tool_name"] = names.get(message["tool_call_id"], "")
            turn["tool_call_id"] = message["tool_call_id"]
        sent.append(turn)
    return sent


def _turn(message: Json, where: str) -> Json:
    texts: list[str] = []
    pictures: list[str] = []
    for index, part in enumerate(request_fields.parts_of(message.get("content"))):
        at = f"{where}.content[{index}]"
        read = _PARTS.get(part["type"])
        if read is None:
            raise media.part_refused(part["type"], _PROVIDER, at)
        written, data = read(part, at)
        texts += [written] if written is not None else []
        pictures += [data] if data is not None else []
    role = "system" if message["role"] == "developer" else message["role"]
    turn = {"role": role, "content": "\n".join(texts)}
    return {**turn, "images": pictures} if pictures else turn


def _assistant(message: Json, names: dict[str, str], where: str) -> Json:
    more: Json = {}
    if message.get("content") is None and message.get("refusal"):
        more["content"] = message["refusal"]
    thinking = message.get("reasoning_content") or message.get("reasoning")
    if thinking:
        more["thinking"] = thinking
    calls = []
    for call, at in request_fields.calls_of(message, _PROVIDER, where):
        name = names[call["id"]] = call["function"]["name"]
        calls.append({"id": call["id"], "function": {"name": name, "arguments": request_fields.arguments(call, at)}})
    return {**more, "tool_calls": calls} if calls else more


# A part's text, and its bytes in bare base64.
_Read = tuple["str | None", "str | None"]


def _text(part: Json, where: str) -> _Read:
    return request_fields.needed(part, part["type"], where), None


def _image(part: Json, where: str) -> _Read:
    url = request_fields.needed(part, "image_url", where)["url"]
    return None, media.inline(url, _PROVIDER, f"{where}.image_url.url").data


def _audio(part: Json, where: str) -> _Read:
    # Models that hear take sound where others take images; a model that does not answers 400 itself.
    return None, request_fields.needed(part, "input_audio", where)["data"]


_TEXT_FILES: Final = re.compile(r"text/|application/(?:json|xml|yaml|x-yaml|toml|javascript|x-sh|sql)$")


def _file(part: Json, where: str) -> _Read:
    at = f"{where}.file.file_data"
    url = lenient.obj(part.get("file")).get("file_data")
    if not url:
        raise Refused(f"{_PROVIDER} keeps no files: send '{at}' instead of an id.", param=f"{where}.file")
    read = media.inline(url, _PROVIDER, at)
    try:
        if _TEXT_FILES.match(read.mime):
            return base64.b64decode(read.data, validate=True).decode(), None
    except (binascii.Error, UnicodeDecodeError):
        raise Refused(f"Invalid value for '{at}': expected UTF-8 text in base64.", code=None, param=at) from None
    raise Refused(f"{_PROVIDER} takes text files only; '{at}' is {read.mime}.", param=at)


_PARTS: Final[Mapping[str, Callable[[Json, str], _Read]]] = {
    "text": _text,
    "refusal": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
}


# -- the answer


class _Reading:
    """Reads one answer, whole or in lines; the id and the time are those of its first line."""

    def __init__(self, failure: Callable[[object], UpstreamError], now: int, new_id: NewId) -> None:
        self.usage: usage.Usage | None = None
        self._failure = failure
        self._now = now
        self._new_id = new_id
        self._writer: answer_shape.ChunkWriter | None = None
        self._calls = 0

    def whole(self, said: Json) -> ChatResponse:
        """A whole answer."""
        message = answer_shape.whole(self._deltas(said))
        self.usage = _usage(said)
        choice = answer_shape.choice_object(0, message, self._reason(said), _logprobs(said))
        data = answer_shape.completion(self._head(said), [choice], answer_shape.usage_object(self.usage))
        return ChatResponse(data, self.usage)

    def read(self, said: Json) -> list[StreamEvent]:
        """One line of a stream."""
        if "error" in said:
            return [self._failure(said["error"])]
        writer = self._writer = self._writer or answer_shape.ChunkWriter(self._head(said))
        events = writer.deltas(0, self._deltas(said), _logprobs(said))
        if said.get("done") is not True:
            return events
        self.usage = _usage(said)
        return [*events, *writer.finish(0, self._reason(said)), *writer.end(self.usage)]

    def end(self) -> list[StreamEvent]:
        """No line said that the answer is done."""
        return [upstream_failure("upstream_truncated")]

    def _head(self, said: Json) -> Json:
        created = _seconds(lenient.text(said.get("created_at")))
        return {
            "id": self._new_id("chatcmpl-"),
            "created": self._now if created is None else created,
            "model": lenient.text(said.get("model")),
        }

    def _deltas(self, said: Json) -> list[Json]:
        message = lenient.obj(said.get("message"))
        thinking, content = lenient.text(message.get("thinking")), lenient.text(message.get("content"))
        deltas: list[Json] = [{"reasoning_content": thinking}] if thinking else []
        deltas += [{"content": content}] if content else []
        return deltas + [self._call(call) for call in lenient.objects(message.get("tool_calls")) if _name(call)]

    def _call(self, call: Json) -> Json:
        # The server's own index is often 0 for all of them.
        index, self._calls = self._calls, self._calls + 1
        call_id = lenient.text(call.get("id")) or self._new_id("call_")
        return answer_shape.tool_call(index, call_id, _name(call), call["function"].get("arguments"))

    def _reason(self, said: Json) -> str:
        if said.get("done_reason") == "length":
            return "length"
        return "tool_calls" if self._calls else "stop"


def _name(call: Json) -> str:
    return lenient.text(lenient.obj(call.get("function")).get("name"))


def _usage(said: Json) -> usage.Usage:
    # A count of 0 is left out by the server.
    return usage.Usage(usage.count(said.get("prompt_eval_count")), usage.count(said.get("eval_count")))


def _logprobs(said: Json) -> Json | None:
    told = lenient.objects(said.get("logprobs"))
    return {"content": [_logprob(one, lenient.objects(one.get("top_logprobs"))) for one in told]} if told else None


def _logprob(one: Json, top: list[Json]) -> Json:
    others = [answer_shape.logprob(lenient.text(other.get("token")), other.get("logprob")) for other in top]
    return answer_shape.logprob(lenient.text(one.get("token")), one.get("logprob"), others)


_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)")


def _seconds(written: str) -> int | None:
    """RFC 3339 with nanoseconds, which Python before 3.11 does not read."""
    match = _TIME.fullmatch(written)
    if match is None:
        return None
    try:
        return int(datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00")).timestamp())
    except ValueError:
        return None


# -- embeddings


_EMBEDDINGS_TAKEN: Final = ("model", "input", "dimensions", "encoding_format", "ollama")


class OllamaEmbeddings:
    """Embeddings by ``/api/embed``, which takes all texts at once.

    https://github.com/ollama/ollama/blob/main/docs/api.md#generate-embeddings
    """

    def open(self, request: EmbeddingsRequest, deployment: Deployment) -> OllamaEmbeddingsExchange:
        """Translate a call. Raises Refused for token ids."""
        request.texts_for(_PROVIDER)
        body: Json = {"model": deployment.model, "input": request.view.input}
        if request.view.dimensions:
            body["dimensions"] = request.view.dimensions
        sent = _request("/api/embed", deployment, merge(merge(body, _extras(request.body)), request.extra_body))
        dropped = request_fields.left_out(request.body, _EMBEDDINGS_TAKEN, ())
        return OllamaEmbeddingsExchange(sent, dropped, request, deployment)


@frozen
class OllamaEmbeddingsExchange:
    """One attempt at ``/api/embed``."""

    request: UpstreamRequest
    dropped: tuple[str, ...]
    _call: EmbeddingsRequest
    _deployment: Deployment

    def answer(self, body: bytes) -> EmbeddingsResponse:
        """Read an answer. Raises UpstreamError."""
        said = lenient.obj(lenient.load(body))
        if "error" in said:
            raise _read_failure(self._deployment.endpoint, None, said["error"])
        vectors = said.get("embeddings")
        model = lenient.text(said.get("model")) or self._deployment.model
        return embeddings.listing(vectors if isinstance(vectors, list) else [], self._call, model, _usage(said))

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read a failure."""
        return _read_failure(self._deployment.endpoint, status, _error_text(body), parse_retry_after(headers))
