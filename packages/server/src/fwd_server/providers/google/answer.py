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
from fwd_server.values.usage import Usage, count
from fwd_server.wire import jsontext
from fwd_server.wire.sse import LONGEST_LINE, LineTooLong

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
class Context:
    """What reading needs to know of the call.

    ``failure`` reads an object that is no answer but a failure; ``clean`` makes the provider's words fit to be shown.
    """

    model: str
    now: int
    new_id: NewId
    names: tool_names.Names
    failure: Callable[[Json], UpstreamError]
    clean: Callable[[str], str]


class Reader:
    """Reads one answer, whole or frame by frame."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._counted: Json = {}  # cumulative: the last one counts, and only then it is read
        self._choices: dict[int, _Choice] = {}
        self._ids = call_ids.AnswerIds(context.new_id)
        self._writer: answer_shape.ChunkWriter | None = None

    @property
    def usage(self) -> Usage | None:
        """Tokens as far as the provider has said."""
        return usage_of(self._counted) if self._counted else None

    def whole(self, said: Json) -> ChatResponse:
        """A whole answer. Raises UpstreamError."""
        if is_failure(said):
            raise self._context.failure(said)
        self._counted = lenient.obj(said.get("usageMetadata"))
        read = [self._candidate(candidate) for candidate in lenient.objects(said.get("candidates"))]
        read += [(choice, []) for choice in self._blocked(said)]
        if not read:
            raise upstream_failure("bad_payload", "The provider returned no usable answer.")
        choices = [choice.whole(deltas) for choice, deltas in read]
        usage = self.usage
        written = answer_shape.usage_object(usage, **_details(self._counted)) if usage else None
        return ChatResponse(answer_shape.completion(self._head(said), choices, written), usage)

    def read(self, said: Json) -> list[StreamEvent]:
        """One frame of a stream. Finish reasons wait for the end: only then nothing more can follow them."""
        if is_failure(said):
            return [self._context.failure(said)]
        writer = self._writer = self._writer or answer_shape.ChunkWriter(self._head(said))
        self._counted = lenient.obj(said.get("usageMetadata")) or self._counted
        events: list[StreamEvent] = []
        for candidate in lenient.objects(said.get("candidates")):
            choice, deltas = self._candidate(candidate)
            events += writer.deltas(
                choice.index, deltas, choice.take_logprobs() if deltas and choice.logprobs else None
            )
        if "promptFeedback" in said:
            self._blocked(said)
        return events

    def end(self) -> list[StreamEvent]:
        """The stream is complete when every choice has its finish reason and the bytes end."""
        choices = self._choices.values()
        if self._writer is None or not choices or not all(choice.reason for choice in choices):
            return [upstream_failure("upstream_truncated")]
        events: list[StreamEvent] = []
        try:
            for choice in choices:
                reason = choice.finish_reason()
                events += self._writer.deltas(choice.index, choice.last_deltas())
                events += self._writer.finish(choice.index, reason, choice.take_logprobs())
        except UpstreamError as error:
            return [*events, error]
        return [*events, *self._writer.end(self.usage, **_details(self._counted))]

    def _head(self, said: Json) -> Json:
        given = lenient.text(said.get("responseId"))
        return {
            "id": f"chatcmpl-{given}" if given else self._context.new_id("chatcmpl-"),
            "created": self._context.now,
            "model": lenient.text(said.get("modelVersion")) or self._context.model,
        }

    def _candidate(self, candidate: Json) -> tuple[_Choice, list[Json]]:
        index = count(candidate.get("index"))
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice(index, self._context, self._ids)
        return choice, choice.read(candidate)

    def _blocked(self, said: Json) -> list[_Choice]:
        """The choices that end because the prompt was blocked: the only one, where nothing was said yet."""
        feedback = lenient.obj(said.get("promptFeedback"))
        reason = lenient.text(feedback.get("blockReason"))
        if not reason or said.get("candidates"):
            return []
        self._choices = self._choices or {0: _Choice(0, self._context, self._ids)}
        for choice in self._choices.values():
            choice.block(reason, lenient.text(feedback.get("blockReasonMessage")))
        return list(self._choices.values())


@define
class _Choice:
    """What one choice has said so far, as far as the rest of it depends on that."""

    index: int
    context: Context
    ids: call_ids.AnswerIds
    reason: str = ""
    explanation: str = ""  # the provider's own words for the reason
    over: bool = False
    calls: int = 0
    refusal: str = ""
    texts: list[str] = field(factory=list)
    signatures: list[tuple[int, str]] = field(factory=list)  # of texts and pictures, and where in the content they end
    grounding: Json = field(factory=dict)
    logprobs: list[Json] = field(factory=list)

    def read(self, candidate: Json) -> list[Json]:
        """The deltas of one piece of the choice; what comes after its end is none (contract F30)."""
        self.grounding = lenient.obj(candidate.get("groundingMetadata")) or self.grounding
        self.explanation = lenient.text(candidate.get("finishMessage")) or self.explanation
        parts = lenient.objects(lenient.obj(candidate.get("content")).get("parts"))
        if self._ended_before(parts, lenient.text(candidate.get("finishReason"))):
            return []
        if "logprobsResult" in candidate:
            self.logprobs += _logprobs(lenient.obj(candidate["logprobsResult"]))
        return [delta for part in parts for delta in self._part(part)]

    def _ended_before(self, parts: list[Json], reason: str) -> bool:
        """Whether the choice was over before this piece. Older models give a reason with every piece of an answer:
        only a piece without one, after one with it, shows that the reason was the end."""
        self.over = self.over or bool(self.reason and parts and not reason)
        if not self.over:
            self.reason = reason or self.reason
        return self.over

    def whole(self, deltas: list[Json]) -> Json:
        """The choice of a whole answer. Raises UpstreamError."""
        reason = self.finish_reason()
        message = answer_shape.whole([*deltas, *self.last_deltas()])
        return answer_shape.choice_object(self.index, message, reason, self.take_logprobs())

    def block(self, reason: str, explanation: str) -> None:
        """The prompt was blocked."""
        self.reason = self.reason or "SAFETY"
        self.explanation = explanation or self.explanation
        self.refusal = self._explained(f"The provider blocked the prompt ({_plain(reason)})")

    def _explained(self, sentence: str) -> str:
        """A sentence of ours, and why in the provider's own words, if it gives any."""
        words = self.context.clean(self.explanation)
        return f"{sentence}: {words}" if words else f"{sentence}."

    def finish_reason(self) -> str:
        """OpenAI's word for the reason. Raises UpstreamError where there is nothing to show."""
        if self.refusal or self._filtered():
            return "content_filter"
        if self.reason in _LENGTH:
            return "length"
        if self.calls:
            return "tool_calls"
        if self.reason == "STOP" or self.texts:
            return "stop"
        sentence = f"The provider returned no usable answer ({_plain(self.reason)})"
        raise upstream_failure("bad_payload", self._explained(sentence))

    def last_deltas(self) -> list[Json]:
        """What is known only at the end: the sources, and why the answer was blocked."""
        refusal = self.refusal
        if not refusal and self._filtered():
            refusal = self._explained(f"The provider blocked the answer ({_plain(self.reason)})")
        sources = _citations(self.grounding, jsontext.join_halves("".join(self.texts)))
        signed = pictures.signature_fields("".join(self.texts), self.signatures)
        deltas = [signed, {"annotations": sources} if sources else {}, {"refusal": refusal} if refusal else {}]
        return [delta for delta in deltas if delta]

    def take_logprobs(self) -> Json | None:
        """The probabilities that no chunk has carried yet."""
        taken, self.logprobs = self.logprobs, []
        return {"content": taken} if taken else None

    def _filtered(self) -> bool:
        return self.reason in _FILTER or self.reason.startswith("IMAGE_")

    def _part(self, part: Json) -> list[Json]:
        said = lenient.text(part.get("text"))
        if part.get("thought") is True:
            return [{"reasoning_content": said}] if said else []
        signature = lenient.text(part.get("thoughtSignature"))
        if "functionCall" in part and lenient.obj(part["functionCall"]).get("name"):
            return [self._call(part["functionCall"], signature)]
        said = said or pictures.picture_markdown(lenient.obj(part.get("inlineData")))
        if said:
            self.texts.append(said)
        if signature:
            self.signatures.append((sum(map(len, self.texts)), signature))
        return [{"content": said}] if said else []

    def _call(self, call: Json, signature: str) -> Json:
        # Each of several parallel calls may come as the first part of a frame of its own: only counting helps.
        index, self.calls = self.calls, self.calls + 1
        call_id = self.ids.claim_id(lenient.text(call.get("id")))
        signed = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
        name = self.context.names.back(lenient.text(call["name"]))
        return answer_shape.tool_call(index, call_id, name, lenient.obj(call.get("args")), **signed)


