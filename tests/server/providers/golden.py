"""The wire fixtures, played through a codec and the dialect: what goes upstream, and what the caller gets back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
from attrs import field, frozen

from fwd_server.callers import openai_chat as dialect
from fwd_server.callers import openai_embeddings as embeddings_dialect
from fwd_server.callers.base import StreamWriter
from fwd_server.callers.openai_errors import error_object
from fwd_server.providers import PROVIDERS, compatible
from fwd_server.providers.base import (
    ChatCodec,
    ChatExchange,
    EmbeddingsExchange,
    NewId,
    Provider,
    StreamDecoder,
    UpstreamRequest,
)
from fwd_server.values.chat import ChatRequest, Chunk, End, StreamEvent
from fwd_server.values.deployment import Deployment, Endpoint
from fwd_server.values.embeddings import EmbeddingsRequest
from fwd_server.values.errors import GatewayError, UpstreamError
from fwd_server.values.provider_info import provider_info
from fwd_server.values.secret import Secret

ROOT = Path(__file__).parents[2] / "golden"
CLOCK = 1795305600

# The fixtures' names of providers that have another one here, their keys and headers, and a model for answers.
NAMES = {"gemini": "google", "openai_compatible": "local"}
KEYS = {"anthropic": "ANTHROPIC_API_KEY", "google": "GOOGLE_API_KEY"}
HEADERS = {"openrouter": (("HTTP-Referer", "https://example.com"), ("X-OpenRouter-Title", "Forwarder"))}
MODELS = {"openai": "gpt-6-luna", "anthropic": "claude-opus-5-5", "google": "gemini-3.5-flash"}


def fresh_ids() -> NewId:
    """Ids as the fixtures have them: call_fx_0, call_fx_1, ...; chatcmpl-fx."""
    counts: dict[str, int] = {}

    def new_id(prefix: str) -> str:
        if prefix == "chatcmpl-":
            return "chatcmpl-fx"
        counts[prefix] = counts.get(prefix, -1) + 1
        return f"{prefix}fx_{counts[prefix]}"

    return new_id


def provider(name: str) -> Provider:
    """The provider of that name, or the server that is only known by its address."""
    return PROVIDERS.get(name) or compatible.provider(name)


def deployment(name: str, model: str) -> Deployment:
    """The provider as the fixtures have it configured."""
    key = Secret("sk-canary-0123456789", KEYS.get(name, "API_KEY"))
    return Deployment(
        Endpoint(name, provider_info(name).base_url, key, enabled=True, headers=HEADERS.get(name, ())), model
    )


def open_exchange(name: str, request: ChatRequest, codec: ChatCodec | None = None) -> ChatExchange:
    """A call, translated for a provider."""
    prefix, colon, rest = (request.model or "").partition(":")
    model = rest if colon and prefix in (name, *NAMES) else (request.model or "")
    codec = codec or provider(name).chat
    assert codec is not None
    return codec.open(request, deployment(name, model), CLOCK, fresh_ids())


def chat_request(**body: Any) -> ChatRequest:
    """A call as the dialect reads it."""
    return dialect.parse_request(orjson.dumps({"messages": [{"role": "user", "content": "Hi"}], **body}))


@frozen
class Case:
    """One entry of the manifest, with its files."""

    name: str
    provider: str
    kind: str
    root: Path = field(repr=False)
    files: Mapping[str, str] = field(repr=False)
    notes: str = ""
    estimates: tuple[str, ...] = ()

    def read(self, role: str) -> bytes:
        """A file's bytes."""
        return (self.root / self.files[role]).read_bytes()

    def load(self, role: str) -> Any:
        """A file's JSON."""
        return orjson.loads(self.read(role))

    @property
    def request(self) -> ChatRequest:
        """The caller's request, or any one where the case has none."""
        if "client_request" in self.files:
            return dialect.parse_request(self.read("client_request"))
        model = MODELS.get(self.provider, "some-model")
        return chat_request(model=f"{self.provider}:{model}", stream=self.kind.startswith("stream"))

    def exchange(self) -> ChatExchange:
        """The exchange for the case's request."""
        return open_exchange(self.provider, self.request)


def cases(*kinds: str, surface: str = "chat") -> list[Case]:
    """The cases of some kinds for which there is a codec: the wire fixtures, and our own for further rows."""
    found = [case for root in (ROOT / "wire", ROOT / "providers") for case in _listed(root, surface)]
    return [c for c in found if c.kind in kinds and provider(c.provider).chat and _is_upstream(c)]


