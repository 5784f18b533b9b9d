"""Asking a provider which models it has: one request, and the names in whatever comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from fwd_server.providers import lenient, request_headers
from fwd_server.providers.base import Header, UpstreamRequest
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import upstream_failure

MOST_NAMES: Final = 5000


@frozen
class ModelList:
    """How a provider's list is asked for and read.

    ``entries`` is the field that holds the list, ``name`` the field of an entry that holds the model's name, which
    may begin with ``prefix``; ``usable`` says whether calls can be made to an entry. ``live`` ones are never kept.
    """

    path: str
    auth: Callable[[Endpoint], tuple[Header, ...]] = request_headers.bearer
    entries: str = "data"
    name: str = "id"
    prefix: str = ""
    usable: Callable[[Json], bool] = lambda entry: True
    live: bool = False

    def request(self, endpoint: Endpoint) -> UpstreamRequest:
        """What to send."""
        configured = ((name.lower(), value) for name, value in endpoint.headers)
        headers = (("accept", "application/json"), *self.auth(endpoint), *configured)
        return UpstreamRequest(self.path, headers, b"", method="GET")

    def read(self, body: bytes) -> tuple[str, ...]:
        """The names, in the provider's order. Raises UpstreamError: this is no list."""
        said = lenient.load(body)
        listed = said if isinstance(said, list) else lenient.obj(said).get(self.entries)
        if not isinstance(listed, list):
            raise upstream_failure("bad_payload")
        usable = filter(self.usable, lenient.objects(listed))
        names = (lenient.text(entry.get(self.name)).removeprefix(self.prefix) for entry in usable)
        return tuple(dict.fromkeys(filter(None, names)))[:MOST_NAMES]


def _anthropic(endpoint: Endpoint) -> tuple[Header, ...]:
    version: Header = ("anthropic-version", "2023-06-01")
    return (("x-api-key", endpoint.key), version) if endpoint.key else (version,)


def _google(endpoint: Endpoint) -> tuple[Header, ...]:
    return (("x-goog-api-key", endpoint.key),) if endpoint.key else ()


_GOOGLE_METHODS: Final = frozenset({"generateContent", "embedContent", "batchEmbedContents"})


def _answers(entry: Json) -> bool:
    methods = entry.get("supportedGenerationMethods")
    return not isinstance(methods, list) or any(name in methods for name in _GOOGLE_METHODS)


# https://platform.openai.com/docs/api-reference/models/list, and what everybody made after it
COMPATIBLE: Final = ModelList("/models")
# https://platform.claude.com/docs/en/api/models/list
ANTHROPIC: Final = ModelList("/models?limit=1000", _anthropic)
# https://ai.google.dev/api/models#method:-models.list
GOOGLE: Final = ModelList(
    "/models?pageSize=1000", _google, entries="models", name="name", prefix="models/", usable=_answers
)
# https://github.com/ollama/ollama/blob/main/docs/api.md#list-local-models
OLLAMA: Final = ModelList("/api/tags", entries="models", name="name", live=True)