def _plain(reason: str) -> str:
    return reason if _REASON.fullmatch(reason) else "unknown reason"


# -- beside the text


def _logprobs(result: Json) -> list[Json]:
    tops = [lenient.objects(top.get("candidates")) for top in lenient.objects(result.get("topCandidates"))]
    chosen = lenient.objects(result.get("chosenCandidates"))
    return [_logprob(one, [_logprob(top) for top in (tops[i : i + 1] or [[]])[0]]) for i, one in enumerate(chosen)]


def _logprob(one: Json, top: list[Json] | None = None) -> Json:
    return answer_shape.logprob(lenient.text(one.get("token")), one.get("logProbability"), top)


def _citations(grounding: Json, said: str) -> list[Json]:
    """Sources as annotations. Gemini counts bytes of UTF-8 where OpenAI counts characters."""
    chunks = grounding.get("groundingChunks")
    webs = [lenient.obj(lenient.obj(chunk).get("web")) for chunk in chunks] if isinstance(chunks, list) else []
    written = said.encode("utf-8", "replace")
    found = []
    for support in lenient.objects(grounding.get("groundingSupports")):
        segment = lenient.obj(support.get("segment"))
        span = [_characters(written, segment.get(name)) for name in ("startIndex", "endIndex")]
        indexes = support.get("groundingChunkIndices")
        for index in indexes if isinstance(indexes, list) else ():
            web = webs[index] if isinstance(index, int) and 0 <= index < len(webs) else {}
            found += [_citation(web, *span)] if web.get("uri") else []
    return found


