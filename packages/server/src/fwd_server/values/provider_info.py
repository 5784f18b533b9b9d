"""The providers that are known by name: one row each, read by everything that must know where a provider is.

Settings, routing, codecs, ``fwd init``, ``fwd doctor``, the pages and the tests all read this table, so a new
OpenAI-compatible provider is one row here. What it does differently on the wire, if anything, is a row in
``providers/compatible/profiles.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from fwd_server.values.secret import Secret

# Local servers load a model before they answer; nobody wants a fallback because of that.
_LOADING: Final = {"first_event": 300.0}


@frozen
class KeyHeader:
    """The header that carries a provider's key, and what stands before the key in it."""

    name: str = "authorization"
    prefix: str = "Bearer "

    def header_pair(self, key: Secret | None) -> tuple[tuple[str, Secret], ...]:
        """The header as a pair; nothing without a key."""
        return ((self.name, key.with_prefix(self.prefix) if self.prefix else key),) if key else ()


BEARER: Final = KeyHeader()


@frozen(kw_only=True)
class ProviderInfo:
    """The facts about a provider before anything is configured.

    ``name`` is the prefix of its models; ``title`` is its name for people. ``language`` picks the codec: ``openai``
    is every compatible server, the others are languages of their own. ``base_url`` is "" where only the owner knows
    the address; ``address_form`` shows what it looks like. ``families`` are beginnings of model names that need no
    prefix.

    Without ``key_required`` the provider is on as soon as one of its variables is set; with ``any_variable`` any
    variable that begins with its name will do. ``always_tried`` serves an explicit prefix even when it is off.
    ``built_in`` is answered by the gateway itself: no key, no address, and its prefix is a whole name.
    ``featured`` providers appear in lists and documents even when they are not set up.

    ``reasoning`` is the name under which it reads the reasoning of earlier answers: "reasoning", "reasoning_content",
    or "none" where it takes none back (many servers refuse the field, and some need it in the turns of a tool).

    ``auth`` carries the key; ``headers`` go with every request for the list of models. ``timeouts`` are defaults in
    seconds that differ from those of other providers, by the names of ``FWD_<WHAT>_TIMEOUT``. ``models_path`` lists
    the models, ``key_check_path`` is what ``fwd doctor`` asks (default: the same). ``attribution`` says that it takes
    FWD_OPENROUTER_REFERER and FWD_OPENROUTER_TITLE. ``default_model`` stands in the priority list when nothing else is
    set. ``starter_model`` is proposed by ``fwd init``, which offers no
    provider without one; ``start_command`` is what starts a local server.
    """

    name: str
    title: str = field()
    language: str = "openai"
    base_url: str = ""
    address_form: str = ""
    families: tuple[str, ...] = ()
    key_required: bool = True
    any_variable: bool = False
    always_tried: bool = False
    built_in: bool = False
    featured: bool = False
    auth: KeyHeader = BEARER
    headers: tuple[tuple[str, str], ...] = ()
    timeouts: Mapping[str, float] = field(factory=dict)
    models_path: str = "/models"
    key_check_path: str = ""
    attribution: bool = False
    reasoning: str = "none"
    default_model: str | None = None
    starter_model: str = ""
    start_command: str = ""

    @title.default
    def _default_title(self) -> str:
        return self.name.title()

    @property
    def enabled_by(self) -> str:
        """The variable that turns it on, for messages."""
        if self.built_in:
            return "FWD_ECHO"
        stem = stem_of(self.name)
        if self.key_required:
            return f"{stem}_API_KEY" if self.base_url else f"{stem}_API_KEY and {stem}_BASE_URL"
        return f"{stem}_BASE_URL"


