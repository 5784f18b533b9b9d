"""What the providers with a language of their own share: OpenAI's messages read, OpenAI's answers written.

Whatever a provider sends is read with ``obj``, ``objects`` and ``text``: something of another kind than expected
counts as missing, so that no answer, however broken, raises anything but an ``UpstreamError``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

import orjson
from attrs import define, field, frozen

from fwd_server import jsontext
from fwd_server.chat import Chunk, End, Json, StreamEvent, choice_delta, chunk_object
from fwd_server.errors import ErrorKind, Refused, UpstreamError, broken
from fwd_server.providers.base import Header
from fwd_server.routing import Endpoint
from fwd_server.sse import Decoder, LineTooLong
from fwd_server.usage import Usage

# -- reading what came, from anybody


def obj(value: object) -> Json:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[Json]:
    """The objects in ``value`` if it is a list, else none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """``value`` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def load(body: bytes) -> Any:
    """The JSON of an answer. Raises UpstreamError (``bad_payload``, contract F20)."""
    try:
        return jsontext.loads(body)
    except orjson.JSONDecodeError:
        raise broken("bad_payload") from None


def dumps(value: object) -> str:
    """Compact JSON as a string, as OpenAI writes a call's arguments."""
    return orjson.dumps(value).decode()


# -- sending the call


def headers(endpoint: Endpoint, *auth: Header) -> tuple[Header, ...]:
    """The headers of every call, made from the configuration alone (contract T18)."""
    configured = ((name.lower(), value) for name, value in endpoint.headers)
    return (("content-type", "application/json"), *auth, *configured)


def bearer(endpoint: Endpoint) -> tuple[Header, ...]:
    """The key as a bearer token, if there is one."""
    return (("authorization", endpoint.key.after("Bearer ")),) if endpoint.key else ()


# -- reading the call


def parts_of(content: object) -> list[Json]:
    """A message's content as parts, whichever way it was written."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return objects(content)


def needed(part: Json, name: str, where: str) -> Any:
    """A part's own field; raises Refused when it is missing."""
    value = part.get(name)
    if value is None:
        raise Refused(f"Missing required parameter: '{where}.{name}'.", code=None, param=f"{where}.{name}")
    return value


@frozen
class Inline:
    """What a ``data:`` URL holds: the media type, and the bytes in base64 as they were written."""

    mime: str
    data: str


_DATA_URL: Final = re.compile(r"data:(?P<mime>[^;,]*)[^,]*;base64,", re.IGNORECASE)


def inline(url: str, provider: str, where: str) -> Inline:
    """Read a ``data:`` URL. Raises Refused for a link: the gateway never opens one (contract T20)."""
    match = _DATA_URL.match(url)
    if match:
        return Inline(match["mime"].lower() or "application/octet-stream", url[match.end() :])
    if is_link(url):
        raise link_refused(provider, where)
    raise Refused(f"Invalid value for '{where}': expected a base64 'data:' URL.", code=None, param=where)


def is_link(url: str) -> bool:
    """Whether a URL leads into the network."""
    return re.match(r"https?:", url, re.IGNORECASE) is not None


# Images begin with these bytes; what they are labelled as is often wrong.
_MAGIC: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
)
IMAGES: Final = frozenset(mime for _, mime in _MAGIC)


def image_type(start: bytes) -> str | None:
    """The media type of an image by its first 12 bytes; None if it is none of ``IMAGES``."""
    return next((mime for magic, mime in _MAGIC if magic.match(start)), None)


def link_refused(provider: str, where: str) -> Refused:
    """The provider needs bytes where the caller gave a link."""
    return Refused(
        f"'{where}' is a link, and {provider} takes images and files only as bytes. Send a base64 'data:' URL, or set "
        "FWD_FETCH_IMAGES=public on the gateway.",
        code="image_link_not_supported",
        param=where,
    )


