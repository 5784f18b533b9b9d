"""From Gemini's answers to OpenAI's. A frame of a stream has the shape of a whole answer, so one reader serves both.

https://ai.google.dev/api/generate-content#generatecontentresponse
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import orjson
from attrs import define, field, frozen

from fwd_server.providers import answer_shape, call_ids, json_stream, lenient, tool_names
from fwd_server.providers.base import NewId
from fwd_server.providers.google import pictures
from fwd_server.providers.google.failure import is_failure
from fwd_server.values.chat import ChatResponse, Json, StreamEvent
from fwd_server.values.errors import UpstreamError, upstream_failure
from fwd_server.values.usage import Usage, clean_count
from fwd_server.wire import jsontext
from fwd_server.wire.sse import LONGEST_LINE, LineTooLong

# https://ai.google.dev/api/generate-content#FinishReason
_LENGTH: Final = frozenset({"MAX_TOKENS", "CONTINUATION"})
_FILTER: Final = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "NO_IMAGE",
        "ESCALATION",
        "MODEL_ARMOR",
    }
)
_REASON: Final = re.compile(r"[A-Z_]{1,64}")


@frozen
class ReadContext:
    """What reading needs to know of the call.

    ``failure`` reads an object that is no answer but a failure; ``clean`` makes the provider's words fit to be shown.
    """

    model: str
    now: int
    new_id: NewId
    names: tool_names.NameMap
    failure: Callable[[Json], UpstreamError]
    clean: Callable[[str], str]


class AnswerReader:
    """Reads one answer, whole or frame by frame."""

    def __init__(self, context: ReadContext) -> None:
        self._context = context
        # Counts are cumulative and on most frames: only the last ones are read.
        self._counted: Json = {}
        self._choices: dict[int, _Choice] = {}
        self._ids = call_ids.AnswerIds(context.new_id)
        self._writer: answer_shape.ChunkWriter | None = None

    @property
    def usage(self) -> Usage | None:
        """Tokens as far as the provider has reported them; None before that."""
        return usage_of(self._counted) if self._counted else None

    def read_whole(self, response: Json) -> ChatResponse:
        """Read a whole answer. Raises UpstreamError for a failure, and where there is nothing to show."""
        if is_failure(response):
            raise self._context.failure(response)
        self._counted = lenient.obj(response.get("usageMetadata"))
        read = [self._read_candidate(candidate) for candidate in lenient.objects(response.get("candidates"))]
        read += [(choice, []) for choice in self._blocked_choices(response)]
        # Neither a candidate nor a reason: there is nothing that could be told as an answer (pitfall 31).
        if not read:
            raise upstream_failure("bad_payload", "The provider returned no usable answer.")
        choices = [choice.whole_choice(deltas) for choice, deltas in read]
        usage = self.usage
        written = answer_shape.usage_object(usage, **_prompt_details(self._counted)) if usage else None
        return ChatResponse(answer_shape.completion_object(self._answer_head(response), choices, written), usage)

    def read_object(self, response: Json) -> list[StreamEvent]:
        """Read one frame of a stream. Finish reasons wait for the end, because more may follow them until then."""
        if is_failure(response):
            return [self._context.failure(response)]
        writer = self._writer = self._writer or answer_shape.ChunkWriter(self._answer_head(response))
        self._counted = lenient.obj(response.get("usageMetadata")) or self._counted
        events: list[StreamEvent] = []
        for candidate in lenient.objects(response.get("candidates")):
            choice, deltas = self._read_candidate(candidate)
            events += writer.write_deltas(
                choice.index, deltas, choice.take_logprobs() if deltas and choice.logprobs else None
            )
        # The block may come after the first frames; its refusal is written with the end of the choices.
        if "promptFeedback" in response:
            self._blocked_choices(response)
        return events

    def finish_stream(self) -> list[StreamEvent]:
        """The stream is complete when every choice has its finish reason and the bytes end."""
        choices = self._choices.values()
        if self._writer is None or not choices or not all(choice.reason for choice in choices):
            return [upstream_failure("upstream_truncated")]
        events: list[StreamEvent] = []
        try:
            for choice in choices:
                reason = choice.finish_reason()
                events += self._writer.write_deltas(choice.index, choice.last_deltas())
                events += self._writer.finish_choice(choice.index, reason, choice.take_logprobs())
        except UpstreamError as error:
            return [*events, error]
        return [*events, *self._writer.end_stream(self.usage, **_prompt_details(self._counted))]

    def _answer_head(self, response: Json) -> Json:
        response_id = lenient.text(response.get("responseId"))
        return {
            # Every frame has the same id; only the first one is read, so that all chunks have one head (pitfall 46).
            "id": f"chatcmpl-{response_id}" if response_id else self._context.new_id("chatcmpl-"),
            "created": self._context.now,
            "model": lenient.text(response.get("modelVersion")) or self._context.model,
        }

    def _read_candidate(self, candidate: Json) -> tuple[_Choice, list[Json]]:
        # Gemini leaves the index 0 out.
        index = clean_count(candidate.get("index"))
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice(index, self._context, self._ids)
        return choice, choice.read_candidate(candidate)

    def _blocked_choices(self, response: Json) -> list[_Choice]:
        """The choices that end because the prompt was blocked; the first one if none has begun."""
        feedback = lenient.obj(response.get("promptFeedback"))
        reason = lenient.text(feedback.get("blockReason"))
        if not reason or response.get("candidates"):
            return []
        self._choices = self._choices or {0: _Choice(0, self._context, self._ids)}
        for choice in self._choices.values():
            choice.block_prompt(reason, lenient.text(feedback.get("blockReasonMessage")))
        return list(self._choices.values())


@define
class _Choice:
    """The state of one choice: what the rest of it depends on."""

    index: int
    context: ReadContext
    ids: call_ids.AnswerIds
    reason: str = ""
    explanation: str = ""  # the provider's own words for the reason
    is_over: bool = False
    calls: int = 0
    refusal: str = ""
    texts: list[str] = field(factory=list)
    signatures: list[tuple[int, str]] = field(factory=list)  # of texts and pictures, and where in the content they end
    grounding: Json = field(factory=dict)
    logprobs: list[Json] = field(factory=list)

    def read_candidate(self, candidate: Json) -> list[Json]:
        """The deltas of one piece of the choice; nothing for what comes after its end (contract F30)."""
        self.grounding = lenient.obj(candidate.get("groundingMetadata")) or self.grounding
        self.explanation = lenient.text(candidate.get("finishMessage")) or self.explanation
        parts = lenient.objects(lenient.obj(candidate.get("content")).get("parts"))
        if self._ended_before(parts, lenient.text(candidate.get("finishReason"))):
            return []
        if "logprobsResult" in candidate:
            self.logprobs += _read_logprobs(lenient.obj(candidate["logprobsResult"]))
        return [delta for part in parts for delta in self._read_part(part)]

    def _ended_before(self, parts: list[Json], reason: str) -> bool:
        """Whether the choice was over before this piece.

        Older models give a reason with every piece of an answer: only a piece without one, after one with it, shows
        that the reason was the end.
        """
        self.is_over = self.is_over or bool(self.reason and parts and not reason)
        if not self.is_over:
            self.reason = reason or self.reason
        return self.is_over

    def whole_choice(self, deltas: list[Json]) -> Json:
        """The choice of a whole answer. Raises UpstreamError."""
        reason = self.finish_reason()
        message = answer_shape.merge_deltas([*deltas, *self.last_deltas()])
        return answer_shape.choice_object(self.index, message, reason, self.take_logprobs())

    def block_prompt(self, reason: str, explanation: str) -> None:
        """End the choice because the prompt was blocked; ``explanation`` is why, in the provider's words."""
        self.reason = self.reason or "SAFETY"
        self.explanation = explanation or self.explanation
        self.refusal = self._explain(f"The provider blocked the prompt ({_plain_reason(reason)})")

    def _explain(self, sentence: str) -> str:
        """Our own sentence, with the provider's reason if it gives one."""
        words = self.context.clean(self.explanation)
        return f"{sentence}: {words}" if words else f"{sentence}."

    def finish_reason(self) -> str:
        """OpenAI's word for the reason. Raises UpstreamError where there is nothing to show."""
        # Gemini says STOP for calls too, and may say it in a later frame than the calls.
        if self.refusal or self._is_filtered():
            return "content_filter"
        # A call that was cut off by the length is not complete, so the client must not run it.
        if self.reason in _LENGTH:
            return "length"
        if self.calls:
            return "tool_calls"
        if self.reason == "STOP" or self.texts:
            return "stop"
        sentence = f"The provider returned no usable answer ({_plain_reason(self.reason)})"
        raise upstream_failure("bad_payload", self._explain(sentence))

    def last_deltas(self) -> list[Json]:
        """Fields known only at the end: the sources, and why the answer was blocked."""
        refusal = self.refusal
        if not refusal and self._is_filtered():
            refusal = self._explain(f"The provider blocked the answer ({_plain_reason(self.reason)})")
        sources = _read_citations(self.grounding, jsontext.join_halves("".join(self.texts)))
        signed = pictures.signature_fields("".join(self.texts), self.signatures)
        deltas = [signed, {"annotations": sources} if sources else {}, {"refusal": refusal} if refusal else {}]
        return [delta for delta in deltas if delta]

    def take_logprobs(self) -> Json | None:
        """The probabilities that no chunk has carried yet."""
        taken, self.logprobs = self.logprobs, []
        return {"content": taken} if taken else None

    def _is_filtered(self) -> bool:
        return self.reason in _FILTER or self.reason.startswith("IMAGE_")

    def _read_part(self, part: Json) -> list[Json]:
        """The deltas of one part; none for code that ran at Google, its results, and parts of unknown kinds."""
        content = lenient.text(part.get("text"))
        if part.get("thought") is True:
            return [{"reasoning_content": content}] if content else []
        signature = lenient.text(part.get("thoughtSignature"))
        # A call without a name cannot be answered, and Gemini refuses it in the history (pitfall 15).
        if "functionCall" in part and lenient.obj(part["functionCall"]).get("name"):
            return [self._read_call(part["functionCall"], signature)]
        content = content or pictures.picture_markdown(lenient.obj(part.get("inlineData")))
        if content:
            self.texts.append(content)
        # A stream may bring it alone, on a part with an empty text after all others.
        if signature:
            self.signatures.append((sum(map(len, self.texts)), signature))
        return [{"content": content}] if content else []

    def _read_call(self, call: Json, signature: str) -> Json:
        # Each of several parallel calls may come as the first part of a frame of its own: only counting helps.
        index, self.calls = self.calls, self.calls + 1
        call_id = self.ids.claim_id(lenient.text(call.get("id")))
        signed = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
        name = self.context.names.caller_name(lenient.text(call["name"]))
        return answer_shape.tool_call(index, call_id, name, lenient.obj(call.get("args")), **signed)


