"""The official SDKs judge what our codecs say, by the same strict checks as the fixtures (``wire/validate.py``).

Every golden case is played through its codec, and the conversation of five turns through all six providers: what we
send must be what the provider's own SDK sends, what we answer must be what OpenAI's SDK reads, and text, calls,
reasoning and counts must survive in between. The answers of the conversation's upstreams are judged too.

    nox -s wire
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from attrs import frozen
from kit import conversation
from kit.providers import LANGUAGES, Language
from tests.server.callers import messages
from tests.server.providers import golden

from fwd_server.values.chat import ChatRequest
from fwd_server.callers import openai_chat as dialect

ROOT = Path(__file__).parents[2]


def load_checks() -> Any:
    """The checks of the fixtures."""
    spec = importlib.util.spec_from_file_location("validate", ROOT / "tests/golden/wire/validate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


checks = load_checks()
THEIRS = {ours: theirs for theirs, ours in golden.NAMES.items()}  # a provider's name in the fixtures
EXTRAS = frozenset({"cost", "reasoning"})  # what OpenRouter and Groq add to OpenAI's types, told by their own


@frozen
class Played:
    """One exchange, judged on its way out and on its way back."""

    provider: str
    call: ChatRequest
    extras: frozenset[str] = frozenset()

    @property
    def theirs(self) -> str:
        return THEIRS.get(self.provider, self.provider)

    def request(self) -> list[str]:
        """Problems of what we send."""
        case = golden.Case("", self.provider, "request", ROOT, {})
        sent = golden.shown_request(case, golden.open_exchange(self.provider, self.call))
        found: list[str] = checks.provider_request(self.theirs, sent, self.extras)
        return found

    def whole(self, body: bytes) -> list[str]:
        """Problems of a whole answer: the provider's, ours, and what got lost between them."""
        problems, wanted = checks.provider_json(self.theirs, orjson.loads(body), self.extras)
        answer = golden.open_exchange(self.provider, self.call).answer(body)
        ours, got = checks.chat_json(orjson.loads(dialect.render_response(answer, self.call)), self.extras)
        return [*problems, *ours, *checks.compare(wanted, got)]

    def stream(self, raw: bytes, *, fails: bool = False) -> list[str]:
        """The same of a stream."""
        problems, wanted, _ = checks.provider_stream(self.theirs, raw, self.extras)
        decoder = golden.open_exchange(self.provider, self.call).decoder()
        ours = golden.rendered(golden.play(decoder, [raw]), self.call)
        found, got = checks.chat_stream(ours, self.extras, self.call.include_usage, fails)
        if got and not self.call.include_usage:
            got["usage"] = None
        return [*problems, *found, *(checks.compare(wanted, got) if wanted and got else [])]


def fixtures() -> Iterator[tuple[str, list[str]]]:
    """Every golden case of the wire, with its problems."""
    listed = orjson.loads((golden.ROOT / "wire" / "manifest.json").read_bytes())["cases"]
    extras = {entry["name"]: frozenset(entry.get("extras", ())) for entry in listed}
    for case in golden.cases("request", "response", "stream", "stream_error", "error"):
        if case.root.name == "wire":
            played = Played(case.provider, case.request, extras[case.name])
            yield case.name, [*(_back(case, played)), *(played.request() if "client_request" in case.files else [])]


def _back(case: golden.Case, played: Played) -> list[str]:
    if case.kind == "response":
        return played.whole(case.read("upstream_response"))
    if case.kind.startswith("stream"):
        return played.stream(case.read("upstream_response"), fails=case.kind == "stream_error")
    return _failure(case) if "upstream_error" in case.files else []


def _failure(case: golden.Case) -> list[str]:
    given = case.load("upstream_error")
    body = given["body"] if isinstance(given["body"], str) else orjson.dumps(given["body"]).decode()
    error = golden.failure(case, given["status"], golden.lower(given["headers"]), body.encode())
    shown = golden.shown_error(error)
    headers = {"content-type": "application/json", "x-request-id": "req_1", **shown["headers"]}
    if "retry-after-ms" in headers:  # the finer of the two, which is the one the SDK reads
        headers["retry-after"] = str(int(headers["retry-after-ms"]) / 1000)
    shown["headers"] = headers
    found: list[str] = checks.chat_error(shown)
    return found


def messages_cases() -> Iterator[tuple[str, list[str]]]:
    """Every golden case of the Messages API, with its problems: our side of it, as Anthropic's SDK reads it."""
    for case, entry in messages.entries("request", "native_request", "response", "stream", "stream_error"):
        played, extras = messages.play_case(case, entry), frozenset(entry.get("extras", ()))
        if case.kind.endswith("request"):
            theirs = THEIRS.get(case.provider, case.provider)
            yield case.name, checks.provider_request(theirs, golden.shown_request(case, played.exchange), extras)
        elif case.kind == "response":
            whole = played.whole(case.read("upstream_response"))
            yield case.name, [*checks.check(checks.AMessage, whole), *checks.message_keys(whole)]
        else:
            told = played.stream(case.read("upstream_response"))
            yield case.name, checks.messages_stream(told, case.kind == "stream_error")[0]


def talks() -> Iterator[tuple[str, list[str]]]:
    """Every turn of the conversation with every provider, with its problems."""
    for language in LANGUAGES:
        for stream in (False, True):
            yield from _talk(language, stream)


def _talk(language: Language, stream: bool) -> Iterator[tuple[str, list[str]]]:
    so_far: list[conversation.Json] = []
    for number, turn in enumerate(conversation.TURNS):
        body = conversation.body(number, so_far)
        more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        model = f"{language.name}:{language.model}"
        played = Played(language.name, dialect.parse_request(orjson.dumps({**body, "model": model, **more})), EXTRAS)
        whole = language.whole(turn.answer)
        back = played.stream(b"".join(language.stream(turn.answer))) if stream else played.whole(whole)
        kind = "stream" if stream else "whole"
        yield f"conversation/{language.name}/{kind}/{number + 1}", [*played.request(), *back]
        answer = golden.open_exchange(language.name, played.call).answer(whole)
        so_far = [*body["messages"], answer.data["choices"][0]["message"]]


def main() -> int:
    """Print every problem; 1 if there is one."""
    judged = [*fixtures(), *messages_cases(), *talks()]
    for name, problems in judged:
        for problem in problems:
            print(f"{name}: {problem}")
    count = sum(len(problems) for _, problems in judged)
    print(f"{len(judged)} exchanges of our own judged, {count} problems")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
