"""``fwd call``: what is sent, what is shown, and how it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from tests.cli.conftest import DONE, KEY, FakeGateway, Run, answer, chunk

from fwd_cli.commands.call import check_raw

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def at_gateway(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDER_URL", gateway.url)
    monkeypatch.setenv("FORWARDER_KEY", KEY)


def sent(gateway: FakeGateway) -> dict[str, Any]:
    """The one request that was sent, without what the SDK adds to every stream."""
    (request,) = gateway.requests
    return {name: value for name, value in request.items() if name not in ("stream", "stream_options", "path")}


def test_an_answer_goes_to_stdout_and_words_about_it_to_stderr(gateway: FakeGateway, fwd: Run) -> None:
    """stdout is the text and nothing else; one line on stderr says where it came from."""
    ended = fwd("call", "hi", "--model", "echo:")
    assert (ended.code, ended.out) == (0, "Hello.\n")
    assert ended.err.startswith("echo: via echo · ")
    assert ended.err.endswith("(first token " + ended.err.split("(first token ")[1])
    assert ended.err.endswith(" · 3→2 tok · req_1\n")


def test_only_what_was_given_is_sent(gateway: FakeGateway, fwd: Run) -> None:
    """Without options the gateway chooses model and parameters."""
    fwd("call", "hi")
    assert sent(gateway) == {"key": f"Bearer {KEY}", "messages": [{"role": "user", "content": "hi"}]}


def test_every_option_is_sent(gateway: FakeGateway, fwd: Run) -> None:
    """Each option has its field."""
    fwd("call", "hi", "-m", "echo:x", "-t", "0.5", "--max-tok", "7", "-s", "Be brief.", "-k", "fwd_other")
    assert sent(gateway) == {
        "key": "Bearer fwd_other",
        "model": "echo:x",
        "temperature": 0.5,
        "max_tokens": 7,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
    }


@pytest.mark.parametrize(
    ("arguments", "piped", "prompt"),
    [
        (["why?"], "some log\n", "some log\n\nwhy?"),
        (["-"], "only this\n", "only this"),
        ([], "only this\n", "only this"),
        (["why?"], None, "why?"),
        (["why?"], "", "why?"),
    ],
)
def test_the_prompt_is_the_argument_and_what_is_piped_in(
    gateway: FakeGateway, fwd: Run, arguments: list[str], piped: str | None, prompt: str
) -> None:
    """What is piped in comes first, then the question about it."""
    fwd("call", *arguments, stdin=piped)
    assert sent(gateway)["messages"][0]["content"] == prompt


def test_no_prompt_is_a_mistake(fwd: Run) -> None:
    """Nothing to send: said in three lines, exit code 2."""
    ended = fwd("call")
    assert ended.code == 2
    assert ended.err.splitlines()[0] == "error: there is no prompt: give it as an argument, or pipe it in"
    assert ended.err.splitlines()[2] == "  try: fwd call --help"


def test_a_key_from_dotenv(gateway: FakeGateway, fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags, then the environment, then .env in the working directory."""
    monkeypatch.delenv("FORWARDER_KEY")
    Path(".env").write_text("FORWARDER_KEY='fwd_from-file'\nFORWARDER_URL=http://127.0.0.1:1\n")
    assert fwd("call", "hi").code == 0
    assert sent(gateway)["key"] == "Bearer fwd_from-file"


