"""One choice of a stream, brought to the rules: role and empty texts once, calls numbered, one end, nothing after."""

from __future__ import annotations

from fwd_server.providers.base import NewId
from fwd_server.providers.compatible.answer import finish_reason, tidy_said
from fwd_server.providers.compatible.calls import Calls
from fwd_server.providers.compatible.profile import ProviderProfile
from fwd_server.providers.lenient import obj, objects
from fwd_server.values.chat import Json, choice_delta


class ChoiceStream:
    """What one choice has said so far. ``size`` is its text in bytes, for an estimate."""

    def __init__(self, profile: ProviderProfile, index: int, new_id: NewId) -> None:
        self._profile = profile
        self._index = index
        self._calls = Calls(new_id)
        self._opened = False
        self._called = False
        self.finished = False
        self.size = 0

    def take(self, choice: Json) -> list[Json]:
        """The choices to send for one that came: what it adds, and then its end."""
        if self.finished:
            return []
        kept = {key: value for key, value in choice.items() if key not in self._profile.extras}
        base = {**choice_delta({}), **kept, "index": self._index}
        delta = self._delta(obj(choice.get("delta")))
        said = [{**base, "delta": delta, "finish_reason": None}] if delta else []
        finish = finish_reason(choice.get("finish_reason"), self._called and not self._profile.exact)
        if not finish:
            return said
        return [*said, *self._end({**base, "logprobs": None if said else base["logprobs"], "finish_reason": finish})]

    def end(self) -> list[Json]:
        """The end of a choice whose provider says that all is done, and not why."""
        finish = "tool_calls" if self._called else "stop"
        return [] if self.finished else self._end(choice_delta({}, self._index, finish))

    def _delta(self, said: Json) -> Json:
        """What a delta adds; role and empty texts only in the first one."""
        tidy = tidy_said(self._profile, said)
        calls = self._fragments(objects(tidy.pop("tool_calls", None)))
        keep = () if self._opened else ("content", "refusal")
        delta = {k: v for k, v in tidy.items() if k != "role" and (k in keep or v not in (None, "", []))}
        first = {} if self._opened else {"role": "assistant", "content": ""}
        self._opened = True
        self._called = self._called or bool(calls)
        self._measure(delta, calls)
        return {**first, **delta, **({"tool_calls": calls} if calls else {})}

    def _fragments(self, fragments: list[Json]) -> list[Json]:
        if any("custom" in fragment for fragment in fragments):
            return fragments  # custom tools: only OpenAI has them, and numbers them rightly
        return [call for call in map(self._calls.take, fragments) if call]

    def _measure(self, delta: Json, calls: list[Json]) -> None:
        texts = [*delta.values(), *(obj(call.get("function")).get("arguments") for call in calls)]
        self.size += sum(len(value.encode()) for value in texts if isinstance(value, str))

    def _end(self, last: Json) -> list[Json]:
        """The last one has no delta; calls that never got arguments get an empty object before it."""
        self.finished = True
        empty = [] if self._profile.exact or last["finish_reason"] != "tool_calls" else self._calls.unsaid()
        unsaid = [choice_delta({"tool_calls": empty}, self._index)] if empty else []
        return [*unsaid, {**last, "delta": {}}]
