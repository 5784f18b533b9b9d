"""One choice of a stream, brought to the rules: role and empty texts once, calls numbered, one end, nothing after."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from fwd_server.providers.call_ids import AnswerIds
from fwd_server.providers.compatible import frame
from fwd_server.providers.compatible.answer import finish_reason, tidy_message
from fwd_server.providers.compatible.calls import CallFragments
from fwd_server.providers.compatible.profile import ProviderProfile
from fwd_server.providers.compatible.reasoning import ReasoningEntries
from fwd_server.providers.halves import HalfCharacters
from fwd_server.providers.lenient import obj, objects
from fwd_server.values.chat import Json, choice_delta

_TEXTS: Final = ("content", "reasoning_content", "refusal")
# What makes null the content of a message that has no text.
_INSTEAD_OF_TEXT: Final = frozenset({"tool_calls", "refusal", "audio"})
_NOTHING: Final[tuple[object, ...]] = (None, "", [])
_STANDS: Final = _INSTEAD_OF_TEXT | {"content"}


class ChoiceStream:
    """The state of one choice of a stream.

    ``size`` is its text in bytes, for an estimate. ``relays`` says that more of it may go out as the bytes it comes in,
    because nothing waits to be sent before it.

    A finish reason is the end of a choice only if nothing more of it comes: some servers send one with every chunk, or
    one at the end of the thinking. So it is held until the end of the stream, and goes out once, alone and last.
    """

    __slots__ = (
        "_called",
        "_calls",
        "_finish",
        "_halves",
        "_null",
        "_opened",
        "_profile",
        "_reasoning",
        "index",
        "relays",
        "size",
    )

    def __init__(self, profile: ProviderProfile, index: int, ids: AnswerIds) -> None:
        self._profile = profile
        self.index = index
        self._calls = CallFragments(ids)
        self._halves = HalfCharacters()
        self._reasoning = ReasoningEntries()
        self._opened = False
        self._called = False
        self._null = False  # whether the content is null so far
        self._finish: Json | None = None  # the choice that had the last finish reason, without its delta
        self.relays = False
        self.size = 0

    @property
    def has_finished(self) -> bool:
        """Whether a finish reason has come."""
        return self._finish is not None

    def add_relayed(self, delta: frame.Delta) -> bool:
        """Count a delta whose frame may go out as the bytes it came in; False if it has to be rewritten."""
        if not self.relays:
            return False
        added = delta.content or delta.reasoning_content or delta.refusal
        calls = delta.tool_calls
        if calls is not UNSET:
            if added or len(calls) != 1:
                return False
            added = calls[0].function.arguments
            if not self._calls.add_relayed(calls[0].index, added):
                return False
        if not added:
            return False
        # Only what stands for an answer ends the null; a thought does not.
        if self._null and not delta.reasoning_content:
            self._null = False
        self.size += len(added) if added.isascii() else len(added.encode())
        return True

    def read_choice(self, choice: Json) -> list[Json]:
        """The choices to send for one that came: what it adds, if anything.

        Each has a ``finish_reason``, null until the end: one that came is kept until nothing more follows.
        """
        delta = self._tidy_delta(obj(choice.get("delta")))
        finish = finish_reason(choice.get("finish_reason"), called=False)
        # Bytes that went out now would overtake what is held back.
        self.relays = not self._halves and not self._reasoning
        if not delta and not finish:
            return []
        extras = self._profile.extras
        base = {"index": self.index, "delta": delta, "logprobs": choice.get("logprobs"), "finish_reason": None}
        base.update((name, value) for name, value in choice.items() if name not in base and name not in extras)
        # Some servers repeat "stop" in a last chunk for the usage: it does not replace a reason that came before.
        if finish and (self._finish is None or delta or finish != "stop"):
            logprobs = None if delta else base["logprobs"]
            self._finish = {**base, "delta": {}, "logprobs": logprobs, "finish_reason": finish}
        return [base] if delta else []

    def close(self) -> list[Json]:
        """Release what was held back, then end: "stop" if the provider says that it is done but not why.

        The finish reason goes out once, alone and last. An answer that only thought has an empty text before it.
        """
        rest = self._held_delta()
        last = self._finish or choice_delta({}, self.index, "stop")
        finish = finish_reason(last["finish_reason"], self._called and not (self._finish and self._profile.exact))
        if self._called and finish in ("tool_calls", "stop"):
            rest.setdefault("tool_calls", []).extend(self._calls.missing_arguments())
        held = {name: value for name, value in rest.items() if value}
        if self._null and held.keys().isdisjoint(_STANDS):
            held["content"] = ""  # an answer that only thinks has an empty text: its message must be taken again
        unsaid = [choice_delta(held, self.index)] if held else []
        return [*unsaid, {**last, "delta": {}, "finish_reason": finish}]

    def _tidy_delta(self, delta: Json) -> Json:
        """The content that a delta adds; role and empty texts only in the first one.

        Half a character waits for its second half, in every text of the delta. The content is "" from the first delta
        on, unless a call, a refusal or sound makes it null.
        """
        tidy = tidy_message(self._profile, delta)
        if "tool_calls" in tidy:
            tidy["tool_calls"] = self._read_calls(objects(tidy["tool_calls"]))
        for name in _TEXTS:
            value = tidy.get(name)
            if isinstance(value, str):
                if self._halves or not value.isascii():
                    value = tidy[name] = self._halves.join_piece(name, value)
                self.size += len(value.encode())
        pieces = tidy.pop("reasoning_details", None)
        if pieces or self._reasoning:
            tidy["reasoning_details"] = self._gather_reasoning(pieces, tidy)
        added = {key: value for key, value in tidy.items() if key != "role" and value not in _NOTHING}
        if self._opened:
            self._null = self._null and added.keys().isdisjoint(_STANDS)
            return added
        self._opened = True
        # The SDKs keep what the first delta says. A null stays where something may still stand for the text.
        null = "content" in tidy and tidy["content"] is None and not added.keys() - _INSTEAD_OF_TEXT
        self._null = null and not added
        refusal = {"refusal": None} if "refusal" in tidy else {}
        return {"role": "assistant", "content": None if null else "", **refusal, **added}

    def _read_calls(self, fragments: list[Json]) -> list[Json]:
        if any("custom" in fragment for fragment in fragments):
            self._called = True
            return fragments  # custom tools: only OpenAI has them, and numbers them rightly
        calls = [call for call in map(self._calls.read_fragment, fragments) if call]
        for call in calls:
            self._called = True
            function = call["function"]
            function["arguments"] = self._halves.join_piece(call["index"], function["arguments"])
            self.size += len(function["arguments"].encode())
        return [call for call in calls if "id" in call or call["function"]["arguments"]]

    def _gather_reasoning(self, pieces: object, delta: Json) -> list[Json]:
        """The entries that are whole now; the last one may go on until a text or a call comes."""
        self._reasoning.add_pieces(pieces)
        return self._reasoning.take_whole(ended=any(delta.get(name) for name in _STANDS))

    def _held_delta(self) -> Json:
        held: Json = {}
        for name, rest in self._halves.take_rest().items():
            if isinstance(name, str):
                held[name] = rest
            else:
                held.setdefault("tool_calls", []).append({"index": name, "function": {"arguments": rest}})
        held["reasoning_details"] = self._reasoning.take_whole(ended=True)
        return held
