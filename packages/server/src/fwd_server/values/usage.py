"""Token counts: validated, clamped, and marked when they are an estimate (contract T30)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

MAX_TOKENS: Final = 1 << 40  # beyond this a provider's figure is nonsense, not a count
MAX_TIER: Final = 32
# Words for the ordinary tier: OpenAI answers "default", Anthropic "standard", Groq "on_demand".
ORDINARY_TIERS: Final = frozenset({"", "default", "standard", "auto", "on_demand"})


# gc=False: it holds only strings and numbers, so the collector need not visit it.
class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens and other units of one answer, each counted in exactly one whole.

    Part of ``prompt``: ``cached``, ``cache_write`` (which includes ``cache_write_1h``), ``audio_in``, ``image_in``;
    ``audio_cached`` is part of both ``cached`` and ``audio_in``. Part of ``completion``: ``reasoning``, ``audio_out``,
    ``image_out``. ``seconds``, ``characters`` and ``images`` are billed only where an answer counts no tokens.

    ``tier`` is the service tier that answered, which may be another than the one requested. ``cost_usd`` is set only
    where the provider itself states it; ``estimated`` says that we counted, not it.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cost_usd: float | None = None
    estimated: bool = False
    cache_write_1h: int = 0
    audio_in: int = 0
    audio_cached: int = 0
    audio_out: int = 0
    image_in: int = 0
    image_out: int = 0
    web_searches: int = 0
    seconds: int = 0
    characters: int = 0
    images: int = 0
    tier: str = ""

    @property
    def total(self) -> int:
        """Prompt and completion together."""
        return self.prompt + self.completion


def clean_count(value: object) -> int:
    """A token count from outside: whole, not negative, not absurd; anything else is 0."""
    if type(value) is not int and (isinstance(value, bool) or not isinstance(value, (int, float))):
        return 0
    if not 0 <= value <= MAX_TOKENS:  # also refuses NaN, which no comparison holds for
        return 0
    return int(value)


def parse_usage(usage: object, tier: object = None) -> Usage | None:
    """Read a ``usage`` object in OpenAI's shape; None when there is none. ``tier`` is the answer's ``service_tier``.

    Shape: https://platform.openai.com/docs/api-reference/chat/object#chat/object-usage
    Searches: https://openrouter.ai/docs/guides/features/server-tools/web-search, Perplexity's num_search_queries.
    """
    if not isinstance(usage, Mapping):
        return None
    prompt = clean_count(usage.get("prompt_tokens"))
    completion = clean_count(usage.get("completion_tokens"))
    prompts, completions = _token_details(usage, "prompt"), _token_details(usage, "completion")
    # A detail larger than its whole would make a price negative.
    cached = min(clean_count(prompts.get("cached_tokens")), prompt)
    audio_in = min(clean_count(prompts.get("audio_tokens")), prompt)
    of_cached = _object(prompts.get("cached_tokens_details"))
    return Usage(
        prompt=prompt,
        completion=completion,
        cached=cached,
        cache_write=min(clean_count(prompts.get("cache_write_tokens")), prompt - cached),
        reasoning=min(clean_count(completions.get("reasoning_tokens")), completion),
        cost_usd=_stated_cost(usage.get("cost")),
        audio_in=audio_in,
        audio_cached=min(clean_count(of_cached.get("audio_tokens")), cached, audio_in),
        audio_out=min(clean_count(completions.get("audio_tokens")), completion),
        image_in=min(clean_count(prompts.get("image_tokens")), prompt),
        image_out=min(clean_count(completions.get("image_tokens")), completion),
        web_searches=max(
            clean_count(_object(usage.get("server_tool_use")).get("web_search_requests")),
            clean_count(usage.get("num_search_queries")),
        ),
        tier=clean_tier(tier),
    )


def clean_tier(value: object) -> str:
    """The tier that answered, as the provider writes it; empty for the ordinary one, or for what is no tier."""
    is_tier = isinstance(value, str) and len(value) <= MAX_TIER and value.isascii() and value.isprintable()
    return value if is_tier and isinstance(value, str) and value not in ORDINARY_TIERS else ""


def _token_details(usage: Mapping[str, Any], side: str) -> Mapping[str, Any]:
    return _object(usage.get(f"{side}_tokens_details"))


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _stated_cost(value: object) -> float | None:
    # The bound also refuses NaN and infinity, which JSON readers let through.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        return None
    return float(value)


BYTES_A_TOKEN: Final = 4


def estimate_tokens(text: str) -> int:
    """The documented estimate: one token for every four bytes of UTF-8, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN)
