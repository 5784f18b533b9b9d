"""Facts about a deployment that a caller language needs: from the table of models, else by provider."""

from __future__ import annotations

from typing import Final

from fwd_server.providers.compatible.profiles import OPENAI_REASONS
from fwd_server.providers.model_catalog import load_catalog
from fwd_server.values.deployment import Deployment
from fwd_server.values.foreign import TargetTraits

# Fields that only some providers have. Those with a language of their own say themselves what they leave out, so they
# are asked for everything; a server that is only known by its address mostly takes what vLLM and llama.cpp do.
_OWN_LANGUAGE: Final = frozenset({"top_k"})
_TAKES: Final = {
    **dict.fromkeys(("openai", "azure"), frozenset({"service_tier", "safety_identifier"})),
    "openrouter": frozenset({"top_k", "cache_control"}),
    **dict.fromkeys(("groq", "mistral", "xai", "cohere", "cerebras", "deepseek"), frozenset()),
}
_TOOL_MEDIA: Final = frozenset({"anthropic", "google", "vertex"})
_OPENAI: Final = frozenset({"openai", "azure"})
# They leave an effort out on their own if the model does not support it, and report that.
_JUDGE_EFFORT: Final = frozenset({"anthropic", "google", "vertex", "ollama", "groq", "openrouter"})


def traits_of(deployment: Deployment) -> TargetTraits:
    """The traits of a deployment."""
    info = deployment.endpoint.info
    model = load_catalog().find_model(info.name, deployment.model)
    openai = info.name in _OPENAI
    reasons = model.reasons if model else openai and bool(OPENAI_REASONS.match(deployment.model))
    return TargetTraits(
        provider=info.name,
        model=deployment.model,
        reasons=reasons or info.name in _JUDGE_EFFORT or info.language in _JUDGE_EFFORT,
        samples=not openai,
        max_output=model.max_output if model else None,
        takes=_TAKES.get(info.name, _OWN_LANGUAGE),
        tool_media=info.language in _TOOL_MEDIA,
        cap="max_completion_tokens" if openai else "max_tokens",
    )
