"""The settings: one attrs class, from which messages, options, documents and ``.env.example`` are made.

Every provider has the same three variables (``<NAME>_API_KEY``, ``<NAME>_BASE_URL``, ``<NAME>_MODEL``), one that
speaks OpenAI's language has ``<NAME>_REASONING`` too; so have those of ``FWD_COMPAT``.
"""
# ruff: noqa: RUF009 - setting() makes an attrs field

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from attrs import evolve, field, fields, frozen, resolve_types

from fwd_server.settings.config_file import ConfigFile
from fwd_server.settings.units import (
    Address,
    Aliases,
    BaseUrl,
    HeaderText,
    Host,
    HostNames,
    Model,
    Names,
    Networks,
    Origins,
    Seconds,
    Size,
    Workers,
    allowed_text,
    build_converter,
)
from fwd_server.values.provider_info import ProviderInfo, featured_names, provider_info, stem_of
from fwd_server.values.secret import Secret
from fwd_server.values.timeouts import Timeouts

# Providers that have settings whether or not anything is set; the others of the table appear once they are named.
KNOWN: Final = featured_names()
# How long a provider is waited for: FWD_<WHAT>_TIMEOUT for all of them, FWD_<PROVIDER>_<WHAT>_TIMEOUT for one.
TIMES: Final = ("connect", "first_byte", "first_event", "idle", "total")
OF_PROVIDERS: Final = "Timeouts of providers"
# Introductions to groups of settings.
ABOUT: Final[Mapping[str, str]] = {
    OF_PROVIDERS: "Each can be set for one provider too, by its name: FWD_GROQ_IDLE_TIMEOUT is for Groq what "
    "FWD_IDLE_TIMEOUT is for the others. A caller may ask for less, with the header x-fwd-idle-timeout."
}
ReasoningName = Literal["reasoning", "reasoning_content", "none"]
# A zero would end every call at once, and more than a day is a typing error.
_MOMENT: Final = (0.001, 86_400)
_CONVERTER: Final = build_converter()


@frozen
class SettingVariable:
    """One setting as people meet it. ``default`` is a value; ``note`` says in words what no value can."""

    name: str
    field: str
    default: Any
    help: str
    group: str
    type: Any = None
    option: str = ""
    between: tuple[float, float] | None = None
    note: str = ""

    @property
    def is_secret(self) -> bool:
        """Whether the value must never be shown."""
        return bool(self.type == Secret | None)

    @property
    def allowed(self) -> str:
        """The allowed values, for messages."""
        if self.between is None:
            return allowed_text(self.type)
        low, high = (self.display_text(self.type(end)) for end in self.between)
        return f"{allowed_text(self.type)}, from {low} to {high}"

    def read_text(self, text: str) -> Any:
        """The value that ``text`` stands for. Raises ValueError."""
        value = _CONVERTER.structure(text, self.type)
        if self.between and not self.between[0] <= value <= self.between[1]:
            raise ValueError(text)
        # Wrapped as soon as it is read, so that no later error message can show it.
        return Secret(value, self.name) if self.is_secret else value

    def display_text(self, value: Any) -> str:
        """A value as it would be written in ``.env``; a secret is masked, and nothing is an empty text."""
        if value is None:
            return ""
        return str(value) if self.is_secret else str(_CONVERTER.unstructure(value, unstructure_as=self.type))


def setting(name: str, default: Any, group: str, help: str, **more: Any) -> Any:
    """A field of ``Settings`` that is set by the variable ``name``."""
    return field(default=default, metadata={"variable": SettingVariable(name, "", default, help, group, **more)})


@frozen
class ProviderSettings:
    """How one provider is reached, and how long it may take.

    ``more_keys`` are those of ``<NAME>_API_KEY_2`` and so on; ``mentioned``: something here names it.
    """

    name: str
    base_url: str = ""
    api_key: Secret | None = None
    model: str | None = None
    reasoning: str = ""
    more_keys: tuple[Secret, ...] = ()
    mentioned: bool = False
    timeouts: Timeouts = field(factory=Timeouts)

    @property
    def info(self) -> ProviderInfo:
        """The facts about it before anything is configured."""
        return provider_info(self.name)


