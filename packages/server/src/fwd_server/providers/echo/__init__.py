"""``echo:``, a provider without a network: it answers from the call alone, and fails on demand.

What follows the prefix is its language (``docs/echo.md``). It writes OpenAI's own wire format as a script of delays
and bytes, which is played like an answer from the network and read back by the codec for compatible providers: JSON,
streams, failures and cuts take the same way as a real provider's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

from attrs import frozen

from fwd_server.providers.base import ChatExchange, NewId, Provider, ScriptedResponse, merge_body
from fwd_server.providers.compatible import PROFILES, CompatibleExchange
from fwd_server.providers.echo.samples import sample_value
from fwd_server.providers.lenient import obj, objects, text
from fwd_server.values.chat import ChatRequest, Json, choice_delta, chunk_object
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import Refused
from fwd_server.values.usage import Usage, estimate_tokens
from fwd_server.wire import jsontext, sse, tokens

FINGERPRINT: Final = "fwd_echo"
MOST_TEXT: Final = 1 << 20  # bytes of all choices together; a longer text ends with "length"
MOST_CHUNKS: Final = 4_096  # of all choices together; a longer text comes in larger pieces
LONGEST_S: Final = 3_600.0

_PACE: Final = ("ttft", "rate")
OPTIONS: Final = {
    "": (),
    "tools": _PACE,
    "json": _PACE,
    "slow": _PACE,
    "fail": ("status", "retry_after", "after", *_PACE),
    "stall": ("after", *_PACE),
}
_DURATION: Final = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(ms|s|)")

Step = tuple[float, bytes]


# -- the language


@frozen
class EchoOptions:
    """A model's name, read: what to answer and how. ``rate`` is in tokens a second, 0: at once."""

    what: str = ""
    ttft_s: float = 0.0
    rate: float = 0.0
    status: int | None = None
    retry_after: str | None = None
    after: int | None = None

    @property
    def ends(self) -> str:
        """How the script is over."""
        if self.what == "stall":
            return "stall"
        return "cut" if self.after is not None else "end"


def read_options(model: str) -> EchoOptions:
    """Read ``slow?ttft=500ms&rate=50``. Raises Refused, which says what is allowed."""
    what, _, query = model.partition("?")
    if what not in OPTIONS:
        names = ", ".join(f"echo:{name}" for name in OPTIONS)
        raise Refused(f"There is no 'echo:{what}'. There are: {names}.", param="model")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS[what]:
            allowed = ", ".join(OPTIONS[what]) or "no options"
            raise Refused(f"'echo:{what}' has no option '{name[:64]}'; it takes {allowed}.", param="model")
    return _parse_options(what, options)


def _parse_options(what: str, options: dict[str, str]) -> EchoOptions:
    slow = what == "slow"
    echo_options = EchoOptions(
        what,
        _read_seconds(options, "ttft", 0.5 if slow and not options else 0.0),
        _read_number(options, "rate", 20.0 if slow and not options else 0.0, 0.01, 1e6),
        _read_status(what, options),
        str(_read_integer(options, "retry_after", 0, 86_400)) if "retry_after" in options else None,
        _read_integer(options, "after", 0, MOST_CHUNKS) if what == "stall" or "after" in options else None,
    )
    if echo_options.status is not None and echo_options.after is not None:
        raise Refused("'echo:fail' takes 'status' or 'after', not both.", param="model")
    if echo_options.status is None and echo_options.retry_after is not None:
        raise Refused("'echo:fail' takes 'retry_after' with a status only.", param="model")
    return echo_options


def _read_status(what: str, options: dict[str, str]) -> int | None:
    if what != "fail" or ("after" in options and "status" not in options):
        return None
    return _read_integer(options, "status", 300, 599, default=500)


def _read_seconds(options: dict[str, str], name: str, default: float) -> float:
    match = _DURATION.fullmatch(options[name]) if name in options else None
    if name in options and (not match or float(match[1]) > LONGEST_S * (1000 if match[2] == "ms" else 1)):
        raise _bad_option(name, options[name], "a time such as 500ms or 2s, an hour at most")
    return float(match[1]) / (1000 if match[2] == "ms" else 1) if match else default


def _read_number(options: dict[str, str], name: str, default: float, least: float, most: float) -> float:
    if name not in options:
        return default
    match = _DURATION.fullmatch(options[name])
    if not match or match[2] or not least <= float(match[1]) <= most:
        raise _bad_option(name, options[name], f"a number from {least:g} to {most:g}")
    return float(match[1])


def _read_integer(options: dict[str, str], name: str, least: int, most: int, default: int = 0) -> int:
    written = options.get(name, str(default))
    if not (written.isascii() and written.isdigit() and len(written) <= 6 and least <= int(written) <= most):
        raise _bad_option(name, written, f"a whole number from {least} to {most}")
    return int(written)


