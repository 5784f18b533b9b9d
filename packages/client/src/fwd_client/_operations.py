"""One pure function an endpoint: what to send, and how to read the answer."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from attrs import evolve, field, frozen

from fwd_client import _decode
from fwd_client._messages import Messages
from fwd_client._params import CallOptions, ChatParams, EmbeddingParams
from fwd_client._value import Value
from fwd_client._values import Answer, Chat, Embeddings, Health, Model, Models, Plan

T = TypeVar("T")
A = TypeVar("A", bound=Answer)
Texts = str | Iterable[str] | Iterable[int] | Iterable[Iterable[int]]


@frozen
class Reply:
    """The head of an answer with lower-case header names, and its body: bytes, or for a stream where it flows from."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    source: Any = None
    retries: int = 0


@frozen
class Operation(Generic[T]):
    """A call, ready to be sent: `read` makes its result from the reply."""

    method: str
    path: str
    read: Callable[[Reply], T]
    body: bytes | None = None
    headers: Mapping[str, str] = field(factory=dict)
    stream: bool = False
    needs_key: bool = True
    is_answer: Callable[[int], bool] = lambda status: 200 <= status < 300


def chat(messages: Messages, params: ChatParams) -> Operation[Chat]:
    """POST /v1/chat/completions, answered as one JSON object."""
    return Operation(
        method="POST",
        path="/v1/chat/completions",
        read=partial(_read_answer, Chat),
        body=encode_body(chat_body(messages, params)),
        headers=_call_headers(params),
    )


def explain(messages: Messages, params: ChatParams) -> Operation[Plan]:
    """POST /v1/chat/completions as a dry run: the gateway returns its plan and sends nothing to providers."""
    operation = chat(messages, params)
    return Operation(
        method=operation.method,
        path=operation.path,
        read=partial(_read_answer, Plan),
        body=operation.body,
        headers={**operation.headers, "x-fwd-dry-run": "true"},
    )


def embed(texts: Texts, params: EmbeddingParams) -> Operation[Embeddings]:
    """POST /v1/embeddings."""
    # An iterator is read once; the call may be repeated.
    inputs = texts if isinstance(texts, str) else list(texts)
    return Operation(
        method="POST",
        path="/v1/embeddings",
        read=partial(_read_answer, Embeddings),
        body=encode_body({"input": inputs, **_body_fields(params, EmbeddingParams)}),
        headers=_call_headers(params),
    )


def chat_stream(messages: Messages, params: ChatParams) -> Operation[Reply]:
    """POST /v1/chat/completions, answered as a stream: the reply's source gives its bytes."""
    return Operation(
        method="POST",
        path="/v1/chat/completions",
        read=read_stream_head,
        body=encode_body({**chat_body(messages, params), "stream": True}),
        # Packed, the pieces would wait in buffers on the way until there is enough to unpack.
        headers={**_call_headers(params), "accept-encoding": "identity"},
        stream=True,
        # A stream has begun or has not: another 2xx is no stream.
        is_answer=lambda status: status == 200,
    )


def models() -> Operation[Models]:
    """GET /v1/models."""
    return Operation(method="GET", path="/v1/models", read=partial(_read_answer, Models))


def model(model_id: str) -> Operation[Model]:
    """GET /v1/models/{id}; ids may hold slashes and colons."""
    path = f"/v1/models/{quote(model_id, safe='/:')}"
    return Operation(method="GET", path=path, read=partial(_read_answer, Model))


def health() -> Operation[Health]:
    """GET /health: whether the process is running. It needs no key."""
    return Operation(method="GET", path="/health", read=partial(_read_answer, Health), needs_key=False)


def ready() -> Operation[Health]:
    """GET /ready: whether it can answer calls. A 503 is an answer too. It needs no key, but reports more with one."""
    return Operation(
        method="GET",
        path="/ready",
        read=partial(_read_answer, Health),
        needs_key=False,
        # "Not ready" is what was asked for, so it is no error.
        is_answer=lambda status: status in {200, 503},
    )


def chat_body(messages: Messages, params: ChatParams) -> dict[str, Any]:
    """The request as a plain object: None counts as not given, a text is one user message."""
    return {"messages": message_list(messages), **_body_fields(params, ChatParams)}


def message_list(messages: Messages) -> list[Any]:
    """The messages as a list of their own; a text is one user message."""
    # A single message without its list is the usual slip, and would be sent as its keys.
    if isinstance(messages, (Mapping, bytes)) or not isinstance(messages, Iterable):
        raise TypeError(f"messages must be a text or a list of messages, not {type(messages).__name__}")
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)


def _body_fields(params: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """Those of the arguments that belong into the body; `TypeError` for one that the kind of call does not have."""
    unknown = params.keys() - kind.__optional_keys__
    # A misspelled argument would reach the provider, which may ignore it in silence.
    if unknown:
        raise TypeError(_unknown_argument(min(unknown), kind))
    ours = CallOptions.__optional_keys__
    return {name: value for name, value in params.items() if name not in ours and value is not None}


def _unknown_argument(name: str, kind: Any) -> str:
    # Sorted, so that the advice is the same every time.
    near = difflib.get_close_matches(name, sorted(kind.__optional_keys__), n=1)
    advice = f" Did you mean {near[0]!r}?" if near else " Fields of a provider go into extra_body={...}."
    return f"got an unexpected keyword argument {name!r}.{advice}"


def _call_headers(params: CallOptions) -> dict[str, str]:
    headers = {"x-fwd-strict": "true"} if params.get("strict") else {}
    return headers if params.get("fallback", True) else {**headers, "x-fwd-fallback": "none"}


def encode_body(body: Any) -> bytes:
    """Compact JSON; values of this package may stand anywhere in it, as in a list of messages."""
    # NaN is no JSON; every gateway refuses it, with less to go by than an error here.
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_wire_form)
    return text.encode()


def _wire_form(value: Any) -> Any:
    # The message of an answer goes back as it came, unknown fields included.
    if isinstance(value, Value):
        return value.to_dict()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be sent in a request: {value!r}")


def _read_answer(cls: type[A], reply: Reply) -> A:
    known = _decode.read_receipt(reply.status, reply.headers, reply.retries)
    answer = _decode.read_value(cls, _decode.parse_json(reply.body), receipt=known)
    # In the receipt as well, so that whoever keeps receipts needs nothing else.
    usage = getattr(answer, "usage", None)
    return evolve(answer, receipt=evolve(known, usage=usage)) if usage else answer


def read_stream_head(reply: Reply) -> Reply:
    """Only the head of a stream is read here; its body is read by the iteration."""
    return reply
