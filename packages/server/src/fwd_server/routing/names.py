"""Names of models: what a caller may write, the provider it names, and what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from typing import Final

from fwd_server.values.errors import ModelNotFound
from fwd_server.values.provider_info import PROVIDER_TABLE, provider_info

_NAME: Final = re.compile(r"[A-Za-z0-9._:/@-]{1,128}")  # contract T17
_OPTIONS: Final = re.compile(r"[!-~]{0,512}")  # what may follow a "?" in a model of echo


def check_name(model: str) -> None:
    """Refuse what no model can be called. Raises ModelNotFound."""
    bare, _, options = model.partition("?")
    if (bare and not _NAME.fullmatch(bare)) or not _OPTIONS.fullmatch(options):
        raise ModelNotFound("The model name is invalid; allowed are 1 to 128 letters, digits and . _ : / @ -")


def split_provider(model: str, providers: Collection[str], known: Collection[str] = ()) -> tuple[str, str] | None:
    """The provider that a name begins with, and the model there; None if it begins with none.

    ``openai:gpt-5`` is fwd's own form, of which only the first colon counts; ``openai/gpt-5`` is what other gateways
    write. The provider may be written in any case. Some models are called like their provider (``openrouter/auto``):
    where ``known`` has ``openrouter:openrouter/auto``, that one is meant.
    """
    for separator in (":", "/"):
        prefix, found, rest = model.partition(separator)
        provider = prefix.lower()
        if not found or not (provider in providers or provider in PROVIDER_TABLE):
            continue
        if separator == "/" and f"{provider}:{model}" in known:
            return provider, model
        if rest or provider_info(provider).built_in:
            return provider, rest
    return None


def find_family(model: str, providers: Iterable[str]) -> str | None:
    """The provider whose models begin so, as ``gpt-`` at OpenAI."""
    return next((name for name in providers if model.startswith(provider_info(name).families)), None)


def cut_prefix(model: str, provider: str) -> str:
    """``model`` without its provider's prefix, if it has one.

    Only the form with a colon is cut: ``groq/compound`` is what Groq itself calls a model.
    """
    prefix, colon, rest = model.partition(":")
    return rest if colon and prefix.lower() == provider else model


def explain_unknown(
    model: str, providers: Collection[str], known: Iterable[str], public: Collection[str], *, only_listed: bool = False
) -> str:
    """The message for a name that leads nowhere: what was probably meant, and what can be written.

    ``known`` are full names of models, ``public`` names of the configuration; with ``only_listed`` nothing else counts.
    """
    near = _nearest_names(model, () if only_listed else providers, known, public)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    if only_listed:
        return f"The model {model!r} does not exist.{hint} GET /v1/models lists those that do."
    prefixes = ", ".join(f"{name}:" for name in providers)
    return (
        f"The model {model!r} does not exist or has no provider.{hint} "
        f"Name a provider with a prefix ({prefixes}) or use a family that needs none (gpt-*, claude-*, gemini-*)."
    )


def _nearest_names(model: str, providers: Collection[str], known: Iterable[str], public: Collection[str]) -> list[str]:
    """Up to two names that look like ``model``: one of the configuration, a prefix mistyped, a model known by then."""
    ours = difflib.get_close_matches(model, public, n=1, cutoff=0.7)
    if ours:
        return [f"'{ours[0]}'"]
    prefix, colon, rest = model.partition(":")
    names = [*providers, *PROVIDER_TABLE] if providers else []
    near = difflib.get_close_matches(prefix.lower(), names, n=1, cutoff=0.6)
    if near and (colon or not rest):
        return [f"'{near[0]}:{rest or ('' if provider_info(near[0]).built_in else 'MODEL')}'"]
    by_model = {name.partition(":")[2]: name for name in known}
    return [f"'{by_model[name]}'" for name in difflib.get_close_matches(model, by_model, n=2, cutoff=0.6)]
