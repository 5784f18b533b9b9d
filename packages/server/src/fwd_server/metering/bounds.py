"""The most a call can cost before it is sent (*bound*), and what is booked if no more is learned (*likely*).

A hard budget is never exceeded as long as a provider counts at most one token for two bytes of text and keeps the
output limit it was given. Whatever exceeds a bound is booked all the same, and shown as ``over_bound``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from attrs import define, field

from fwd_server.metering.prices import ModelPrice, Rate

BOUND_BYTES: Final = 2  # text bytes a token, at worst
LIKELY_BYTES: Final = 4
DEFAULT_OUTPUT: Final = 32_768  # where neither the caller nor the table limits an answer
DEFAULT_LIKELY_OUTPUT: Final = 256
DEFAULT_LIMIT_OUTPUT: Final = 512  # reserved in a token limit where the caller asks for no output limit

# Meant as upper bounds for any provider: with numbers too low a call could exceed a hard budget.
_IMAGE_TOKENS: Final = 3000
_PAGE_TOKENS: Final = 3000
_PAGE_BYTES: Final = 20_000
_AUDIO_TOKENS_A_SECOND: Final = 40
_AUDIO_BYTES_A_SECOND: Final = 2000
_VIDEO_TOKENS_A_SECOND: Final = 300
_VIDEO_BYTES_A_SECOND: Final = 10_000  # a low rate: a longer film is the safe assumption
_SIGNS_OF_FILES: Final = (b'"data:', b'"input_audio"', b'"file_data"', b'"base64"')
_ANY_PROMPT: Final = 1 << 62
_OUTPUT_FIELDS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")


class InputSize(msgspec.Struct, frozen=True, gc=False):
    """What goes in: bytes of text, and tokens of the images, pages, audio and video beside it."""

    text_bytes: int
    media_tokens: int = 0

    def bound_tokens(self, context: int | None = None) -> int:
        """The most it can count; never more than the model can read."""
        tokens = -(-self.text_bytes // BOUND_BYTES) + self.media_tokens
        return tokens if context is None else min(tokens, context)

    def likely_tokens(self) -> int:
        """The probable count."""
        return -(-self.text_bytes // LIKELY_BYTES) + self.media_tokens


class HasBody(Protocol):
    """A request that was read, as far as its size depends on it."""

    @property
    def body(self) -> Mapping[str, Any]:
        """The caller's own object."""
        ...


def measure_input(body: bytes, request: HasBody) -> InputSize:
    """The size of a call: its body's length where it holds no file, else every part by what it is."""
    if getattr(request, "plain", None) is not None:  # nothing but texts
        return InputSize(len(body))
    # Most bodies hold no file, and to search their bytes costs far less than to walk their values.
    if not any(sign in body for sign in _SIGNS_OF_FILES):
        return InputSize(len(body))
    text, media = 0, 0
    for value, is_audio in _walk_strings(request.body):
        tokens = _count_media(value, is_audio)
        if tokens is None:
            text += len(value.encode("utf-8", "surrogatepass"))
        else:
            media += tokens
    return InputSize(text, media)


def _walk_strings(value: object, is_audio: bool = False) -> Iterator[tuple[str, bool]]:
    stack: list[tuple[object, bool]] = [(value, is_audio)]
    while stack:  # not recursive: a body may be nested as deep as the parser allows
        value, is_audio = stack.pop()
        if isinstance(value, str):
            yield value, is_audio
        elif isinstance(value, Mapping):
            if value.get("type") == "base64" and isinstance(value.get("data"), str):
                # A source of Anthropic's: its type stands beside the data.
                yield f"data:{value.get('media_type')};base64,{value['data']}", False
                continue
            for name, member in value.items():
                yield str(name), False
                stack.append((member, name == "input_audio" or (is_audio and name == "data")))
        elif isinstance(value, Sequence):
            stack.extend((member, is_audio) for member in value)


