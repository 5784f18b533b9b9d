"""Plain calls and plain answers of OpenAI's language, which need no reading as objects.

A plain call goes out as the caller's bytes, with another model's name in their place; a plain answer comes back as the
provider's. Both decline whatever the codec would change in any way: what is done here is what the codec would have
done, and property tests hold the two together (docs/adr/0006).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
import orjson
from attrs import frozen
from msgspec import UNSET, UnsetType

from fwd_server.providers.compatible.profile import ProviderProfile, RequestDraft
from fwd_server.providers.compatible.request import edit_request
from fwd_server.providers.model_catalog import ModelCatalog
from fwd_server.values.chat import ChatRequest, Json
from fwd_server.values.errors import Refused
from fwd_server.values.plain_chat import OPTIONAL_FIELDS, PlainMessage
from fwd_server.values.usage import MAX_TOKENS, Usage, clean_tier
from fwd_server.wire import jsontext

_MODEL: Final = re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*"([^"\\]*)"')
_ASK_USAGE: Final = b',"stream_options":{"include_usage":true}}'

# -- requests


@frozen(slots=True)
class PlainRules:
    """What a profile does to plain calls for one model.

    ``edited`` are the optional fields that it changes or drops; ``texts`` and ``parts`` say whether it leaves messages
    of that kind alone. ``name`` is the model's name as it stands in JSON, without its quotes.
    """

    edited: tuple[str, ...] = tuple(OPTIONAL_FIELDS)
    texts: bool = False
    parts: bool = False
    name: bytes = b""


def find_rules(profile: ProviderProfile, model: str, catalog: Callable[[], ModelCatalog]) -> PlainRules:
    """Try the profile's own edits on one small request for each field, and see which of them change nothing."""

    def is_untouched(**fields: Any) -> bool:
        body = {"model": model, "messages": [{"role": "user", "content": "x"}], **fields}
        draft = RequestDraft(dict(body), model, catalog)
        try:
            edit_request(profile, draft)
        except Refused:
            return False
        return draft.body == body and not draft.dropped

    def keeps_content(content: object) -> bool:
        roles = ("system", "user", "assistant")
        return is_untouched(messages=[{"role": role, "content": content} for role in roles])

    edited = [name for name, values in OPTIONAL_FIELDS.items() if not all(is_untouched(**{name: v}) for v in values)]
    texts, parts = keeps_content("x"), keeps_content([{"type": "text", "text": "x"}])
    return PlainRules(tuple(edited), texts, parts, orjson.dumps(model)[1:-1])


def splice_model(request: ChatRequest, profile: ProviderProfile, rules: PlainRules) -> bytes | None:
    """The caller's bytes with the model of ``rules`` in them; None where more than that has to change.

    In a stream the usage is asked for, unless the caller does so already.
    """
    plain, raw = request.plain, request.raw
    if plain is None or raw is None or request.extra_body or not rules.texts:
        return None
    for name in rules.edited:
        if getattr(plain, name) is not None:
            return None
    # One of the two has to go, which the codec decides.
    if plain.max_tokens and plain.max_completion_tokens:
        return None
    if not rules.parts and any(_has_parts(message) for message in plain.messages):
        return None
    place = _MODEL.search(raw)  # `model` stands there once, so this is it
    if place is None or place[1] != plain.model.encode():
        return None
    end: bytes = raw[place.end(1) :]
    if plain.stream and profile.ask_usage:
        if plain.stream_options is None:
            # The body ends with the brace of the outermost object: it was decoded as one.
            end = end.rstrip()[:-1] + _ASK_USAGE
        elif not plain.stream_options.include_usage:
            return None
    elif plain.stream_options is not None:
        return None
    return b"%b%b%b" % (raw[: place.start(1)], rules.name, end)


def _has_parts(message: PlainMessage) -> bool:
    return not isinstance(message.content, str)


# -- answers

_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: _Count | None = 0
    cache_write_tokens: _Count | None = 0
    audio_tokens: Literal[0] | None = 0  # what costs more than text is rare, and read exactly
    image_tokens: Literal[0] | None = 0
    cached_tokens_details: UnsetType | None = UNSET


class _CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: _Count | None = 0
    audio_tokens: Literal[0] | None = 0
    image_tokens: Literal[0] | None = 0


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: _Count
    completion_tokens: _Count
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    cost: UnsetType = UNSET
    server_tool_use: UnsetType | None = UNSET
    num_search_queries: UnsetType | None = UNSET


class _Message(msgspec.Struct, gc=False):
    role: Literal["assistant"]
    tool_calls: UnsetType | None = UNSET  # their ids may have to be told apart


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: Literal["stop", "length", "content_filter"]
    error: UnsetType | None = UNSET


class _Answer(msgspec.Struct, gc=False):
    object: Literal["chat.completion"]
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]
    usage: _Usage
    error: UnsetType | None = UNSET
    service_tier: str | None = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)


def judge_answer(body: bytes) -> Usage | None:
    """The usage of an answer that may go out as its bytes; None for one that has to be read.

    It looks at nothing but the shape, the ends of the choices and the usage: a provider that is exact needs no more.
    """
    try:
        answer = _ANSWER.decode(body)
        if not body.isascii():
            body.decode()  # msgspec does not look into the strings it skips (contract F27)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # Halves of characters have to be joined.
    if body.find(b"\\u") >= 0 and (body.find(b"\\ud") >= 0 or body.find(b"\\uD") >= 0):
        return None
    usage = answer.usage
    prompts, completions = usage.prompt_tokens_details, usage.completion_tokens_details
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    cached = min((prompts and prompts.cached_tokens) or 0, prompt)
    return Usage(
        prompt,
        completion,
        cached,
        min((prompts and prompts.cache_write_tokens) or 0, prompt - cached),
        min((completions and completions.reasoning_tokens) or 0, completion),
        tier=clean_tier(answer.service_tier) if answer.service_tier else "",
    )


def read_later(raw: bytes) -> Json:
    """The object of an answer that was judged, for the few who ask for more than its bytes."""
    data: Json = jsontext.loads(raw)
    return data