def part_refused(kind: str, provider: str, where: str) -> Refused:
    """The provider has nothing like this kind of part."""
    return Refused(f"{provider} does not take the content part '{where}' of type '{kind}'.", param=where)


def arguments(call: Json, where: str) -> Json:
    """A call's arguments as an object; "" is an empty one. Raises Refused: they are never repaired."""
    written = text(obj(call.get("function")).get("arguments"))
    if not written.strip():
        return {}
    try:
        value = jsontext.loads(written)
    except orjson.JSONDecodeError as error:
        raise _bad_arguments(where, error.msg) from None
    if isinstance(value, dict):
        return value
    raise _bad_arguments(where, "not an object")


def _bad_arguments(where: str, what: str) -> Refused:
    name = f"{where}.function.arguments"
    return Refused(f"Invalid value for '{name}': expected a JSON object in a string ({what}).", code=None, param=name)


def calls_of(message: Json, provider: str, where: str) -> Iterator[tuple[Json, str]]:
    """The tool calls of an assistant message, each with its place. Raises Refused for a custom tool's call."""
    for index, call in enumerate(objects(message.get("tool_calls"))):
        at = f"{where}.tool_calls[{index}]"
        if not isinstance(call.get("function"), dict):
            raise Refused(f"{provider} takes calls of functions only; '{at}' is another kind.", param=at)
        yield call, at


def functions(body: Json, provider: str) -> list[Json]:
    """The function definitions among the tools. Raises Refused for a custom tool."""
    found = []
    for index, tool in enumerate(objects(body.get("tools"))):
        if not isinstance(tool.get("function"), dict):
            at = f"tools[{index}]"
            raise Refused(f"{provider} takes tools of type 'function' only; '{at}' is another kind.", param=at)
        found.append(tool["function"])
    return found


def stops(body: Json) -> list[str]:
    """The stop sequences as a list."""
    stop = body.get("stop")
    return [stop] if isinstance(stop, str) else list(stop or ())


def most_tokens(body: Json) -> int | None:
    """The cap on the answer's tokens; of the two names the newer wins."""
    newer: int | None = body.get("max_completion_tokens")
    return newer if newer is not None else body.get("max_tokens")


EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def effort_of(body: Json) -> str | None:
    """The reasoning effort asked for. Raises Refused for a word that is none."""
    effort: str | None = body.get("reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        raise Refused(
            f"Invalid value for 'reasoning_effort': {effort!r}; expected one of {', '.join(EFFORTS)}.",
            code=None,
            param="reasoning_effort",
        )
    return effort


def refuse_hosted_search(body: Json, provider: str, hint: str = "") -> None:
    """Raise Refused when the caller wants OpenAI's own web search."""
    if body.get("web_search_options") is not None:
        raise Refused(f"{provider} has no 'web_search_options'.{hint}", param="web_search_options")


def refuse_output(body: Json, provider: str, *taken: str) -> None:
    """Raise Refused when the answer is wanted as something else than text or what else is ``taken``."""
    for wanted in body.get("modalities") or ():
        if wanted != "text" and wanted not in taken:
            raise Refused(f"{provider} cannot answer with '{wanted}' through this model.", param="modalities")


def left_out(body: Json, taken: Iterable[str], lost: Iterable[str]) -> tuple[str, ...]:
    """Names of the caller's fields that the provider does not get: those ``lost``, and those not ``taken``."""
    kept = set(taken) - set(lost)
    return tuple(name for name, value in body.items() if value is not None and name not in kept)


def extras(body: Json, provider: str) -> Json:
    """What the caller says in the provider's own words, in an object of its name. Raises Refused for anything else."""
    given = body.get(provider)
    if given is None or isinstance(given, dict):
        return given or {}
    raise Refused(f"Invalid type for '{provider}': expected an object.", code=None, param=provider)


# What every codec reads or answers itself.
_ALWAYS: Final = ("model", "messages", "stream", "stream_options", "n", "modalities")