def test_without_a_key_nothing_is_sent(gateway: FakeGateway, fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key: three lines with the command that makes one, exit code 4."""
    monkeypatch.delenv("FORWARDER_KEY")
    ended = fwd("call", "hi")
    assert (ended.code, gateway.requests) == (4, [])
    assert "fwd generate-key" in ended.err.splitlines()[2]


def test_a_whole_answer(gateway: FakeGateway, fwd: Run) -> None:
    """--no-stream asks for one JSON answer and shows its text."""
    ended = fwd("call", "hi", "--no-stream")
    assert (ended.out, "stream" in gateway.requests[0]) == ("Hello.\n", False)
    assert "1,200→2 tok" in ended.err


def test_quiet(fwd: Run) -> None:
    """-q leaves the answer alone."""
    assert fwd("call", "hi", "-q").err == ""


def test_json_is_the_whole_answer_with_its_receipt(gateway: FakeGateway, fwd: Run) -> None:
    """--json: one object, unknown fields kept, and who answered under fwd."""
    gateway.reply = answer("Hello.") | {"x_new": [1]}
    value = json.loads(fwd("call", "hi", "--json").out)
    assert value["choices"][0]["message"]["content"] == "Hello."
    assert value["x_new"] == [1]
    assert value["fwd"]["request_id"] == "req_1"
    assert value["fwd"]["provider"] == "echo"


def test_json_stream_is_one_object_a_line(fwd: Run) -> None:
    """--json --stream: every chunk, then the receipt."""
    lines = [json.loads(line) for line in fwd("call", "hi", "--json", "--stream").out.splitlines()]
    assert [line["object"] for line in lines[:-1]] == ["chat.completion.chunk"] * 4
    assert lines[-1]["fwd"]["request_id"] == "req_1"


def test_hostile_text_is_filtered_over_chunks(gateway: FakeGateway, fwd: Run) -> None:
    """T25: in a pipe too, because a pipe often ends in a terminal."""
    gateway.pieces = [chunk("a\x1b]52;c;"), chunk("eHg=\x07b\u202e"), DONE]
    assert fwd("call", "hi").out == "ab\n"


def test_raw_text_when_asked_for(gateway: FakeGateway, fwd: Run) -> None:
    """T25: --raw switches the filter off where no terminal is."""
    gateway.pieces = [chunk("a\x1b[1mb\n"), DONE]
    assert fwd("call", "hi", "--raw").out == "a\x1b[1mb\n"


def test_json_cannot_steer_a_terminal(gateway: FakeGateway, fwd: Run) -> None:
    """T25: control characters in JSON are escaped, the value stays."""
    gateway.reply = answer("\x9b2J\u202e\x1b[1m")
    out = fwd("call", "hi", "--json").out
    assert "\x9b" not in out
    assert "\x1b" not in out
    assert json.loads(out)["choices"][0]["message"]["content"] == "\x9b2J\u202e\x1b[1m"


def test_a_tool_call_is_not_passed_over(gateway: FakeGateway, fwd: Run) -> None:
    """An answer without text shows the calls it asks for."""
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    gateway.reply = answer(None, tool_calls=[call])
    ended = fwd("call", "hi", "--no-stream")
    assert ended.out == "f({})\n"
    assert "the model asks for a tool" in ended.err


def test_what_was_odd_is_said(gateway: FakeGateway, fwd: Run) -> None:
    """Dropped fields, more than one attempt and a cut answer stand in the line about it."""
    gateway.headers |= {"x-fwd-attempts": "2", "x-fwd-dropped": "top_k,seed"}
    gateway.pieces = [chunk("Hell"), chunk(finish="length"), DONE]
    err = fwd("call", "hi").err
    assert "2 attempts · not sent: top_k, seed · cut off at the token limit · req_1" in err


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (400, "unsupported_parameter", 1),
        (401, "invalid_api_key", 4),
        (404, "model_not_found", 1),
        (429, "rate_limit_exceeded", 6),
        (502, "provider_error", 5),
        (503, "provider_not_configured", 5),
        (504, "deadline", 7),
    ],
)
def test_errors_in_three_lines_with_their_exit_code(
    gateway: FakeGateway, fwd: Run, status: int, code: str, exit_code: int
) -> None:
    """What, why with status, code and request id, and what to try; nothing on stdout."""
    gateway.status = status
    gateway.headers["x-should-retry"] = "false"
    gateway.reply = {"error": {"message": "Because\x1b[2J.", "type": "x", "param": None, "code": code}}
    ended = fwd("call", "hi")
    lines = ended.err.splitlines()
    assert (ended.code, ended.out, len(lines)) == (exit_code, "", 3)
    assert lines[1] == f"  why: Because. ({status} {code} req_1)"
    assert lines[2].startswith("  try: ")


def test_no_gateway(fwd: Run) -> None:
    """Nobody listens: exit code 3 and the command that starts one."""
    ended = fwd("call", "hi", "--server", "http://127.0.0.1:1")
    assert ended.code == 3
    assert "http://127.0.0.1:1" in ended.err.splitlines()[1]
    assert "fwd run-server" in ended.err.splitlines()[2]


def test_an_address_that_is_none(fwd: Run) -> None:
    """A bad --server is a mistake on the command line."""
    ended = fwd("call", "hi", "--server", "localhost:8000")
    assert ended.code == 2
    assert "localhost:8000" in ended.err


def test_a_cut_stream_is_an_error_and_keeps_what_came(gateway: FakeGateway, fwd: Run) -> None:
    """A stream that ends without [DONE] is not a good answer, but its text is not taken away."""
    gateway.pieces = [chunk("Hell")]
    ended = fwd("call", "hi")
    assert (ended.code, ended.out) == (5, "Hell\n")
    assert "[DONE]" in ended.err.splitlines()[1]


def test_ctrl_c_keeps_what_came_and_says_nothing(gateway: FakeGateway, start: Start) -> None:
    """Exit code 130, the text so far on stdout, no traceback."""
    gateway.go_on.clear()
    process = start("call", "hi")
    assert process.stdout is not None
    assert process.stdout.read(6) == "Hello."
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "\n", "")


def test_a_closed_pipe_ends_quietly(gateway: FakeGateway, start: Start) -> None:
    """`fwd call ... | head -1` is no error."""
    gateway.pieces = [chunk("first\n"), *[chunk("more\n" * 1000)] * 200, DONE]
    process = start("call", "hi")
    assert process.stdout is not None
    assert process.stdout.readline() == "first\n"
    process.stdout.close()
    assert process.wait(20) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_pieces_are_flushed(gateway: FakeGateway, start: Start) -> None:
    """A reader of the pipe has the first words before the last ones exist."""
    gateway.go_on.clear()
    process = start("call", "hi")
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 4) == b"Hell"
    gateway.go_on.set()
    assert process.wait(20) == 0


def test_raw_on_a_terminal_must_be_asked_for_twice() -> None:
    """T25: once is refused there, twice is meant."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    check_raw(1, io.StringIO())
    check_raw(2, Terminal())
    with pytest.raises(click.UsageError, match="--raw --raw"):
        check_raw(1, Terminal())


def test_a_file_goes_with_the_prompt(gateway: FakeGateway, fwd: Run) -> None:
    """-f sends it along."""
    Path("notes").write_text("one")
    fwd("call", "why?", "-f", "notes")
    assert sent(gateway)["messages"][0]["content"] == "notes:\none\n\nwhy?"


def test_a_schema_goes_with_the_prompt(gateway: FakeGateway, fwd: Run) -> None:
    """--schema asks for JSON of that shape."""
    Path("city.json").write_text('{"type": "object"}')
    fwd("call", "x", "--schema", "city.json")
    assert sent(gateway)["response_format"]["json_schema"]["name"] == "city"


def test_a_dry_run_shows_the_plan(gateway: FakeGateway, fwd: Run) -> None:
    """What the gateway would send, as JSON and nothing else."""
    gateway.reply = {"object": "fwd.dry_run", "plan": [{"provider": "echo"}]}
    ended = fwd("call", "x", "--dry-run")
    assert json.loads(ended.out) == gateway.reply
    assert (ended.err, gateway.requests[0]["dry_run"]) == ("", "true")


def test_options_of_a_call(gateway: FakeGateway, fwd: Run) -> None:
    """-o for any parameter, and the limits of the call."""
    fwd("call", "hi", "-o", "reasoning_effort=low", "-o", "top_k=5", "--no-fallback", "--strict", "--timeout", "9")
    request = sent(gateway)
    assert (request["reasoning_effort"], request["extra_body"]) == ("low", {"top_k": 5})
    headers = gateway.headers_sent[0]
    assert (headers["x-fwd-fallback"], headers["x-fwd-strict"]) == ("none", "true")
    assert float(headers["x-fwd-timeout"]) <= 9
    gateway.status = 503
    assert fwd("call", "hi", "--retries", "0").code == 5
    assert len(gateway.requests) == 2


def test_a_replaced_model_is_told(gateway: FakeGateway, fwd: Run) -> None:
    """What the gateway passed over, in the last line and in the JSON."""
    gateway.headers |= {"x-fwd-skipped": "anthropic=provider_not_configured", "x-fwd-model": "gpt-5-mini"}
    ended = fwd("call", "hi", "-m", "claude-opus-4-8")
    assert ended.err.startswith("asked for claude-opus-4-8, answered by gpt-5-mini: anthropic has no key here · ")
    facts = json.loads(fwd("call", "hi", "--json").out)["fwd"]
    assert facts["skipped"] == {"anthropic": "provider_not_configured"}


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("Do this:\n\n```python\nx = 1\n```\n\nor\n\n```\ny\n```\n", "x = 1\n"),
        ("    indented\n", "indented\n"),
        ("no code", "no code\n"),
        ("```sh\nrm\x1b[2J x\n```", "rm x\n"),
    ],
)
def test_only_the_code(gateway: FakeGateway, fwd: Run, text: str, out: str) -> None:
    """-x prints the first code block alone, filtered as always; without one the whole answer, and says so."""
    gateway.reply = answer(text)
    ended = fwd("call", "hi", "-x", "-q")
    assert ended.out == out
    assert ("There is no code block" in ended.err) is (out == "no code\n")