def _known_providers() -> Mapping[str, ProviderSettings]:
    return {name: _default_settings(provider_info(name)) for name in KNOWN}


def _default_settings(info: ProviderInfo) -> ProviderSettings:
    own = {f"{what}_s": seconds for what, seconds in info.timeouts.items()}
    reasoning = info.reasoning if info.language == "openai" else ""
    return ProviderSettings(
        info.name, info.base_url, model=info.default_model, reasoning=reasoning, timeouts=Timeouts(**own)
    )


@resolve_types
@frozen
class Settings:
    """Everything that can be set, by the names the rest of the gateway uses."""

    providers: Mapping[str, ProviderSettings] = field(factory=_known_providers)
    config_file: ConfigFile | None = field(default=None, eq=False, repr=False)

    priority: Names = setting(
        "PROVIDERS_PRIORITY",
        (),
        "Routing",
        "Providers to try, in this order, when a call names no model or its provider fails; comma-separated.",
    )
    attempts: int = setting(
        "FWD_ATTEMPTS",
        3,
        "Routing",
        "Maximum number of attempts per call, across all providers.",
        between=(1, 100),
        note="3, or the length of PROVIDERS_PRIORITY if that is longer",
    )
    fallback_explicit: bool = setting(
        "FWD_FALLBACK_EXPLICIT",
        True,
        "Routing",
        "Whether a call that names its model may fall back to PROVIDERS_PRIORITY.",
    )
    echo: bool = setting("FWD_ECHO", True, "Routing", "Whether the built-in provider echo: answers.")
    compat: Names = setting(
        "FWD_COMPAT",
        (),
        "Routing",
        "Names of more OpenAI-compatible servers, comma-separated; each name is a prefix. Each needs <NAME>_BASE_URL "
        "and may have <NAME>_API_KEY, <NAME>_MODEL and <NAME>_REASONING. Not needed for the providers that fwd knows "
        "by name.",
    )
    config: Path | None = setting(
        "FWD_CONFIG",
        None,
        "Routing",
        "File with models, deployments and provider instances.",
        option="--config",
        note="fwd.toml in the working directory, where there is one",
    )
    aliases: Aliases = setting(
        "FWD_ALIASES",
        (),
        "Routing",
        "More names for models: name=target,... (smart=openai:gpt-5). A * at the end of both is the rest of the name.",
    )
    openrouter_referer: HeaderText | None = setting(
        "FWD_OPENROUTER_REFERER", None, "Routing", "Address of your app, sent to OpenRouter (HTTP-Referer)."
    )
    openrouter_title: HeaderText | None = setting(
        "FWD_OPENROUTER_TITLE", None, "Routing", "Name of your app, sent to OpenRouter (X-OpenRouter-Title)."
    )

    host: Host = setting("FWD_HOST", Host("127.0.0.1"), "Listening", "Address to listen on.", option="--host")
    port: int = setting(
        "FWD_PORT", 8000, "Listening", "Port to listen on; 0 takes a free one.", option="--port", between=(0, 65_535)
    )
    workers: Workers = setting(
        "FWD_WORKERS",
        Workers(1),
        "Listening",
        "Number of processes; auto is one for each core.",
        option="--workers",
        between=(1, 256),
    )
    uds: Path | None = setting(
        "FWD_UDS", None, "Listening", "Unix socket to listen on, instead of address and port.", option="--uds"
    )
    health_listen: Address | None = setting(
        "FWD_HEALTH_LISTEN",
        None,
        "Listening",
        "Second address that serves only /health and /ready: HOST:PORT, or a Unix socket.",
        option="--health-listen",
    )
    ssl_certfile: Path | None = setting(
        "FWD_SSL_CERTFILE",
        None,
        "Listening",
        "Certificate for https, with its chain, in PEM form.",
        option="--ssl-certfile",
    )
    ssl_keyfile: Path | None = setting(
        "FWD_SSL_KEYFILE",
        None,
        "Listening",
        "Private key of the certificate, unless it is in the same file.",
        option="--ssl-keyfile",
    )

    max_requests: int = setting(
        "FWD_MAX_REQUESTS",
        0,
        "Limits",
        "Maximum number of concurrent calls per process; further calls are refused with 503. 0: a quarter of the limit "
        "of open files, less 64.",
        between=(0, 1_000_000),
    )
    max_body: Size = setting(
        "FWD_MAX_BODY", Size(10 * 2**20), "Limits", "Maximum size of a request body.", between=(1024, 2**30)
    )
    max_head: Size = setting(
        "FWD_MAX_HEAD",
        Size(16 * 2**10),
        "Limits",
        "Maximum size of a request head: request line and headers.",
        between=(1024, 2**16),
    )
    max_headers: int = setting(
        "FWD_MAX_HEADERS", 64, "Limits", "Maximum number of header lines per request.", between=(8, 1000)
    )
    max_target: Size = setting(
        "FWD_MAX_TARGET", Size(4 * 2**10), "Limits", "Maximum length of a path with its query.", between=(256, 2**15)
    )
    max_connections: int = setting(
        "FWD_MAX_CONNECTIONS",
        0,
        "Limits",
        "Maximum number of client connections; further ones wait to be accepted. 0: half of the limit of open "
        "files, less 64.",
        between=(0, 1_000_000),
    )
    max_unauthenticated: int = setting(
        "FWD_MAX_UNAUTHENTICATED",
        64,
        "Limits",
        "Maximum number of connections per address that have not presented a key.",
        between=(1, 1_000_000),
    )

    keys_file: Path = setting(
        "FORWARDER_KEYS_FILE",
        Path("keys/forwarder_api_keys.txt"),
        "Access",
        "File with the callers' keys, one per line. `fwd generate-key` adds one.",
    )
    allowed_hosts: HostNames = setting(
        "FWD_ALLOWED_HOSTS",
        (),
        "Access",
        "Host names the gateway answers to, comma-separated. Checked when set, and always on a loopback address, "
        "where the loopback names are allowed too.",
    )
    cors_origins: Origins = setting(
        "FWD_CORS_ORIGINS",
        (),
        "Access",
        "Origins whose pages may call from a browser, comma-separated: exact, or * for all. Each page needs a key of "
        "its own, which everybody who opens it can read.",
    )
    trusted_proxies: Networks = setting(
        "FWD_TRUSTED_PROXIES",
        (),
        "Access",
        "Addresses or networks of proxies whose X-Forwarded-For, -Proto and -Host are trusted, comma-separated.",
    )
    fetch_images: Literal["off", "public"] = setting(
        "FWD_FETCH_IMAGES",
        "off",
        "Access",
        "Whether the gateway opens image links for providers that need the bytes: off, or public (https only, "
        "public addresses only).",
    )

    data: Path = setting(
        "FWD_DATA",
        Path("data"),
        "Usage and costs",
        "Directory of the ledger and of installed prices; created if missing.",
    )
    ledger: bool = setting(
        "FWD_LEDGER", True, "Usage and costs", "Whether calls are recorded; without it, keys with budgets are refused."
    )
    prices: Path | None = setting(
        "FWD_PRICES", None, "Usage and costs", "Your own price file; it takes precedence over the packaged one."
    )
    unknown_price: Literal["allow", "refuse"] = setting(
        "FWD_UNKNOWN_PRICE",
        "allow",
        "Usage and costs",
        "What becomes of a call whose model has no price: allow, or refuse. A budget refuses it in any case.",
    )
    bound_output: int = setting(
        "FWD_BOUND_OUTPUT",
        32_768,
        "Usage and costs",
        "Output tokens that a budget reckons with where neither the call nor the price table limits them.",
        between=(1, 10_000_000),
    )
    keep_calls: int = setting(
        "FWD_KEEP_CALLS",
        90,
        "Usage and costs",
        "Days for which single calls are kept; sums are kept for ever. 0 keeps calls for ever too.",
        between=(0, 36_500),
    )
    sync: Literal["normal", "full"] = setting(
        "FWD_SYNC",
        "normal",
        "Usage and costs",
        "normal: records survive a crash of the gateway. full: a power failure as well, which takes the disk longer.",
    )
    spool: Size = setting(
        "FWD_SPOOL",
        Size(2**30),
        "Usage and costs",
        "Most that the journal may hold while the ledger cannot be written; then calls are refused.",
        between=(2**20, 2**40),
    )
    settle_wait: Seconds = setting(
        "FWD_SETTLE_WAIT",
        Seconds(2),
        "Usage and costs",
        "How long a call waits for its record to be durable.",
        between=_MOMENT,
    )
    usage_fail_open: bool = setting(
        "FWD_USAGE_FAIL_OPEN",
        False,
        "Usage and costs",
        "Whether calls of keys without a hard budget are served when they cannot be recorded.",
    )

    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "FWD_LOG_LEVEL", "info", "Log", "What to log: debug, info, warning or error.", option="--log-level"
    )
    log_format: Literal["auto", "json", "text"] = setting(
        "FWD_LOG_FORMAT",
        "auto",
        "Log",
        "How to log: json, text, or auto (text on a terminal, json elsewhere).",
        option="--log-format",
    )
    slow_loop: Seconds = setting(
        "FWD_SLOW_LOOP",
        Seconds(0),
        "Log",
        "Log where the event loop was blocked for longer than this. 0: off, or 50ms with FWD_LOG_LEVEL=debug.",
        between=(0, 60),
    )

    header_timeout: Seconds = setting(
        "FWD_HEADER_TIMEOUT", Seconds(10), "Timeouts", "Time to receive the head of a request.", between=_MOMENT
    )
    body_timeout: Seconds = setting(
        "FWD_BODY_TIMEOUT",
        Seconds(30),
        "Timeouts",
        "Time to receive the body of a request, on top of the time it takes at FWD_BODY_RATE.",
        between=_MOMENT,
    )
    body_rate: Size = setting(
        "FWD_BODY_RATE",
        Size(64 * 2**10),
        "Timeouts",
        "Minimum rate at which a body must arrive, in bytes per second.",
        between=(1, 2**30),
    )
    unread_timeout: Seconds = setting(
        "FWD_UNREAD_TIMEOUT",
        Seconds(30),
        "Timeouts",
        "Time a caller may leave a pending response unread.",
        between=_MOMENT,
    )
    client_idle_timeout: Seconds = setting(
        "FWD_CLIENT_IDLE_TIMEOUT",
        Seconds(75),
        "Timeouts",
        "Time a client connection may stay idle between two requests.",
        between=_MOMENT,
    )
    stream_timeout: Seconds = setting(
        "FWD_STREAM_TIMEOUT",
        Seconds(1800),
        "Timeouts",
        "Maximum duration of a stream, from its first content on.",
        between=_MOMENT,
    )
    sse_keepalive: Seconds = setting(
        "FWD_SSE_KEEPALIVE",
        Seconds(15),
        "Timeouts",
        "Silence after which a stream sends a comment to keep the connection open; 0 turns it off.",
        between=(0, 3600),
    )
    drain_timeout: Seconds = setting(
        "FWD_DRAIN_TIMEOUT",
        Seconds(30),
        "Timeouts",
        "Time for running calls to finish when the gateway is asked to stop.",
        between=(0, 86_400),
    )

    connect_timeout: Seconds = setting(
        "FWD_CONNECT_TIMEOUT", Seconds(5), OF_PROVIDERS, "Time to connect to a provider.", between=_MOMENT
    )
    first_byte_timeout: Seconds = setting(
        "FWD_FIRST_BYTE_TIMEOUT",
        Seconds(0),
        OF_PROVIDERS,
        "For the head of an answer, once the request is sent; where nothing is streamed it comes when the answer is "
        "ready. 0: as long as the other times allow.",
        between=(0, 86_400),
    )
    first_event_timeout: Seconds = setting(
        "FWD_FIRST_EVENT_TIMEOUT",
        Seconds(60),
        OF_PROVIDERS,
        "Time to the first event of a stream. Unless this is set, models that think have 300 s.",
        between=_MOMENT,
    )
    idle_timeout: Seconds = setting(
        "FWD_IDLE_TIMEOUT", Seconds(60), OF_PROVIDERS, "Maximum silence in the middle of an answer.", between=_MOMENT
    )
    total_timeout: Seconds = setting(
        "FWD_TOTAL_TIMEOUT",
        Seconds(600),
        OF_PROVIDERS,
        "For a whole call with all its attempts, until the answer (or its first content) is there; for one provider, "
        "for an attempt at it.",
        between=_MOMENT,
    )

    @property
    def timeouts(self) -> Timeouts:
        """The times of a provider that has none of its own."""
        return Timeouts(
            self.connect_timeout,
            self.first_byte_timeout or None,
            self.first_event_timeout,
            self.idle_timeout,
            self.total_timeout,
        )