def _bad_option(name: str, written: str, allowed: str) -> Refused:
    return Refused(f"Invalid value for the echo option '{name}': {written[:64]!r}; expected {allowed}.", param="model")


# -- the answer


@frozen
class EchoAnswer:
    """One answer: a text, or one call of a tool; and the reason why it ended."""

    text: str = ""
    tool: str | None = None
    arguments: str = ""
    finish: str = "stop"

    @property
    def tokens(self) -> int:
        """By the estimate: four bytes a token."""
        return estimate_tokens(self.text) + (estimate_tokens(self.tool + self.arguments) if self.tool else 0)


def choose_answer(echo_options: EchoOptions, body: Json) -> EchoAnswer:
    """The answer to the call in ``body``. Raises Refused where it must call a tool and none is offered."""
    messages = objects(body.get("messages"))
    answered = bool(messages) and messages[-1].get("role") == "tool"
    if echo_options.what == "tools" and body.get("tool_choice") != "none" and not answered:
        function = _offered_function(body)
        arguments = sample_value(function.get("parameters") or {"type": "object"})
        return EchoAnswer(tool=text(function.get("name")), arguments=_compact_json(arguments), finish="tool_calls")
    reply = _last_text(messages, "tool" if answered else "user")
    return _end_answer(_as_json(body, reply) if echo_options.what == "json" else reply, body)


def _last_text(messages: list[Json], role: str) -> str:
    """The last message of ``role``, or the last of all: its texts, and the names of what is attached."""
    last = next((m for m in reversed(messages) if m.get("role") == role), messages[-1] if messages else {})
    content = last.get("content")
    return content if isinstance(content, str) else "\n".join(map(_describe_part, objects(content)))


def _describe_part(part: Json) -> str:
    kind = text(part.get("type"))
    if kind == "text":
        return text(part.get("text"))
    name = text(obj(part.get("file")).get("filename")) or text(obj(part.get("input_audio")).get("format"))
    return f"[{kind} {name}]" if name else f"[{kind}]"


def _as_json(body: Json, reply: str) -> str:
    wanted = obj(body.get("response_format"))
    schema = obj(wanted.get("json_schema")).get("schema")
    return _compact_json(sample_value(schema) if schema is not None else {"echo": reply})


def _offered_function(body: Json) -> Json:
    """The function that ``tool_choice`` names, or the first one offered."""
    functions = [obj(tool.get("function")) for tool in objects(body.get("tools")) if tool.get("function")]
    choice = obj(body.get("tool_choice"))
    among = objects(obj(choice.get("allowed_tools")).get("tools"))
    named = obj((among[0] if among else choice).get("function")).get("name")
    offered = next((f for f in functions if named is None or f.get("name") == named), None)
    if offered is None:
        missing = f"a tool named {str(named)[:64]!r}" if named else "a function"
        raise Refused(f"'echo:tools' needs {missing} in 'tools'.", param="tools")
    return offered