def _plain_reason(reason: str) -> str:
    # The reason becomes part of our messages, so only words of the enum are allowed.
    return reason if _REASON.fullmatch(reason) else "unknown reason"


# -- beside the text


def _read_logprobs(result: Json) -> list[Json]:
    tops = [lenient.objects(top.get("candidates")) for top in lenient.objects(result.get("topCandidates"))]
    chosen = lenient.objects(result.get("chosenCandidates"))
    return [
        _read_logprob(token, [_read_logprob(top) for top in (tops[i : i + 1] or [[]])[0]])
        for i, token in enumerate(chosen)
    ]


def _read_logprob(token: Json, top: list[Json] | None = None) -> Json:
    return answer_shape.logprob_object(lenient.text(token.get("token")), token.get("logProbability"), top)


def _read_citations(grounding: Json, content: str) -> list[Json]:
    """Sources as annotations. Gemini counts bytes of UTF-8 where OpenAI counts characters."""
    chunks = grounding.get("groundingChunks")
    webs = [lenient.obj(lenient.obj(chunk).get("web")) for chunk in chunks] if isinstance(chunks, list) else []
    written = content.encode("utf-8", "replace")
    citations = []
    for support in lenient.objects(grounding.get("groundingSupports")):
        segment = lenient.obj(support.get("segment"))
        span = [_character_index(written, segment.get(name)) for name in ("startIndex", "endIndex")]
        indexes = support.get("groundingChunkIndices")
        for index in indexes if isinstance(indexes, list) else ():
            web = webs[index] if isinstance(index, int) and 0 <= index < len(webs) else {}
            citations += [_url_citation(web, *span)] if web.get("uri") else []
    return citations