def own_variables() -> tuple[SettingVariable, ...]:
    """The variables of ``Settings``, in its order; those of the providers stand apart."""
    known = (f for f in fields(Settings) if "variable" in f.metadata)
    return tuple(evolve(f.metadata["variable"], field=f.name, type=f.type) for f in known)


def provider_variables(name: str) -> tuple[SettingVariable, ...]:
    """The variables of one provider: its key, its address and its default model."""
    info, stem = provider_info(name), stem_of(name)
    title = info.title
    model_help = f"Default model of {title} in PROVIDERS_PRIORITY."
    model = SettingVariable(f"{stem}_MODEL", "model", info.default_model, model_help, title, Model | None)
    if info.built_in:
        return (model,)
    key_help = f"Key for {title}; " + ("without it the provider is off." if info.key_required else "optional.")
    key = SettingVariable(f"{stem}_API_KEY", "api_key", None, key_help, title, Secret | None)
    address = SettingVariable(f"{stem}_BASE_URL", "base_url", info.base_url, f"Address of {title}.", title, BaseUrl)
    if info.language != "openai":
        return (key, address, model)
    reasoning_help = f"Name under which the reasoning of earlier answers is sent to {title}; none: it is left out."
    reasoning = SettingVariable(f"{stem}_REASONING", "reasoning", info.reasoning, reasoning_help, title, ReasoningName)
    return (key, address, model, reasoning)