def _listed(root: Path, surface: str) -> list[Case]:
    manifest = orjson.loads((root / "manifest.json").read_bytes())
    return [_case(entry, root) for entry in manifest["cases"] if entry["surface"] == surface]


def _case(entry: Mapping[str, Any], root: Path) -> Case:
    name = entry["provider"]
    estimates = tuple(entry.get("estimates", ()))
    kind, notes = entry["kind"], entry.get("notes", "")
    return Case(entry["name"], NAMES.get(name, name), kind, root, entry["files"], notes, estimates)


def _is_upstream(case: Case) -> bool:
    """Not an error that the gateway raises itself."""
    return any(role.startswith("upstream") for role in case.files)


def embeddings_request(case: Case) -> EmbeddingsRequest:
    """The call of a case of embeddings."""
    return embeddings_dialect.parse_request(case.read("client_request"))


def embeddings_exchange(case: Case) -> EmbeddingsExchange:
    """The exchange for a case of embeddings."""
    request = embeddings_request(case)
    codec = provider(case.provider).embeddings
    assert codec is not None
    return codec.open(request, deployment(case.provider, (request.model or "").partition(":")[2]))


# -- what goes up


def shown_request(case: Case, exchange: ChatExchange | EmbeddingsExchange) -> dict[str, Any]:
    """The upstream request as the fixtures write it."""
    request = exchange.request
    assert isinstance(request, UpstreamRequest)
    base = provider_info(case.provider).base_url.partition("://")[2]
    headers = {name: value.display_text() if isinstance(value, Secret) else value for name, value in request.headers}
    path = "/" * ("/" in base) + base.partition("/")[2] + request.path
    return {"method": request.method, "path": path, "headers": headers, "body": orjson.loads(request.body)}


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Header names are compared without their case; the fixtures have another name for Google's key."""
    return {name.lower(): value.replace("$GEMINI_API_KEY", "$GOOGLE_API_KEY") for name, value in headers.items()}


# -- what comes back


def play(decoder: StreamDecoder, pieces: Iterable[bytes]) -> list[StreamEvent]:
    """All events of a stream."""
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


def rendered(events: Iterable[StreamEvent], request: ChatRequest) -> bytes:
    """What the caller gets, without the receipt."""
    writer = dialect.OpenAIStreamWriter(request)
    return b"".join(_rendered(event, writer) for event in events)


def _rendered(event: StreamEvent, writer: StreamWriter) -> bytes:
    if isinstance(event, Chunk):
        return writer.write_chunks([event])
    return writer.write_end({}).partition(b"\n\n")[2] if isinstance(event, End) else writer.write_error(event)


def frames(stream: bytes) -> list[Any]:
    """The frames of a rendered stream, as parsed JSON; comments do not count."""
    lines = (frame.removeprefix(b"data: ") for frame in stream.split(b"\n\n") if frame and frame[:1] != b":")
    return [line.decode() if line.strip() == b"[DONE]" else orjson.loads(line) for line in lines if line.strip()]


def without_estimates(case: Case, values: list[Any]) -> list[Any]:
    """The same with every figure that is the gateway's own count replaced, once it is a positive whole number."""
    for value in values:
        for path in case.estimates:
            _replace(value, path.split("."))
    return values


def _replace(value: Any, path: list[str]) -> None:
    for step in path[:-1]:
        value = (value.get(step) if isinstance(value, dict) else None) or {}
    if path[-1] in value:
        assert isinstance(value[path[-1]], int)
        assert value[path[-1]] > 0
        value[path[-1]] = "estimate"


def shown_error(error: GatewayError) -> dict[str, Any]:
    """A failure as the fixtures write it, but for the headers the gateway adds to every answer."""
    headers = dict(error.all_headers())
    if isinstance(error, UpstreamError) and error.upstream_request_id:
        headers["x-fwd-upstream-request-id"] = error.upstream_request_id
    return {"status": error.status, "headers": headers, "body": error_object(error)}


def failure(case: Case, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """What a provider's failure is read as; one in an answer of status 200 is found when that is read."""
    exchange = case.exchange()
    error: object = None
    if status != 200:
        error = exchange.error(status, headers, body)
    else:
        try:
            exchange.answer(body)
        except UpstreamError as found:
            error = found
    assert isinstance(error, UpstreamError)
    return error
