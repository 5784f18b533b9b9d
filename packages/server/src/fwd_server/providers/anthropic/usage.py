"""Claude's token counts. https://platform.claude.com/docs/en/api/messages"""

from __future__ import annotations

from typing import Final

from fwd_server.providers import lenient
from fwd_server.values.chat import Json
from fwd_server.values.usage import Usage, clean_count, clean_tier

_COUNTS: Final = ("cache_read_input_tokens", "cache_creation_input_tokens", "input_tokens", "output_tokens")


def read_usage(usage: Json) -> Usage:
    """Token counts. Anthropic counts cached input beside the input, OpenAI within it.

    ``iterations`` (the loops of tools that run at the provider) stand for the whole when there are some.
    """
    loops = lenient.objects(usage.get("iterations")) or [usage]
    read, written, plain, completion = (sum(clean_count(loop.get(name)) for loop in loops) for name in _COUNTS)
    # The loops need not have details of their own; those of the whole message count then.
    details = [lenient.obj(loop.get("output_tokens_details")) for loop in loops]
    if not any(details):
        details = [lenient.obj(usage.get("output_tokens_details"))]
    thinking = sum(clean_count(detail.get("thinking_tokens")) for detail in details)
    created = [lenient.obj(loop.get("cache_creation")) for loop in loops]
    if not any(created):
        created = [lenient.obj(usage.get("cache_creation"))]
    hour = sum(clean_count(writes.get("ephemeral_1h_input_tokens")) for writes in created)
    return Usage(
        prompt=plain + read + written,
        completion=completion,
        cached=read,
        cache_write=written,
        # Parts never exceed their whole, or costs could become negative (contract T30).
        reasoning=min(thinking, completion),
        cache_write_1h=min(hour, written),
        web_searches=clean_count(lenient.obj(usage.get("server_tool_use")).get("web_search_requests")),
        tier=clean_tier(usage.get("service_tier")),
    )


def latest_fields(known: Json, newer: object) -> Json:
    """Fields with newer ones. Counts are running totals, so they replace; what is null or missing stays."""
    return {**known, **{name: value for name, value in lenient.obj(newer).items() if value is not None}}
