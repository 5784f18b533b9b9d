"""The names of LiteLLM's providers and parameters, and what they are called here.

https://docs.litellm.ai/docs/providers, https://docs.litellm.ai/docs/proxy/config_settings
"""

from __future__ import annotations

from typing import NamedTuple


class ProviderName(NamedTuple):
    """A provider here, and the variable LiteLLM reads its key from where no key is written."""

    name: str
    variable: str = ""


PROVIDERS = {
    "openai": ProviderName("openai", "OPENAI_API_KEY"),
    "text-completion-openai": ProviderName("openai", "OPENAI_API_KEY"),
    "custom_openai": ProviderName("openai", "OPENAI_API_KEY"),
    "anthropic": ProviderName("anthropic", "ANTHROPIC_API_KEY"),
    "gemini": ProviderName("google", "GEMINI_API_KEY"),
    "groq": ProviderName("groq", "GROQ_API_KEY"),
    "openrouter": ProviderName("openrouter", "OPENROUTER_API_KEY"),
    "ollama": ProviderName("ollama"),
    "ollama_chat": ProviderName("ollama"),
    "mistral": ProviderName("mistral", "MISTRAL_API_KEY"),
    "deepseek": ProviderName("deepseek", "DEEPSEEK_API_KEY"),
    "xai": ProviderName("xai", "XAI_API_KEY"),
    "together_ai": ProviderName("together", "TOGETHERAI_API_KEY"),
    "fireworks_ai": ProviderName("fireworks", "FIREWORKS_AI_API_KEY"),
    "cerebras": ProviderName("cerebras", "CEREBRAS_API_KEY"),
    "perplexity": ProviderName("perplexity", "PERPLEXITYAI_API_KEY"),
    "nvidia_nim": ProviderName("nvidia", "NVIDIA_NIM_API_KEY"),
    "cohere": ProviderName("cohere", "COHERE_API_KEY"),
    "cohere_chat": ProviderName("cohere", "COHERE_API_KEY"),
    "huggingface": ProviderName("huggingface", "HUGGINGFACE_API_KEY"),
    "hosted_vllm": ProviderName("vllm"),
    "vllm": ProviderName("vllm"),
    "lm_studio": ProviderName("lmstudio"),
    "llamafile": ProviderName("llamacpp"),
}

# Providers of LiteLLM that are not spoken here; any other word before a slash is part of a model's name.
UNKNOWN_PROVIDERS = frozenset(
    {
        *("azure", "azure_ai", "azure_text", "bedrock", "bedrock_converse", "vertex_ai", "vertex_ai_beta", "sagemaker"),
        *("sagemaker_chat", "databricks", "watsonx", "watsonx_text", "replicate", "cloudflare", "github", "voyage"),
        *(
            "ai21",
            "ai21_chat",
            "deepinfra",
            "nlp_cloud",
            "aleph_alpha",
            "petals",
            "predibase",
            "sambanova",
            "volcengine",
        ),
        *(
            "clarifai",
            "codestral",
            "friendliai",
            "galadriel",
            "infinity",
            "jina_ai",
            "snowflake",
            "triton",
            "xinference",
        ),
    }
)

STRATEGIES = {
    "simple-shuffle": "weighted",
    "least-busy": "least-busy",
    "latency-based-routing": "latency",
    "cost-based-routing": "cheapest",
    "usage-based-routing": "least-busy",
    "usage-based-routing-v2": "least-busy",
}

# Parameters of a call that may stand beside a deployment: there and here they count where the caller gives none.
CALL_PARAMETERS = frozenset(
    {
        *("temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "n", "user", "logit_bias"),
        *("presence_penalty", "frequency_penalty", "reasoning_effort", "response_format", "parallel_tool_calls"),
    }
)
