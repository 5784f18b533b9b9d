"""A bearer token of a cloud, in the place of a provider's key: it is renewed while the gateway runs (contract RT20)."""

from __future__ import annotations

import functools
import importlib.util
import threading
from typing import Any, Final, Literal

from attrs import define, field

from fwd_server.values.secret import Secret

CloudKind = Literal["entra", "aws", "google"]


@define(eq=False)
class CloudSession:
    """Shared by the renewing thread and the calls. ``token`` is "" before the first; ``expires`` is in epoch seconds.

    ``problem`` is why the last renewal failed, "" when it did not. ``wanted`` wakes the thread.
    """

    kind: CloudKind
    provider: str
    base_url: str
    token: str = field(default="", repr=False)
    expires: float = 0.0
    problem: str = ""
    wanted: threading.Event = field(factory=threading.Event, repr=False)
    _prepared: list[dict[object, Any]] = field(factory=list, repr=False)

    def renew(self, token: str, expires: float) -> None:
        """Take a new token. Requests that were prepared with the old one are forgotten; call it on the event loop."""
        self.token, self.expires, self.problem = token, expires, ""
        for prepared in self._prepared:
            prepared.clear()
        self._prepared.clear()

    def forget_with(self, prepared: dict[object, Any]) -> None:
        """Have ``prepared`` emptied at the next renewal: it holds the token in bytes."""
        self._prepared.append(prepared)


class CloudToken(Secret):
    """The current token of a session. False until there is one."""

    __slots__ = ("session",)

    def __init__(self, session: CloudSession, name: str, prefix: str = "") -> None:
        super().__init__("", name, prefix)
        self.session: Final = session

    def reveal(self) -> str:
        """The token in clear, with its prefix."""
        return self._prefix + self.session.token

    def with_prefix(self, prefix: str) -> CloudToken:
        """The same token behind a readable prefix."""
        return CloudToken(self.session, self.name, prefix)

    def __bool__(self) -> bool:
        return bool(self.session.token)


@functools.cache
def cloud_token(kind: CloudKind, provider: str, base_url: str) -> CloudToken:
    """The token of a provider instance: the same one after every reload, so that none has to be fetched for it.

    It belongs to the instance and its address, and is sent nowhere else (contract S11).
    """
    return CloudToken(CloudSession(kind, provider, base_url), f"providers.{provider}.auth")


# What must be installed for each kind, and the extra that brings it.
_MODULES: Final[dict[CloudKind, tuple[str, str]]] = {
    "entra": ("azure.identity", "azure"),
    "aws": ("aws_bedrock_token_generator", "aws"),
    "google": ("google.auth", "google"),
}


def missing_extra(kind: CloudKind) -> str:
    """The extra that has to be installed for this kind of token; "" if it is there. Imports nothing."""
    module, extra = _MODULES[kind]
    try:
        return "" if importlib.util.find_spec(module) else extra
    except ModuleNotFoundError:  # not even the package around it
        return extra