def _character_index(written: bytes, at: object) -> int:
    # An index in the middle of a character counts the whole characters before it.
    return len(written[: clean_count(at)].decode("utf-8", "ignore"))


def _url_citation(web: Json, start: int, end: int) -> Json:
    source = {"url": lenient.text(web.get("uri")), "title": lenient.text(web.get("title"))}
    return {"type": "url_citation", "url_citation": {"start_index": start, "end_index": end, **source}}


# -- usage


def usage_of(counted: Json) -> Usage:
    """Tokens of an answer. Cached ones are part of the prompt; thoughts are beside the answer, on some models in it."""
    prompt = clean_count(counted.get("promptTokenCount")) + clean_count(counted.get("toolUsePromptTokenCount"))
    answer, thoughts = clean_count(counted.get("candidatesTokenCount")), clean_count(counted.get("thoughtsTokenCount"))
    # Some models count the thoughts into the answer already (pitfall 39): then the sum without them is the total.
    within = prompt + answer == clean_count(counted.get("totalTokenCount"))
    completion = answer if within else answer + thoughts
    cached = min(clean_count(counted.get("cachedContentTokenCount")), prompt)
    given, kept = _count_modalities(counted, "promptTokensDetails"), _count_modalities(counted, "cacheTokensDetails")
    made = _count_modalities(counted, "candidatesTokensDetails")
    audio_in = min(given.get("AUDIO", 0), prompt)
    return Usage(
        prompt,
        completion,
        cached=cached,
        reasoning=min(thoughts, completion),
        audio_in=audio_in,
        audio_cached=min(kept.get("AUDIO", 0), cached, audio_in),
        audio_out=min(made.get("AUDIO", 0), completion),
        # Cached pictures cost what cached text does, so they are counted there.
        image_in=min(max(given.get("IMAGE", 0) - kept.get("IMAGE", 0), 0), prompt),
        image_out=min(made.get("IMAGE", 0), completion),
    )


