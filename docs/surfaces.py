"""What becomes of a Messages call at each provider, as the code decides it, for ``surfaces.md``."""

from __future__ import annotations

from fwd_server.providers import PROVIDERS
from fwd_server.providers.target_traits import traits_of
from fwd_server.values.deployment import Deployment, Endpoint
from fwd_server.values.provider_info import PROVIDER_TABLE

LANGUAGE = "anthropic-messages"
HEAD = (
    "provider | the call | `count_tokens` | pictures in results of tools | `top_k` | `cache_control` | `service_tier`"
)


def table() -> str:
    """A row for each provider."""
    rows = [row(name) for name, info in PROVIDER_TABLE.items() if not info.built_in]
    return "\n".join([f"| {HEAD} |", "|---" * 7 + "|", *rows])


def row(name: str) -> str:
    """One provider."""
    provider, info = PROVIDERS[name], PROVIDER_TABLE[name]
    native = LANGUAGE in provider.native
    traits = traits_of(Deployment(Endpoint(name), "any-model"))
    # What Anthropic's API gets is the caller's own; every other provider gets what it has a field for.
    fields = [native or field in traits.takes for field in ("top_k", "cache_control", "service_tier")]
    if info.language not in ("openai", "anthropic"):
        fields[0] = True
    cells = [
        "passes as it came" if native else "translated",
        "the provider's own" if provider.count else "estimated",
        "stay there" if native or traits.tool_media else "moved after the results",
        *("sent" if field else "left out" for field in fields),
    ]
    return f"| `{name}` | {' | '.join(cells)} |"
