"""The wire fixtures of the Messages API, played through the translator, a codec and the dialect."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import orjson
from attrs import frozen
from kit.clock import FakeClock
from tests.server.providers import golden
from tests.server.providers.golden import Case

from fwd_server.callers.base import CallHead
from fwd_server.callers.messages import MESSAGES
from fwd_server.callers.messages.request import MessagesRequest, parse_request
from fwd_server.callers.messages.stream import MessagesStreamWriter
from fwd_server.gateway.translation import Translation, Translator
from fwd_server.routing.planner import Routes
from fwd_server.values.call import Call, Caller
from fwd_server.values.chat import Chunk, End, StreamEvent
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import UpstreamError
from fwd_server.values.record import CallRecord

ID = "req_fx_0"
_ANSWERED = re.compile(rb'"model": ?"([^"]+)"')
# Aliases of the fixtures, and the models that answers come from.
MODELS = {**golden.MODELS, "google": "gemini-3.8-flash", "openrouter": "openai/gpt-5.2", "ollama": "qwen3.8:27b"}
NAMED = {**MODELS, "anthropic": "claude-sonnet-5-5", "local": "m"}
HI: dict[str, Any] = {"max_tokens": 1000, "messages": [{"role": "user", "content": "Hi"}]}
# The tools whose names the answers have; the fixtures' requests for answers name none.
TOOL_NAMES = "messages/req-tool-names"


@frozen
class Played:
    """One call at one deployment: its record, and its translation."""

    request: MessagesRequest
    record: CallRecord
    translation: Translation

    @property
    def exchange(self) -> Any:
        return self.translation.exchange

    def whole(self, body: bytes) -> Any:
        """A whole answer as the caller gets it, but for its id."""
        rendered = MESSAGES.render(self.exchange.answer(body), self.request, self.record)
        return without_id(orjson.loads(rendered))

    def stream(self, *pieces: bytes) -> bytes:
        """A stream as the caller gets it, without the receipt."""
        writer = MessagesStreamWriter(self.request, self.record)
        return b"".join(_rendered(event, writer) for event in golden.play(self.exchange.decoder(), pieces))


def _rendered(event: StreamEvent, writer: MessagesStreamWriter) -> bytes:
    if isinstance(event, Chunk):
        return writer.write_chunks([event])
    if isinstance(event, UpstreamError):
        return writer.write_error(event)
    assert isinstance(event, End)
    end = writer.write_end({})
    assert end.count(b": fwd {}\n\n") == 1
    return end.replace(b": fwd {}\n\n", b"")


def play(provider: str, model: str, body: bytes, *, strict: bool = False, **headers: str) -> Played:
    """A call, translated for a deployment."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = parse_request(body, CallHead("/v1/messages", named))
    deployment = golden.deployment(provider, model)
    call = Call(ID, Caller("web"), request, strict=strict)
    translator = Translator({provider: golden.provider(provider)}, FakeClock(golden.CLOCK), golden.fresh_ids())
    routes = Routes({provider: deployment.endpoint})
    seat = routes.find_model(f"{provider}:{model}").lanes[0].seats[0]
    translation = translator.translate_call(call, seat)
    record = CallRecord(call, 0.0)
    record.commit(deployment, translation.dropped, 0.0)
    return Played(request, record, translation)


def play_case(case: Case, entry: dict[str, Any]) -> Played:
    """A case of the fixtures."""
    if "client_request" in case.files:
        body = case.read("client_request")
    else:
        body = orjson.dumps({**HI, "model": "m", "stream": case.kind.endswith("stream")})
    if case.name.endswith("name-restored"):
        tools = orjson.loads((case.root / f"{TOOL_NAMES}.request.json").read_bytes())["tools"]
        body = orjson.dumps({**orjson.loads(body), "tools": tools})
    headers = {"anthropic_version": entry["version"]} if "version" in entry else {}
    headers |= {name.replace("-", "_"): value for name, value in entry.get("client_headers", {}).items()}
    strict = headers.pop("x_fwd_strict", "") == "true"
    return play(case.provider, model_of(case, orjson.loads(body)["model"]), body, strict=strict, **headers)


def model_of(case: Case, named: str) -> str:
    """The model at the provider: behind its prefix, or the one that the alias stands for."""
    prefix, colon, rest = named.partition(":")
    if colon and prefix in (case.provider, *golden.NAMES):
        return rest
    # A capsule names the model that answers: where there is no request, it is the one in the answer.
    said = _ANSWERED.search(case.read("upstream_response")) if "upstream_response" in case.files else None
    return said[1].decode() if said and case.provider == "openrouter" else NAMED[case.provider]


def entries(*kinds: str) -> list[tuple[Case, dict[str, Any]]]:
    """The cases of some kinds with their entries in the manifest."""
    listed = orjson.loads((golden.ROOT / "wire/manifest.json").read_bytes())["cases"]
    own = [entry for entry in listed if entry["surface"] == "messages" and entry["kind"] in kinds]
    return [(golden._case(entry, golden.ROOT / "wire"), entry) for entry in own]


def without_id(message: Any) -> Any:
    """The same with the fixtures' id, where it has one that we make."""
    assert message["id"].startswith("msg_")
    return {**message, "id": "msg_fx_0"}


def frames(stream: bytes) -> list[Any]:
    """The events of a stream, each with its name; comments do not count, and the message's id is the fixtures'."""
    found = []
    for frame in stream.split(b"\n\n"):
        if not frame.strip() or frame.startswith(b":"):
            continue
        name, _, data = frame.partition(b"\ndata: ")
        event = orjson.loads(data)
        assert name == b"event: " + event["type"].encode()
        if event["type"] == "message_start":
            event["message"] = without_id(event["message"])
        found.append(event)
    return found


def without_estimates(case: Case, events: Iterable[Any]) -> list[Any]:
    """Events with every figure that is the gateway's own count replaced; paths begin with the event's type."""
    found = list(events)
    for path in case.estimates:
        kind, _, rest = path.partition(".")
        for event in found:
            if event.get("type") == kind:
                golden._replace(event, rest.split("."))
    return found


def deployment_of(played: Played) -> Deployment:
    assert played.record.deployment is not None
    return played.record.deployment