def _count_media(text: str, is_audio: bool) -> int | None:
    """Tokens of a file in base64; None for a text."""
    kind = text[5 : text.find("/", 5, 64)] if text.startswith("data:") else "audio" if is_audio else ""
    size = len(text) * 3 // 4
    if is_audio and len(text) < 64:
        return None  # the format beside the data: "wav"
    if kind == "image":
        return _IMAGE_TOKENS
    if kind == "audio":
        return -(-size // _AUDIO_BYTES_A_SECOND) * _AUDIO_TOKENS_A_SECOND
    if kind == "video":
        return -(-size // _VIDEO_BYTES_A_SECOND) * _VIDEO_TOKENS_A_SECOND
    return -(-size // _PAGE_BYTES) * _PAGE_TOKENS if kind == "application" else None


def find_output_limit(data: Mapping[str, Any]) -> int | None:
    """The output tokens the caller allows, in whatever field its language has for them; None for no limit."""
    for name in _OUTPUT_FIELDS:
        value = data.get(name)
        # Not isinstance: `true` is an int in Python, and no number of tokens.
        if type(value) is int and value >= 0:
            return value
    return None


def count_choices(data: Mapping[str, Any]) -> int:
    """How many answers a call asks for: each is billed."""
    value = data.get("n")
    return value if type(value) is int and value > 0 else 1


def find_bound_output(limit: int | None, choices: int, price: ModelPrice | None, fallback: int = DEFAULT_OUTPUT) -> int:
    """The most output tokens of a call: what the caller allows, else the model's own limit, for each answer."""
    if limit is None:
        limit = price.max_output if price is not None and price.max_output else fallback
    return limit * choices


class PreparedBound(NamedTuple):
    """The dearest rates of a model on a day, worked out once: (threshold, pico-dollars in, out), None for unknown."""

    rates: tuple[tuple[int, int | None, int | None], ...]
    request: int

    def cost(self, prompt: int, completion: int) -> int | None:
        """The most nano-dollars a call can cost with at most so many tokens; None where a price is unknown.

        The dearest of every rate the call may end up with: its tier's and the base tier's, because a provider may
        answer with either, and every step up to the bound, because a smaller prompt may turn out to be the dearer one.
        """
        dearest: int | None = None
        for threshold, per_input, per_output in self.rates:
            if threshold > prompt:
                continue
            if (per_input is None and prompt) or (per_output is None and completion):
                return None
            pico = prompt * (per_input or 0) + completion * (per_output or 0)
            if dearest is None or pico > dearest:
                dearest = pico
        return None if dearest is None else -(-dearest // 1000) + self.request


def prepare_bound(price: ModelPrice, day: str, tier: str, *, writes_1h: bool = False) -> PreparedBound:
    """The inputs of a bound, the same for every call of a model, day and tier."""
    rates = price.find_reachable(day, tier, _ANY_PROMPT)
    lines = tuple((rate.threshold, _dearest_input(rate, writes_1h), rate.dearest_output) for rate in rates)
    return PreparedBound(lines, price.units.get("request", 0))


def _dearest_input(rate: Rate, writes_1h: bool) -> int | None:
    dearest = rate.dearest_input
    return max(dearest, rate.cache_write_1h or 0) if writes_1h and dearest is not None else dearest


def likely_cost(price: ModelPrice, day: str, tier: str, prompt: int, completion: int) -> int | None:
    """The probable cost of a call, in nano-dollars; None if a price is unknown."""
    rate, _ = price.find_rate(day, tier, prompt)
    if rate is None or (rate.input is None and prompt) or (rate.output is None and completion):
        return None
    return (prompt * (rate.input or 0) + completion * (rate.output or 0) + 500) // 1000 + price.units.get("request", 0)


def fit_output(price: ModelPrice, day: str, tier: str, prompt: int, free: int, choices: int = 1) -> int:
    """The most output tokens that keep a call within ``free`` nano-dollars; 0 when not even the prompt fits."""
    fits: int | None = None
    for rate in price.find_reachable(day, tier, prompt):
        for_input = prompt * (rate.dearest_input or 0)
        room = (free - price.units.get("request", 0)) * 1000 - for_input
        if room < 0:
            return 0
        if rate.dearest_output:
            tokens = room // (rate.dearest_output * choices)
            fits = tokens if fits is None else min(fits, tokens)
    return fits or 0


_MEAN_OVER: Final = 1000  # answers
_MOST_MODELS: Final = 10_000


@define
class OutputMeans:
    """How long the answers of each model are: the mean of about its last 1,000, 256 tokens before the first."""

    _means: dict[str, tuple[int, float]] = field(factory=dict)

    def add_answer(self, model: str, tokens: int) -> None:
        """Count an answer."""
        count, mean = self._means.get(model, (0, 0.0))
        if count or len(self._means) < _MOST_MODELS:
            count = min(count + 1, _MEAN_OVER)
            self._means[model] = count, mean + (tokens - mean) / count

    def expect(self, model: str, limit: int | None = None) -> int:
        """The tokens an answer probably has; never more than its caller allows."""
        known = self._means.get(model)
        expected = round(known[1]) if known else DEFAULT_LIKELY_OUTPUT
        return expected if limit is None else min(expected, limit)
