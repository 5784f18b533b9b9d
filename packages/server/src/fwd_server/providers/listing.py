"""Asking a provider which models it has: one request, and the names in whatever comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from fwd_server.providers import lenient, request_headers
from fwd_server.providers.base import UpstreamRequest
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import upstream_failure

# OpenRouter lists some hundreds; a bound keeps a broken server from filling the memory.
MOST_NAMES: Final = 5000


@frozen
class ModelList:
    """How a provider's list is requested and read; its ``ProviderInfo`` knows the path and how the key is sent.

    Without settings it is OpenAI's list, which Claude's and those of all compatible servers look like:
    https://platform.openai.com/docs/api-reference/models/list, https://platform.claude.com/docs/en/api/models/list.
    ``entries`` is the field that holds the list, ``name`` the field of an entry that holds the model's name, which
    may begin with ``prefix``; ``usable`` says whether calls can be made to an entry. ``live`` ones are never kept.
    """

    entries: str = "data"
    name: str = "id"
    prefix: str = ""
    usable: Callable[[Json], bool] = lambda entry: True
    live: bool = False

    def request(self, endpoint: Endpoint) -> UpstreamRequest:
        """What to send."""
        configured = ((name.lower(), value) for name, value in endpoint.headers)
        info = endpoint.info
        key = request_headers.key_header(endpoint)
        headers = (("accept", "application/json"), *key, *info.headers, *configured)
        return UpstreamRequest(info.models_path, headers, b"", method="GET")

    def read(self, body: bytes) -> tuple[str, ...]:
        """The names, in the provider's order. Raises UpstreamError: this is no list."""
        response = lenient.load(body)
        listed = response if isinstance(response, list) else lenient.obj(response).get(self.entries)
        if not isinstance(listed, list):
            raise upstream_failure("bad_payload")
        usable = filter(self.usable, lenient.objects(listed))
        names = (lenient.text(entry.get(self.name)).removeprefix(self.prefix) for entry in usable)
        # Without duplicates, but in the provider's order, which is often the order of importance.
        return tuple(dict.fromkeys(filter(None, names)))[:MOST_NAMES]


_GOOGLE_METHODS: Final = frozenset({"generateContent", "embedContent", "batchEmbedContents"})


def _takes_calls(entry: Json) -> bool:
    methods = entry.get("supportedGenerationMethods")
    return not isinstance(methods, list) or any(name in methods for name in _GOOGLE_METHODS)


# https://ai.google.dev/api/models#method:-models.list
GOOGLE: Final = ModelList(entries="models", name="name", prefix="models/", usable=_takes_calls)
# https://github.com/ollama/ollama/blob/main/docs/api.md#list-local-models
OLLAMA: Final = ModelList(entries="models", name="name", live=True)