# Servers that people name after their software, and under which name they read earlier reasoning. vLLM's templates
# take "reasoning" since 0.12; the models of the others were trained with tool turns that have it.
_REASONING: Final = {
    "vllm": "reasoning",  # https://docs.vllm.ai/en/latest/features/reasoning_outputs.html
    "ollama": "reasoning",  # https://docs.ollama.com/api/openai-compatibility
    "sglang": "reasoning_content",  # https://docs.sglang.ai/advanced_features/separate_reasoning.html
    "deepseek": "reasoning_content",  # https://api-docs.deepseek.com/guides/thinking_mode
    "kimi": "reasoning_content",  # https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model
    "moonshot": "reasoning_content",
    "glm": "reasoning_content",  # https://docs.z.ai/guides/capabilities/thinking-mode
    "zai": "reasoning_content",
    "zhipu": "reasoning_content",
}


def _local(name: str, title: str, base_url: str, start_command: str) -> ProviderInfo:
    """A server that people run themselves: its key is optional, and it may have to load the model first."""
    return ProviderInfo(
        name=name,
        title=title,
        base_url=base_url,
        key_required=False,
        timeouts=_LOADING,
        reasoning=_REASONING.get(name, "none"),
        start_command=start_command,
    )


_ROWS: Final = (
    # https://platform.openai.com/docs/models
    ProviderInfo(
        name="openai",
        title="OpenAI",
        base_url="https://api.openai.com/v1",
        families=("gpt-", "chatgpt-", "o1", "o3", "o4", "text-embedding-"),
        featured=True,
        starter_model="gpt-5-mini",
    ),
    # https://docs.anthropic.com/en/docs/about-claude/models
    ProviderInfo(
        name="anthropic",
        language="anthropic",
        base_url="https://api.anthropic.com/v1",
        families=("claude-",),
        featured=True,
        auth=KeyHeader("x-api-key", ""),
        headers=(("anthropic-version", "2023-06-01"),),
        # Without a limit there are 20 models a page: https://docs.anthropic.com/en/api/models-list.
        models_path="/models?limit=1000",
        key_check_path="/models",
        starter_model="claude-haiku-4-5",
    ),
    # https://ai.google.dev/gemini-api/docs/api-key
    ProviderInfo(
        name="google",
        language="google",
        base_url="https://generativelanguage.googleapis.com/v1beta",
        families=("gemini-",),
        featured=True,
        auth=KeyHeader("x-goog-api-key", ""),
        # Without it there are 50: https://ai.google.dev/api/models#method:-models.list.
        models_path="/models?pageSize=1000",
        key_check_path="/models",
        starter_model="gemini-2.5-flash",
    ),
    ProviderInfo(
        name="groq",
        base_url="https://api.groq.com/openai/v1",
        featured=True,
        starter_model="llama-3.3-70b-versatile",
    ),
    # The list of models is public, so the key is asked about itself:
    # https://openrouter.ai/docs/api-reference/api-keys/get-current-api-key
    ProviderInfo(
        name="openrouter",
        title="OpenRouter",
        base_url="https://openrouter.ai/api/v1",
        featured=True,
        key_check_path="/key",
        attribution=True,
        starter_model="openai/gpt-5-mini",
        reasoning="reasoning",
    ),
    ProviderInfo(
        name="ollama",
        language="ollama",
        base_url="http://localhost:11434",
        key_required=False,
        any_variable=True,  # OLLAMA_HOST is read by its own programs: whoever sets it has an Ollama
        always_tried=True,
        featured=True,
        timeouts=_LOADING,
        models_path="/api/tags",
        starter_model="llama3.1",
        start_command="ollama serve",
    ),
    ProviderInfo(
        name="echo",
        title="echo",
        language="echo",
        key_required=False,
        built_in=True,
        featured=True,
        default_model="echo:",
    ),
    # -- further ones, in the order of their names; OpenAI-compatible unless their language says otherwise
    # The v1 API, without api-version; a model is the name of a deployment there:
    # https://learn.microsoft.com/en-us/azure/ai-foundry/openai/api-version-lifecycle
    ProviderInfo(
        name="azure",
        title="Azure OpenAI",
        address_form="https://RESOURCE.openai.azure.com/openai/v1",
        auth=KeyHeader("api-key", ""),
    ),
    # Its OpenAI-compatible endpoint: https://docs.aws.amazon.com/bedrock/latest/userguide/bedrock-mantle.html
    ProviderInfo(
        name="bedrock",
        title="Amazon Bedrock",
        address_form="https://bedrock-mantle.REGION.api.aws/v1",
    ),
    # https://inference-docs.cerebras.ai/resources/openai
    ProviderInfo(name="cerebras", base_url="https://api.cerebras.ai/v1"),
    # It refuses stream_options, which its profile knows: https://docs.cohere.com/docs/compatibility-api
    ProviderInfo(name="cohere", base_url="https://api.cohere.ai/compatibility/v1"),
    # https://api-docs.deepseek.com
    ProviderInfo(
        name="deepseek", title="DeepSeek", base_url="https://api.deepseek.com/v1", reasoning="reasoning_content"
    ),
    # https://docs.fireworks.ai/tools-sdks/openai-compatibility
    ProviderInfo(name="fireworks", base_url="https://api.fireworks.ai/inference/v1"),
    # The router picks a host for each model: https://huggingface.co/docs/inference-providers
    ProviderInfo(name="huggingface", title="Hugging Face", base_url="https://router.huggingface.co/v1"),
    # https://github.com/ggml-org/llama.cpp/tree/master/tools/server
    _local("llamacpp", "llama.cpp", "http://localhost:8080/v1", "llama-server -m MODEL.gguf"),
    # https://lmstudio.ai/docs/app/api/endpoints/openai
    _local("lmstudio", "LM Studio", "http://localhost:1234/v1", "lms server start"),
    # https://docs.mistral.ai/api
    ProviderInfo(name="mistral", base_url="https://api.mistral.ai/v1"),
    # https://docs.api.nvidia.com/nim/reference/llm-apis
    ProviderInfo(name="nvidia", title="NVIDIA", base_url="https://integrate.api.nvidia.com/v1"),
    # https://docs.perplexity.ai/docs/sonar/openai-compatibility
    ProviderInfo(name="perplexity", base_url="https://api.perplexity.ai"),
    # https://docs.sglang.ai/basic_usage/openai_api.html
    _local("sglang", "SGLang", "http://localhost:30000/v1", "python -m sglang.launch_server --model-path MODEL"),
    # https://docs.together.ai/docs/openai-api-compatibility
    ProviderInfo(name="together", base_url="https://api.together.xyz/v1"),
    # Gemini, with tokens of a Google Cloud project; it lists no models at this address:
    # https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference
    ProviderInfo(
        name="vertex",
        title="Vertex AI",
        language="vertex",
        address_form="https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION/publishers/google",
    ),
    # Its own port is 8000, which is the gateway's: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    _local("vllm", "vLLM", "", "vllm serve MODEL --port 8001"),
    # https://docs.x.ai/docs/api-reference
    ProviderInfo(name="xai", title="xAI", base_url="https://api.x.ai/v1"),
)
PROVIDER_TABLE: Final[dict[str, ProviderInfo]] = {row.name: row for row in _ROWS}


def stem_of(name: str) -> str:
    """The prefix of a provider's variables: ``my-box`` has ``MY_BOX_API_KEY``."""
    return name.upper().replace("-", "_")


def provider_info(name: str) -> ProviderInfo:
    """The row of a provider; a server known only by its address gets one that promises nothing.

    Its name may say what it is: ``vllm`` or ``vllm-2`` reads earlier reasoning as vLLM does.
    """
    # A name such as vllm-2 is a second server of the same kind.
    known = PROVIDER_TABLE.get(name)
    reasoning = _REASONING.get(name.partition("-")[0], "none")
    return known or ProviderInfo(name=name, key_required=False, reasoning=reasoning)


def featured_names() -> tuple[str, ...]:
    """The names that appear in every list, in the table's order; the built-in one is last."""
    return tuple(row.name for row in PROVIDER_TABLE.values() if row.featured)