def taken_always(body: Json) -> tuple[str, ...]:
    """The fields no provider's language needs a word for; calls in parallel are what they all do anyway."""
    return (*_ALWAYS, "parallel_tool_calls") if body.get("parallel_tool_calls") is True else _ALWAYS


class Names:
    """Function names as a provider takes them, the same way for the same name, and back."""

    def __init__(self, good: re.Pattern[str], longest: int) -> None:
        self._good = good
        self._longest = longest
        self._there: dict[str, str] = {}
        self._back: dict[str, str] = {}

    def there(self, name: str) -> str:
        """The name to send."""
        if name not in self._there:
            self._there[name] = sent = self._free(name)
            self._back[sent] = name
        return self._there[name]

    def back(self, name: str) -> str:
        """The caller's own name."""
        return self._back.get(name, name)

    def _free(self, name: str) -> str:
        if self._good.fullmatch(name) and name not in self._back:
            return name
        base = "_" + re.sub(r"[^A-Za-z0-9_-]", "_", name)[: self._longest - 6]
        number = 1
        while (found := base if number == 1 else f"{base}_{number}") in self._back:
            number += 1
        return found


# -- writing the answer


def usage_object(usage: Usage, **prompt_details: int) -> Json:
    """``usage`` in OpenAI's shape; details that are 0 are left out, but for the cached tokens."""
    prompt = {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write, **prompt_details}
    written: Json = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "prompt_tokens_details": {k: v for k, v in prompt.items() if v or k == "cached_tokens"},
    }
    if usage.reasoning:
        written["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return written


def tool_call(index: int, call_id: str, name: str, args: object, **more: object) -> Json:
    """A delta with one whole call; ``args`` that are no string become one."""
    written = args if isinstance(args, str) else dumps(args or {})
    function = {"name": name, "arguments": written}
    return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function, **more}]}


def whole(deltas: Iterable[Json]) -> Json:
    """The deltas of one choice as a message. Its content is null only beside calls or a refusal."""
    said: Json = {"role": "assistant", "content": "", "refusal": None}
    for delta in deltas:
        for key, value in delta.items():
            said[key] = _joined(said.get(key), value)
    for call in said.get("tool_calls", ()):
        del call["index"]
    if not said["content"] and (said.get("tool_calls") or said["refusal"]):
        said["content"] = None
    return said


def _joined(old: Any, new: Any) -> Any:
    return new if old is None or isinstance(new, dict) else old + new


def completion(head: Mapping[str, Any], choices: list[Json], usage: Json | None) -> Json:
    """A ``chat.completion`` object; ``head`` holds id, created and model. Unknown usage is left out, not 0."""
    known = {} if usage is None else {"usage": usage}
    return {
        "id": head["id"],
        "object": "chat.completion",
        "created": head["created"],
        "model": head["model"],
        "choices": choices,
        **known,
    }


def choice_object(index: int, message: Json, finish_reason: str, logprobs: Json | None = None) -> Json:
    """One choice of a whole answer."""
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def logprob(token: str, value: object, top: list[Json] | None = None) -> Json:
    """One token's probability in OpenAI's shape; without ``top`` one of the alternatives."""
    told: Json = {"token": token, "logprob": value, "bytes": list(token.encode("utf-8", "replace"))}
    return told if top is None else {**told, "top_logprobs": top}


def _frame_of(head: Json) -> Json:
    """What all chunks of a stream have in common."""
    return chunk_object(head, [])