def _characters(written: bytes, at: object) -> int:
    return len(written[: count(at)].decode("utf-8", "ignore"))


def _citation(web: Json, start: int, end: int) -> Json:
    source = {"url": lenient.text(web.get("uri")), "title": lenient.text(web.get("title"))}
    return {"type": "url_citation", "url_citation": {"start_index": start, "end_index": end, **source}}


# -- usage


def usage_of(counted: Json) -> Usage:
    """Tokens of an answer. Cached ones are part of the prompt; thoughts are beside the answer, on some models in it."""
    prompt = count(counted.get("promptTokenCount")) + count(counted.get("toolUsePromptTokenCount"))
    answer, thoughts = count(counted.get("candidatesTokenCount")), count(counted.get("thoughtsTokenCount"))
    within = prompt + answer == count(counted.get("totalTokenCount"))
    completion = answer if within else answer + thoughts
    cached = min(count(counted.get("cachedContentTokenCount")), prompt)
    return Usage(prompt, completion, cached=cached, reasoning=min(thoughts, completion))


_MODALITIES: Final = {"AUDIO": "audio_tokens", "IMAGE": "image_tokens"}


def _details(counted: Json) -> dict[str, int]:
    details: dict[str, int] = {}
    for entry in lenient.objects(counted.get("promptTokensDetails")):
        name = _MODALITIES.get(lenient.text(entry.get("modality")))
        if name:
            details[name] = details.get(name, 0) + count(entry.get("tokenCount"))
    return details


# -- frames

_PLAIN: Final = re.compile(rb"\n(?:\xef\xbb\xbf)?[{\[]")
_LONGEST_LEAD: Final = 4  # a line end and a byte order mark, which say nothing of what follows until it is there


class Frames:
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
        """What is left: the event the stream broke off in, and the plain JSON, one text for each of its objects."""
        return [*self._events.close(), *_each(bytes(self._plain))]


def _each(written: bytes) -> list[bytes]:
    if not written.startswith(b"["):
        return [written] if written else []
    try:
        return [jsontext.dumps(one) for one in jsontext.loads(written)]
    except orjson.JSONDecodeError:
        return [written]
