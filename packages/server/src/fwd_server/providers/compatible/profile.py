"""What one OpenAI-compatible provider does differently, as data.

A row without any setting is OpenAI's wire shape with the cautions that an unknown server needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, field, frozen

from fwd_server.providers.base import present_fields
from fwd_server.providers.model_catalog import CatalogModel, ModelCatalog
from fwd_server.values.chat import Json

# What fwd adds to OpenAI's shape in history and tools. OpenAI and most others refuse fields they do not know.
EXTENSIONS: Final = frozenset({"reasoning_content", "reasoning_details", "reasoning", "extra_content", "cache_control"})
ROLES: Final = {"developer": "system"}


@define
class RequestDraft:
    """A request while it is edited: the upstream body, the model's name there, and what had to be left out.

    ``body`` is a copy at its top level; who changes something deeper copies that too.
    """

    body: Json
    model: str
    models: Callable[[], ModelCatalog]
    reasoning_name: str = ""  # under which earlier reasoning goes back; "": it does not
    dropped: list[str] = field(factory=list)

    def find(self, provider: str) -> CatalogModel | None:
        """The model in the table, if it is known there."""
        return self.models().find_model(provider, self.model)

    def leave_out(self, *names: str) -> None:
        """Drop fields, and say so for those that had a value."""
        if not names:
            return
        self.dropped += present_fields(self.body, (name for name in self.body if name in names))
        for name in names:
            self.body.pop(name, None)


@frozen(kw_only=True)
class ProviderProfile:
    """One provider. The first group is about requests, the second about answers.

    ``ask_usage`` asks for usage in streams; ``cap_field`` is the one name for the token cap it reads ("": either);
    ``roles`` renames roles; ``drops`` are fields it cannot take; ``one_choice`` refuses ``n`` above 1; ``removed``
    are fields of messages, parts, tools and calls that are cut off, ``message_fields`` the only ones of messages it
    allows (None: any); ``has_refusal`` says that it reads a refusal of the history as such; ``edit`` does what no
    table can say.

    ``exact`` says that its answers keep to OpenAI's rules and go out as they came; ``relays`` that frames of its
    streams may go out as bytes (no: every frame of it has something that stays behind); ``extras`` are the fields of
    chunks, choices, messages and usage that are its own and stay behind; ``usage_extras`` the same of usage only;
    ``usage_defaults`` is what usage must have; ``tiers`` renames service tiers; ``id_header`` holds its request id;
    ``own_types`` lets its ``requests`` and ``tokens`` through as the type of a 429; ``error_types`` maps its stable
    error names to a status.
    """

    name: str
    ask_usage: bool = True
    cap_field: str = ""
    roles: Mapping[str, str] = field(factory=lambda: ROLES)
    drops: tuple[str, ...] = ()
    one_choice: bool = False
    removed: frozenset[str] = EXTENSIONS
    message_fields: frozenset[str] | None = None
    has_refusal: bool = False
    edit: Callable[[RequestDraft], None] | None = None

    exact: bool = False
    relays: bool = True
    extras: frozenset[str] = frozenset()
    usage_extras: frozenset[str] = frozenset()
    usage_defaults: Json = field(factory=dict)
    tiers: Mapping[str, str] = field(factory=dict)
    id_header: str = "x-request-id"
    own_types: bool = False
    error_types: Mapping[str, int] = field(factory=dict)