@define
class ChunkWriter:
    """Writes the chunks of one stream: every choice begins with its role, and one kind of delta fills a chunk."""

    _frame: Json = field(alias="head", converter=_frame_of)
    _open: set[int] = field(factory=set, init=False)

    def deltas(self, index: int, deltas: Iterable[Json], logprobs: Json | None = None) -> list[StreamEvent]:
        """A chunk for every delta; ``logprobs`` go with the first."""
        chunks: list[StreamEvent] = []
        for delta in deltas:
            if index not in self._open:
                chunks.append(self._opening(index))
            chunks.append(self._chunk(choice_delta(delta, index, None, logprobs)))
            logprobs = None
        return chunks

    def finish(self, index: int, reason: str, logprobs: Json | None = None) -> list[StreamEvent]:
        """The last chunk of a choice."""
        last = self._chunk(choice_delta({}, index, reason, logprobs))
        return [last] if index in self._open else [self._opening(index), last]

    def end(self, usage: Usage | None, **prompt_details: int) -> list[StreamEvent]:
        """The usage chunk, where usage is known, and the true end."""
        if usage is None:
            return [End()]
        return [Chunk(False, {**self._frame, "usage": usage_object(usage, **prompt_details)}), End(usage)]

    def _opening(self, index: int) -> Chunk:
        self._open.add(index)
        return self._chunk(choice_delta({"role": "assistant", "content": ""}, index), commits=False)

    def _chunk(self, choice: Json, commits: bool = True) -> Chunk:
        return Chunk(commits, {**self._frame, "choices": [choice]})


# -- streams of JSON objects


class Framing(Protocol):
    """Bytes to the JSON texts in them."""

    def feed(self, data: bytes) -> list[bytes]:
        """The texts that ``data`` completes. Raises LineTooLong."""
        ...

    def close(self) -> list[bytes]:
        """What is left at the end."""
        ...


class EventData:
    """The data of server-sent events, whatever their names."""

    def __init__(self) -> None:
        self._events = Decoder()

    def feed(self, data: bytes) -> list[bytes]:
        """The data that ``data`` completes. Raises LineTooLong."""
        return [event.data for event in self._events.feed(data)]

    def close(self) -> list[bytes]:
        """The data of the event the stream broke off in."""
        return [event.data for event in self._events.close()]


class Reader(Protocol):
    """One provider's objects to events."""

    @property
    def usage(self) -> Usage | None:
        """Tokens as far as the provider has said."""
        ...

    def read(self, said: Json) -> list[StreamEvent]:
        """The events of one object."""
        ...

    def end(self) -> list[StreamEvent]:
        """The events of the end of the body, when no end was read before it."""
        ...


class JsonStream:
    """A decoder for a stream of JSON objects: limits, unreadable texts and the end are the same for all."""

    def __init__(self, framing: Framing, reader: Reader) -> None:
        self._framing = framing
        self._reader = reader
        self._over = False

    @property
    def usage(self) -> Usage | None:
        """Tokens as far as the provider has said."""
        return self._reader.usage

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events that ``data`` completes."""
        if self._over:
            return []
        try:
            texts = self._framing.feed(data)
        except LineTooLong:
            self._over = True
            return [broken("too_large")]
        return self._read(texts, "bad_payload")

    def close(self) -> list[StreamEvent]:
        """The body is over: what cannot be read now was cut off."""
        if self._over:
            return []
        events = self._read(self._framing.close(), "upstream_truncated")
        if not self._over:
            self._over = True
            events += self._reader.end()
        return events

    def _read(self, texts: list[bytes], unreadable: str) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for written in texts:
            if self._over:
                break
            if written.strip():
                events += self._one(written, unreadable)
            self._over = bool(events) and isinstance(events[-1], (End, UpstreamError))
        return events

    def _one(self, written: bytes, unreadable: str) -> list[StreamEvent]:
        try:
            said = jsontext.loads(written)
        except orjson.JSONDecodeError:
            return [broken(unreadable)]
        return self._reader.read(said) if isinstance(said, dict) else [broken("bad_payload")]


def too_long(error: UpstreamError) -> UpstreamError:
    """The failure of a prompt that this model's context cannot hold."""
    error.kind, error.code, error.param = ErrorKind.CONTEXT_LENGTH, "context_length_exceeded", "messages"
    return error
