"""The codec for OpenAI-compatible providers: one language, and a row for what each does differently.

``provider("groq")`` gives the provider of that row; a name without a row is a server known by its address only
(``FWD_COMPAT``). https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, evolve, field, frozen
from msgspec import structs

from fwd_server.providers import listing, request_headers
from fwd_server.providers import model_catalog as models
from fwd_server.providers.base import (
    AmendedRequest,
    ChatExchange,
    NewId,
    Provider,
    ScriptedResponse,
    UpstreamRequest,
    merge_body,
)
from fwd_server.providers.compatible.answer import are_call_ids_unique, is_broken, read_usage, tidy_whole
from fwd_server.providers.compatible.embeddings import CompatibleEmbeddings
from fwd_server.providers.compatible.error_text import is_failure
from fwd_server.providers.compatible.failure import read_failure, read_failure_inside
from fwd_server.providers.compatible.plain import PlainRules, find_rules, judge_answer, read_later, splice_model
from fwd_server.providers.compatible.profile import ProviderProfile, RequestDraft
from fwd_server.providers.compatible.profiles import PROFILES, find_profile
from fwd_server.providers.compatible.request import edit_request
from fwd_server.providers.compatible.stream import CompatibleDecoder
from fwd_server.providers.lenient import load, objects
from fwd_server.providers.model_catalog import ModelCatalog
from fwd_server.providers.unread_fields import sum_up
from fwd_server.values.chat import ChatRequest, ChatResponse, Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import ErrorKind, UpstreamError, upstream_failure
from fwd_server.wire import jsontext

_MOST_RULES: Final = 1024

__all__ = ["PROFILES", "CompatibleChat", "CompatibleExchange", "ProviderProfile", "provider"]


def provider(name: str, catalog: Callable[[], ModelCatalog] = models.load_catalog) -> Provider:
    """The OpenAI-compatible provider of that name; ``catalog`` is asked for what its models can do."""
    profile = find_profile(name)
    return Provider(name, CompatibleChat(profile, catalog), CompatibleEmbeddings(profile), listing.ModelList())


@frozen
class CompatibleChat:
    """Chat completions for one row."""

    profile: ProviderProfile
    catalog: Callable[[], ModelCatalog] = models.load_catalog
    _rules: dict[str, PlainRules] = field(factory=dict, init=False, eq=False, repr=False)  # by model

    def open(self, request: ChatRequest, deployment: Deployment, now: int, new_id: NewId) -> ChatExchange:
        """Edit the caller's object for this provider. Raises Refused."""
        dropped: tuple[str, ...] = ()
        body = None if request.plain is None else self._splice(request, deployment.model)
        if body is None:
            draft = RequestDraft(dict(request.body), deployment.model, self.catalog, self._reasoning_name(deployment))
            edit_request(self.profile, draft)
            body, dropped = jsontext.dumps(merge_body(draft.body, request.extra_body)), sum_up(draft.dropped)
        headers = request_headers.json_headers(deployment.endpoint)
        sent = UpstreamRequest("/chat/completions", headers, body, stream=request.stream)
        return CompatibleExchange(self.profile, request, deployment, now, new_id, sent, dropped)

    def _splice(self, request: ChatRequest, model: str) -> bytes | None:
        """The body of a plain call, if nothing but the model's name has to change."""
        rules = self._rules.get(model)
        if rules is None:
            if len(self._rules) >= _MOST_RULES:  # callers choose the names, so there must be a bound
                self._rules.clear()
            rules = self._rules[model] = find_rules(self.profile, model, self.catalog)
        return splice_model(request, self.profile, rules)

    def _reasoning_name(self, deployment: Deployment) -> str:
        endpoint = deployment.endpoint
        name = endpoint.reasoning or endpoint.info.reasoning
        return "" if name == "none" else name


@define(eq=False)
class CompatibleExchange:
    """One attempt at one OpenAI-compatible provider."""

    profile: ProviderProfile
    _call: ChatRequest
    _deployment: Deployment
    _now: int
    _new_id: NewId
    request: UpstreamRequest | ScriptedResponse
    dropped: tuple[str, ...] = field(default=())

    def answer(self, body: bytes) -> ChatResponse:
        """A whole answer; its own bytes where nothing in it has to change. Raises UpstreamError (F20, F21)."""
        usage = judge_answer(body) if self.profile.exact else None
        return self.read_exactly(body) if usage is None else ChatResponse(None, usage, body, read_later)

    def read_exactly(self, body: bytes) -> ChatResponse:
        """A whole answer, read as an object. Raises UpstreamError."""
        data = load(body)
        if not isinstance(data, dict):
            raise upstream_failure("bad_payload")
        if is_failure(data):
            raise self._read_failure(data)
        choices = objects(data.get("choices"))
        whole = choices == data.get("choices") and all(isinstance(choice.get("message"), dict) for choice in choices)
        if not choices or not whole:
            raise upstream_failure("bad_payload", "The provider's answer has no choices.")
        failed = next(filter(is_broken, choices), None)
        if failed is not None:
            raise self._read_failure(failed)
        return self._tidy_answer(data, body)

    def _tidy_answer(self, data: Json, body: bytes) -> ChatResponse:
        raw = body if jsontext.is_plain(body) else None
        if self.profile.exact and are_call_ids_unique(data):
            return ChatResponse(data, read_usage(self.profile, data.get("usage"), data.get("service_tier")), raw)
        tidy = tidy_whole(self.profile, data, self._default_head, self._new_id)
        usage = read_usage(self.profile, tidy.get("usage"), tidy.get("service_tier"))
        return ChatResponse(tidy, usage, raw if tidy == data else None)

    def decoder(self) -> CompatibleDecoder:
        """A decoder for the streamed answer."""
        return CompatibleDecoder(self.profile, self._call, self._default_head, self._new_id, self._read_failure)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError | AmendedRequest:
        """Read a status that is not 200; an older server that refuses ``stream_options`` is asked without."""
        failed = read_failure(self.profile, self._deployment.endpoint, status, headers, body)
        if failed.kind is ErrorKind.INVALID_REQUEST and b"stream_options" in body and not self.profile.exact:
            plain = self._without_stream_options()
            return AmendedRequest(plain, failed) if plain else failed
        return failed

    def _without_stream_options(self) -> CompatibleExchange | None:
        if not isinstance(self.request, UpstreamRequest) or b'"stream_options":' not in self.request.body:
            return None
        sent = jsontext.loads(self.request.body)
        rest = {key: value for key, value in sent.items() if key != "stream_options"}
        return evolve(self, request=structs.replace(self.request, body=jsontext.dumps(rest)))

    @property
    def _default_head(self) -> Json:
        return {"created": self._now, "model": self._deployment.model}

    def _read_failure(self, data: object) -> UpstreamError:
        return read_failure_inside(self.profile, self._deployment.endpoint, data)
