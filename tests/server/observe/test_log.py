"""Log lines: one a request, as JSON or as words, and nothing in them that runs free."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from fwd_server.observe import log
from fwd_server.observe.access_log import AccessLog
from fwd_server.values.call import Attempt, Outcome, RequestEnd
from fwd_server.values.usage import Usage

OUTCOME = Outcome(
    id="req_1",
    caller="web",
    requested_model="gpt-x",
    status=200,
    stream=True,
    provider="groq",
    model="llama",
    attempts=(Attempt("openai", "gpt-x", 10.04, 503, "provider_overloaded"), Attempt("groq", "llama", 20.0, 200)),
    usage=Usage(12, 34, cached=2),
    ttft_ms=123.456,
    total_ms=1234.5,
    peer="127.0.0.1",
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], root.level = before[0], before[1]
    root.setLevel(before[1])


def test_a_call_is_one_json_line() -> None:
    """Issue: id, key name, model, provider, status, attempts, times, tokens."""
    out = io.StringIO()
    log.configure_logging("info", "auto", out)
    AccessLog().call_ended(OUTCOME)
    (line,) = out.getvalue().splitlines()
    found = json.loads(line)
    assert (found["id"], found["key"], found["provider"], found["status"]) == ("req_1", "web", "groq", 200)
    assert (found["ttft_ms"], found["tokens_in"], found["tokens_out"]) == (123.5, 12, 34)
    assert [attempt["provider"] for attempt in found["attempts"]] == ["openai", "groq"]
    assert "error" not in found


def test_a_terminal_gets_words() -> None:
    out = Terminal()
    log.configure_logging("info", "auto", out)
    AccessLog().call_ended(OUTCOME)
    assert "gpt-x -> groq:llama" in out.getvalue()
    assert "1234.5 ms (first 123.5 ms)" in out.getvalue()
    assert "12->34 tok" in out.getvalue()
    assert "2 attempts" in out.getvalue()


@pytest.mark.parametrize(
    ("provider", "model", "said"),
    [("echo", "echo:", "m -> echo:"), ("ollama", "llama3:8b", "m -> ollama:llama3:8b"), (None, None, "200  k  m")],
)
def test_words_name_who_answered(provider: str | None, model: str | None, said: str) -> None:
    out = io.StringIO()
    log.configure_logging("info", "text", out)
    AccessLog().call_ended(Outcome("r", "k", "m", 200, False, provider=provider, model=model))
    assert f"{said}  " in out.getvalue()


def test_a_level_above_info_keeps_quiet_about_what_went_well() -> None:
    out = io.StringIO()
    log.configure_logging("warning", "json", out)
    AccessLog().call_ended(OUTCOME)
    assert out.getvalue() == ""


def test_estimates_are_marked() -> None:
    out = io.StringIO()
    log.configure_logging("info", "text", out)
    AccessLog().call_ended(Outcome("r", "k", "m", 200, False, usage=Usage(1, 2, estimated=True)))
    assert "~1->2 tok" in out.getvalue()


@pytest.mark.parametrize("form", ["json", "text"])
def test_control_characters_never_reach_the_sink(form: str) -> None:
    """T37: lines are lines, whatever stands in them."""
    out = io.StringIO()
    log.configure_logging("info", form, out)
    odd = "x\r\nFAKE \x1b[2J \x9b \u2028 \u202e \x7f"
    AccessLog().request_ended(RequestEnd(odd, 404, "GET", "/\n"))
    text = out.getvalue()
    assert text.count("\n") == 1
    assert not set("\r\x1b\x7f\x9b\u2028\u202e") & set(text)
    if form == "text":
        assert not set("\x9b\u2028\u202e") & set(text)


def test_a_bug_has_its_traceback() -> None:
    for form in ("json", "text"):
        out = io.StringIO()
        log.configure_logging("info", form, out)
        try:
            raise ZeroDivisionError("why")
        except ZeroDivisionError:
            log.app.exception("It broke")
        assert "ZeroDivisionError: why" in out.getvalue()
        assert "It broke" in out.getvalue()


@pytest.mark.parametrize(("code", "loud"), [("provider_auth", True), ("tls_failed", True), ("provider_error", False)])
def test_what_does_not_pass_by_itself_is_an_alarm(code: str, loud: bool, caplog: pytest.LogCaptureFixture) -> None:
    """F4, F18: a line of fwd.upstream that says whose key or certificate it is, with another answering or not."""
    with caplog.at_level(logging.INFO):
        AccessLog().call_ended(
            Outcome("req_1", "web", None, 200, False, attempts=(Attempt("openai", "m", 1.0, 401, code),))
        )
    alarms = [record for record in caplog.records if record.name == "fwd.upstream"]
    assert [record.levelname for record in alarms] == ["ERROR"] * loud
    assert all("openai" in log.TextLines().format(record) for record in alarms)