def _end_answer(reply: str, body: Json) -> EchoAnswer:
    """``reply`` up to the first stop sequence, within the caller's token limit and ``MOST_TEXT``."""
    stops = body.get("stop")
    for stop in stops if isinstance(stops, list) else [stops]:
        reply = reply.partition(stop)[0] if stop and isinstance(stop, str) else reply
    caps = [cap for name in ("max_completion_tokens", "max_tokens") if isinstance(cap := body.get(name), int)]
    data = reply.encode("utf-8", "replace")
    size = min([MOST_TEXT // _choice_count(body), *(4 * max(0, cap) for cap in caps[:1])])
    if len(data) <= size:
        return EchoAnswer(reply)
    return EchoAnswer(data[:size].decode("utf-8", "ignore"), finish="length")


def _choice_count(body: Json) -> int:
    n = body.get("n")
    return n if isinstance(n, int) and 1 <= n <= 128 else 1


def _compact_json(value: Any) -> str:
    return jsontext.dumps(value).decode()


# -- the wire


@frozen
class EchoWriter:
    """Writes one answer as OpenAI would."""

    echo_options: EchoOptions
    answer: EchoAnswer
    body: Json
    head: Json
    call_id: str
    include_usage: bool

    def whole_answer(self) -> Json:
        """A ``chat.completion`` object."""
        choices = [
            {"index": i, "message": self._answer_message(), "logprobs": None, "finish_reason": self.answer.finish}
            for i in range(_choice_count(self.body))
        ]
        more = {"usage": tokens.render_usage(self.usage), "system_fingerprint": FINGERPRINT}
        return {**self.head, "object": "chat.completion", "choices": choices, **more}

    @property
    def usage(self) -> Usage:
        """By the documented estimate."""
        return Usage(tokens.estimate_prompt(self.body), self.answer.tokens * _choice_count(self.body))

    def _answer_message(self) -> Json:
        message: Json = {"role": "assistant", "content": self.answer.text, "refusal": None}
        if self.answer.tool:
            function = {"name": self.answer.tool, "arguments": self.answer.arguments}
            call = {"id": self.call_id, "type": "function", "function": function}
            message.update(content=None, tool_calls=[call])
        return message

    def stream_steps(self) -> Iterator[Step]:
        """The frames of a stream, each with the seconds before it: role, pieces, finish, usage, ``[DONE]``."""
        indexes = range(_choice_count(self.body))
        pieces = self._answer_pieces(MOST_CHUNKS // len(indexes))
        yield (
            self.echo_options.ttft_s,
            b"".join(self._encode_delta(i, {"role": "assistant", "content": ""}) for i in indexes),
        )
        for weight, delta in pieces[: self.echo_options.after]:
            delay = weight / self.echo_options.rate if self.echo_options.rate else 0.0
            yield delay, b"".join(self._encode_delta(i, delta) for i in indexes)
        if self.echo_options.ends == "end":
            last = b"".join(self._encode_delta(i, {}, self.answer.finish) for i in indexes)
            yield 0.0, last + self._encode_chunk([], usage=tokens.render_usage(self.usage)) + b"data: [DONE]\n\n"

    def _answer_pieces(self, most: int) -> list[tuple[int, Json]]:
        """Deltas with their weight in tokens."""
        if not self.answer.tool:
            return [(weight, {"content": piece}) for weight, piece in cut_text(self.answer.text, most)]
        function = {"name": self.answer.tool, "arguments": ""}
        opening = {"index": 0, "id": self.call_id, "type": "function", "function": function}
        rest = (
            (w, {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
            for w, piece in cut_text(self.answer.arguments, most)
        )
        return [(1, {"tool_calls": [opening]}), *rest]

    def _encode_delta(self, index: int, delta: Json, finish: str | None = None) -> bytes:
        return self._encode_chunk(
            [choice_delta(delta, index, finish)], **({"usage": None} if self.include_usage else {})
        )

    def _encode_chunk(self, choices: list[Json], **more: Any) -> bytes:
        return sse.encode_event(
            jsontext.dumps(chunk_object(self.head, choices, system_fingerprint=FINGERPRINT, **more))
        )


def cut_text(reply: str, most: int) -> list[tuple[int, str]]:
    """A text in at most about ``most`` pieces of whole characters, each with its tokens: one token, four bytes."""
    data = reply.encode("utf-8", "replace")
    width = 4 * max(1, -(-len(data) // (4 * most)))
    pieces, at = [], 0
    while at < len(data):
        end = min(at + width, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:  # in the middle of a character
            end -= 1
        pieces.append((tokens.estimate_bytes(end - at), data[at:end].decode()))
        at = end
    return pieces


# -- the provider


class Echo:
    """The codec of ``echo:``."""

    def open(self, request: ChatRequest, deployment: Deployment, now: int, new_id: NewId) -> ChatExchange:
        """Write the script. Raises Refused for options that cannot be read or met."""
        echo_options = read_options(deployment.model)
        body = merge_body(request.body, request.extra_body)
        head = {"id": new_id("chatcmpl-"), "created": now, "model": deployment.name}
        if echo_options.status is not None:
            script = failing_script(echo_options)
        else:
            writer = EchoWriter(
                echo_options, choose_answer(echo_options, body), body, head, new_id("call_"), request.include_usage
            )
            script = streaming_script(writer) if request.stream else whole_script(writer)
        return CompatibleExchange(PROFILES["echo"], request, deployment, now, new_id, script)


def failing_script(echo_options: EchoOptions) -> ScriptedResponse:
    """An error status before anything else, in OpenAI's shape."""
    status = echo_options.status or 500
    message = f"echo was asked to fail with status {status}."
    error = {"message": message, "type": "server_error", "param": None, "code": None}
    waiting = (("retry-after", echo_options.retry_after),) if echo_options.retry_after else ()
    headers = (("content-type", "application/json"), *waiting)
    return ScriptedResponse(status, headers, ((echo_options.ttft_s, jsontext.dumps({"error": error})),))


def whole_script(writer: EchoWriter) -> ScriptedResponse:
    """A JSON answer after all its time; one that is to break off does so in the middle."""
    echo_options, data = writer.echo_options, jsontext.dumps(writer.whole_answer())
    seconds = echo_options.ttft_s + (writer.answer.tokens / echo_options.rate if echo_options.rate else 0.0)
    sent = data if echo_options.ends == "end" else data[: len(data) // 2]
    return ScriptedResponse(200, (("content-type", "application/json"),), ((seconds, sent),), echo_options.ends)


def streaming_script(writer: EchoWriter) -> ScriptedResponse:
    """A stream, one step for each piece."""
    headers = (("content-type", "text/event-stream"),)
    return ScriptedResponse(200, headers, tuple(writer.stream_steps()), writer.echo_options.ends, stream=True)


def provider() -> Provider:
    """The provider ``echo``."""
    return Provider("echo", Echo())
