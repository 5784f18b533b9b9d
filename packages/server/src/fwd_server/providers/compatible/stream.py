"""A stream in OpenAI's shape: relayed frame by frame where it keeps OpenAI's rules, put right where it does not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import orjson

from fwd_server.providers.base import NewId
from fwd_server.providers.call_ids import AnswerIds
from fwd_server.providers.compatible import frame
from fwd_server.providers.compatible.answer import is_broken, read_head, tidy_tier, tidy_usage
from fwd_server.providers.compatible.choice import ChoiceStream
from fwd_server.providers.compatible.error_text import is_failure
from fwd_server.providers.compatible.profile import ProviderProfile
from fwd_server.providers.lenient import obj, objects
from fwd_server.values.chat import ChatRequest, Chunk, End, Json, StreamEvent
from fwd_server.values.errors import UpstreamError, upstream_failure
from fwd_server.values.usage import Usage, parse_usage
from fwd_server.wire import jsontext, sse, tokens

_OBJECT: Final = "chat.completion.chunk"
_NOT_REST: Final = ("id", "object", "created", "model", "choices", "usage")


class CompatibleDecoder:
    """Bytes of the upstream to events, for one caller.

    ``head`` has created and model for a provider that sends none; ``failure`` reads an error object. Everything that
    counts over the whole stream is kept here or in the choices, because a provider may begin anything anew in a chunk.
    """

    __slots__ = (
        "_call_ids",
        "_choices",
        "_done",
        "_events",
        "_failure",
        "_finish_fields",
        "_frame_decoder",
        "_head",
        "_key",
        "_last_fields",
        "_new_id",
        "_profile",
        "_request",
        "_wants_usage",
        "usage",
    )

    progress = 0  # thinking is shown in this language, so every sign of work is an event

    def __init__(
        self,
        profile: ProviderProfile,
        request: ChatRequest,
        head: Json,
        new_id: NewId,
        failure: Callable[[object], UpstreamError],
    ) -> None:
        self._profile = profile
        self._request = request
        self._wants_usage = request.include_usage
        self._frame_decoder = frame.make_decoder(profile.extras)
        self._head = head
        self._key: tuple[Any, ...] = ()  # the head as a frame has it, from the first chunk on
        self._new_id = new_id
        self._call_ids = AnswerIds(new_id)
        self._failure = failure
        self._events = sse.EventDecoder()
        self._choices: dict[int, ChoiceStream] = {}
        self._finish_fields: Json = {}  # the other fields of the last chunk with a finish reason
        self._last_fields: Json = {}  # the other fields of the chunk with the usage
        self._done = False
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events that ``data`` completes."""
        events: list[StreamEvent] = []
        if self._done:
            return events
        try:
            for event in self._events.feed(data):
                self._read_event(event, events)
        except sse.LineTooLong:
            self._end_with_error(upstream_failure("too_large"), events)
        except orjson.JSONDecodeError:
            self._end_with_error(upstream_failure("bad_payload"), events)
        return events

    def close(self) -> list[StreamEvent]:
        """The body is over: the end if every choice has its finish reason (F23), else the stream was cut (F22)."""
        events: list[StreamEvent] = []
        if not self._done:
            self._read_last_event(events)
        if not self._done and self._choices and all(choice.has_finished for choice in self._choices.values()):
            self._end_stream(events)
        if not self._done:
            self._end_with_error(upstream_failure("upstream_truncated"), events)
        return events

    def _read_last_event(self, events: list[StreamEvent]) -> None:
        """The event the body broke off in, if it is whole; if not, what came before it decides."""
        try:
            for event in self._events.close():
                with contextlib.suppress(orjson.JSONDecodeError):
                    self._read_event(event, events)
        except sse.LineTooLong:
            self._end_with_error(upstream_failure("too_large"), events)

    def _end_with_error(self, error: UpstreamError, events: list[StreamEvent]) -> None:
        self._done = True
        events.append(error)

    def _read_event(self, event: sse.Event, events: list[StreamEvent]) -> None:
        if self._done:
            return
        if event.data.startswith(b"[DONE]"):
            self._end_stream(events)
            return
        if event.name == "error":
            self._end_with_error(self._failure(_read_error_event(event.data)), events)
            return
        relayed = self._relay_frame(event.data)
        if relayed is not None:
            events.append(Chunk(True, frame=relayed))
            return
        self._parse_event(event, events)

    # -- relayed

    def _relay_frame(self, data: bytes) -> bytes | None:
        """The event to send for ``data`` if it gives something to a choice that has begun; else it has to be parsed."""
        if not self._profile.relays:
            return None
        fitting = frame.read_frame(self._frame_decoder, data)
        if fitting is None or (fitting.id, fitting.created, fitting.model, fitting.object) != self._key:
            return None
        choice = fitting.choices[0]
        state = self._choices.get(choice.index)
        if state is None:
            return None
        relayed = frame.relay_json(data, fitting, wants_usage=self._wants_usage)
        return relayed if relayed is not None and state.add_relayed(choice.delta) else None

    # -- parsed

    def _parse_event(self, event: sse.Event, events: list[StreamEvent]) -> None:
        chunk = jsontext.loads(event.data, keep_halves=True)
        if not isinstance(chunk, dict):
            self._end_with_error(upstream_failure("bad_payload"), events)
            return
        failed = _find_failure(chunk)
        if failed is not None:
            self._end_with_error(self._failure(jsontext.replace_halves(failed)), events)
        else:
            self._read_chunk(chunk, events)

    def _read_chunk(self, chunk: Json, events: list[StreamEvent]) -> None:
        """A chunk's choices one by one, each after the chunk's head; its usage waits for the end."""
        rest = {k: v for k, v in chunk.items() if k not in _NOT_REST and k not in self._profile.extras}
        tidy_tier(self._profile, rest)
        self._note_usage(chunk, rest)
        choices = objects(chunk.get("choices"))
        if not self._key and (choices or chunk.get("id")):
            self._fix_head(chunk)
        for choice in choices:
            state = self._find_choice(choice.get("index"))
            events += [self._make_chunk(rest, [added]) for added in state.read_choice(choice)]
            if choice.get("finish_reason"):
                self._finish_fields = rest
                self._choices[state.index] = self._choices.pop(state.index)  # they end in the order of their reasons
        if chunk.get("choices") == [] and self._key and rest and not chunk.get("usage"):
            events.append(self._make_chunk(rest, []))

    def _fix_head(self, chunk: Json) -> None:
        """The first chunk's head is the head of all: id, created and model never change."""
        self._head = {**read_head(chunk, self._head, self._new_id), "object": _OBJECT}
        self._key = (self._head["id"], self._head["created"], self._head["model"], _OBJECT)

    def _find_choice(self, index: object) -> ChoiceStream:
        number = index if isinstance(index, int) else 0
        if number not in self._choices:
            self._choices[number] = ChoiceStream(self._profile, number, self._call_ids)
        return self._choices[number]

    def _note_usage(self, chunk: Json, rest: Json) -> None:
        """Keep the latest count; it goes out in a chunk of its own at the end, whichever chunk it came in."""
        # Groq states it in `x_groq`, in some streams only there.
        usage = chunk.get("usage") or obj(chunk.get("x_groq")).get("usage")
        if isinstance(usage, dict):
            tidy = tidy_usage(self._profile, usage)
            self.usage = parse_usage(tidy, rest.get("service_tier"))
            self._last_fields = {**rest, "usage": tidy}

    def _make_chunk(self, rest: Json, choices: list[Json]) -> Chunk:
        commits = any(choice["finish_reason"] or _has_content(choice["delta"]) for choice in choices)
        return Chunk(commits, {**self._head, "choices": choices, **rest})

    # -- the end

    def _end_stream(self, events: list[StreamEvent]) -> None:
        """Choices left open are over; then the usage, counted by us where the provider did not, and the end."""
        if not self._choices:
            # A stream without a choice says nothing; as an error it can still fall back (contract F20).
            self._end_with_error(upstream_failure("bad_payload", "The provider returned an empty answer."), events)
            return
        self._done = True
        for choice in self._choices.values():
            events += [self._make_chunk(self._finish_fields, [last]) for last in choice.close()]
        if self.usage is None:
            self._estimate_usage()
        events += [self._make_chunk(self._last_fields, []), End(self.usage)]

    def _estimate_usage(self) -> None:
        size = sum(choice.size for choice in self._choices.values())
        # Marked as an estimate: a call without any count would look free (contract T30).
        prompt = tokens.estimate_prompt(self._request.body)
        self.usage = Usage(prompt, tokens.estimate_bytes(size), estimated=True)
        self._last_fields = {"usage": tokens.render_usage(self.usage)}


def _read_error_event(data: bytes) -> object:
    """What an event named ``error`` says: an object, a text, or plain words that are no JSON at all."""
    try:
        return jsontext.loads(data)
    except orjson.JSONDecodeError:
        words = data.decode("utf-8", "replace")
        return "" if "<" in words else words  # a page of HTML is never passed on


def _find_failure(chunk: Json) -> Json | None:
    """The failure in a chunk: its own error, Groq's, or a choice that ended because the provider failed."""
    if is_failure(chunk):
        return chunk
    groq = obj(chunk.get("x_groq"))
    if groq.get("error"):
        return groq
    return next(filter(is_broken, objects(chunk.get("choices"))), None)


def _has_content(delta: Json) -> bool:
    """Whether a delta is content: anything but a role and empty texts (contract 3a)."""
    return any(value for key, value in delta.items() if key != "role")