def numbered_key(name: str, number: int) -> SettingVariable:
    """A further key of a provider: ``OPENAI_API_KEY_2`` is the second."""
    title = provider_info(name).title
    help_text = f"Key {number} for {title}, used when the others cool down."
    return SettingVariable(f"{stem_of(name)}_API_KEY_{number}", "api_key", None, help_text, title, Secret | None)


def timeout_variables(name: str) -> tuple[SettingVariable, ...]:
    """The times of one provider, each made from that of all; without a default of its own it follows that one."""
    shared = {variable.field: variable for variable in own_variables()}
    return tuple(_provider_timeout(name, shared[f"{what}_timeout"], what) for what in TIMES)


def _provider_timeout(name: str, shared: SettingVariable, what: str) -> SettingVariable:
    variable, info = f"FWD_{stem_of(name)}_{what.upper()}_TIMEOUT", provider_info(name)
    seconds = info.timeouts.get(what)
    if seconds is None:
        return evolve(shared, name=variable, default=None)
    # Only local servers have times of their own, and this is why.
    help_text = f"{shared.help[:-1]} of {info.title}, which may have to load the model first."
    return evolve(shared, name=variable, default=Seconds(seconds), help=help_text)


def documented_variables() -> tuple[SettingVariable, ...]:
    """Every variable with its option, default and help, in the order of the documents.

    Times of one provider are there if their default is not that of all; ``ABOUT`` says how the others are called.
    """
    times = (v for name in KNOWN for v in timeout_variables(name) if v.default is not None)
    return (*(v for name in KNOWN for v in provider_variables(name)), *own_variables(), *times)


def example_dotenv() -> str:
    """The text of ``.env.example``: every setting, commented out, with its default."""
    lines = [*_EXAMPLE_HEAD]
    group = ""
    for variable in documented_variables():
        if variable.group != group:
            group = variable.group
            lines += ["", "", f"# ---- {group}", *_comment_lines(ABOUT.get(group, ""))]
        default = variable.display_text(variable.default)
        note = f" Default: {variable.note}." if variable.note else ""
        lines += ["", *_comment_lines(variable.help + note), f"#{variable.name}={default}"]
    return "\n".join(lines) + "\n"


def _comment_lines(text: str) -> list[str]:
    return textwrap.wrap(text, 116, initial_indent="# ", subsequent_indent="# ")


_EXAMPLE_HEAD: Final = (
    "# Settings of the gateway, with their defaults. Copy this file to .env, remove the # before what you want to set,",
    "# and `chmod 600 .env`. Flags win over the environment, the environment over .env.",
    "# `fwd run-server --check` shows what is in force and where it comes from.",
)