_MODALITIES: Final = {"AUDIO": "audio_tokens", "IMAGE": "image_tokens"}


def _prompt_details(counted: Json) -> dict[str, int]:
    given = _count_modalities(counted, "promptTokensDetails")
    return {_MODALITIES[name]: tokens for name, tokens in given.items() if name in _MODALITIES}


def _count_modalities(counted: Json, name: str) -> dict[str, int]:
    """Tokens by modality (``TEXT``, ``IMAGE``, ``AUDIO``, ``VIDEO``, ``DOCUMENT``) in one of the lists of details."""
    counts: dict[str, int] = {}
    for entry in lenient.objects(counted.get(name)):
        modality = lenient.text(entry.get("modality"))
        counts[modality] = counts.get(modality, 0) + clean_count(entry.get("tokenCount"))
    return counts


# -- frames

_PLAIN: Final = re.compile(rb"\n(?:\xef\xbb\xbf)?[{\[]")
_LONGEST_LEAD: Final = 4  # a line end and a byte order mark, which say nothing of what follows until it is there


class FrameSplitter:
    """The frames of a stream: server-sent events, and what comes as plain JSON after or instead of them.

    An error may arrive as plain JSON, on one line or on many. No line of an event begins with a bracket, so from
    such a line on everything is one JSON text, which is whole when the bytes end.
    """

    def __init__(self) -> None:
        self._events = json_stream.EventData()
        self._plain = bytearray()
        self._before = b"\n"

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that ``data`` completes. Raises LineTooLong."""
        if not self._plain:
            joined = self._before + data
            begun = _PLAIN.search(joined)
            at = begun.end() - 1 - len(self._before) if begun else 0  # of the bracket, in data
            self._before = joined[-_LONGEST_LEAD:]
            if begun is None:
                return self._events.feed(data)
            self._plain += data[at:]
            return self._events.feed(data[:at])
        self._plain += data
        if len(self._plain) > LONGEST_LINE:
            raise LineTooLong
        return []

    def close(self) -> list[bytes]:
        """The rest at the end: the event the stream broke off in, and the plain JSON, one text for each object."""
        return [*self._events.close(), *_split_objects(bytes(self._plain))]


def _split_objects(written: bytes) -> list[bytes]:
    if not written.startswith(b"["):
        return [written] if written else []
    try:
        return [jsontext.dumps(token) for token in jsontext.loads(written)]
    except orjson.JSONDecodeError:
        return [written]