def test_a_conversation_is_continued(gateway: FakeGateway, fwd: Run) -> None:
    """-c goes on with the last one, of fwd chat as well; calls of a script do not replace it."""
    assert fwd("call", "x", "-c").code == 1
    fwd("chat", "-m", "m", stdin="hi\n")
    fwd("call", "from a script")
    fwd("call", "and?", "-c")
    fwd("call", "and then?", "-c", "--private")
    fwd("call", "and now?", "-c")
    contents = [[message["content"] for message in request["messages"]] for request in gateway.requests]
    assert contents[2] == ["hi", "Hello.", "and?"]
    assert contents[4] == ["hi", "Hello.", "and?", "Hello.", "and now?"]
    assert gateway.requests[4]["model"] == "m"


TIMED = """
import sys
from fwd_cli import asking
from fwd_cli.__main__ import main

before = set()
start = asking.ShownAnswer.start
asking.ShownAnswer.start = lambda shown: (before.update(sys.modules), start(shown))
main(["call", "hi", "-q"])
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""


def test_imports_are_not_waited_for() -> None:
    """The first-token time begins when the question is sent: whatever had to be loaded was loaded before."""
    done = subprocess.run([sys.executable, "-c", TIMED], capture_output=True, text=True, check=True, timeout=60)
    late = set(done.stdout.split()) - {"Hello."} - sys.stdlib_module_names
    assert {name for name in late if not name.startswith("_")} == set()
