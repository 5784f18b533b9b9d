"""What the file changes of the parameters of a call: ``defaults``, ``force``, ``deny`` and ``drop``.

They are in the caller's language, at its top level, and are applied to the call before it is translated. The two names
of the longest answer are one parameter: a bound must not be passed by under the other name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec
from attrs import evolve, frozen

from fwd_server.routing.table import Change, Changes
from fwd_server.values.chat import ChatBody, ChatRequest, Json
from fwd_server.values.embeddings import EmbeddingsBody, EmbeddingsRequest
from fwd_server.values.errors import Refused

_MAX_TOKENS: Final = ("max_completion_tokens", "max_tokens")
_EMBEDDINGS_FIELDS: Final = frozenset(field.name for field in attrs.fields(EmbeddingsBody))


@frozen
class ChangedRequest:
    """A call as the file wants it; ``dropped`` and ``changed`` are the parameters that were left out or set."""

    request: ChatRequest | EmbeddingsRequest
    dropped: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def change_request(request: ChatRequest | EmbeddingsRequest, changes: Changes) -> ChangedRequest:
    """Apply the changes of a deployment. Raises Refused (``parameter_not_allowed``)."""
    check_denied(request, (name for name, change in changes.items() if change.action == "deny"))
    _check_extra_body(request.extra_body, changes)
    # A copy: another deployment of the plan may have other changes, or none.
    body = dict(request.body)
    dropped: list[str] = []
    changed: list[str] = []
    for name, change in changes.items():
        given = [same for same in _same_names(name) if body.get(same) is not None]
        if change.action == "drop":
            dropped += given
            for same in given:
                del body[same]
        elif _sets_value(change, given, body) and _takes(request, name):
            changed.append(name)
            for same in given:
                del body[same]
            body[name] = change.value
    if not dropped and not changed:
        return ChangedRequest(request)
    return ChangedRequest(_with_body(request, body), tuple(dropped), tuple(changed))


def _sets_value(change: Change, given: Sequence[str], body: Json) -> bool:
    """Whether a change means another value than the one that is there."""
    if change.action == "default":
        return not given
    return change.action == "force" and [body[same] for same in given] != [change.value]


def _takes(request: ChatRequest | EmbeddingsRequest, name: str) -> bool:
    """The file speaks of chat completions; of its parameters embeddings are given those they know."""
    return isinstance(request, ChatRequest) or name in _EMBEDDINGS_FIELDS


def check_denied(request: ChatRequest | EmbeddingsRequest, denied: Iterable[str]) -> None:
    """Raises Refused for a parameter that the file denies."""
    for name in denied:
        for same in _same_names(name):
            if request.body.get(same) is not None:
                raise _not_allowed(same, f"The parameter {same!r} is not allowed for this model. Leave it out.")


def _check_extra_body(extra: Mapping[str, Any] | None, changes: Mapping[str, Change]) -> None:
    """What the file decides cannot be passed by it: ``extra_body`` is merged last. A default is no decision."""
    decided = {same for name, one in changes.items() if one.action != "default" for same in _same_names(name)}
    for name in decided & set(extra or ()):
        where = f"extra_body.{name}"
        raise _not_allowed(where, f"'{where}' is not allowed for this model: its operator sets {name!r}. Leave it out.")


def _not_allowed(param: str, message: str) -> Refused:
    return Refused(message, code="parameter_not_allowed", param=param)


def _same_names(name: str) -> tuple[str, ...]:
    return _MAX_TOKENS if name in _MAX_TOKENS else (name,)


def _with_body(request: ChatRequest | EmbeddingsRequest, body: Json) -> ChatRequest | EmbeddingsRequest:
    """The same call with another body, which has values of the right types: the file was checked when it was read."""
    if isinstance(request, ChatRequest):
        return ChatRequest(body, msgspec.convert(body, ChatBody), request.extra_body, request.legacy_functions)
    return evolve(request, body=body, view=msgspec.convert(body, EmbeddingsBody))
