"""One question to the gateway, its answer shown in the manner that was asked for."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from fwd_cli.console import console_on
from fwd_cli.render import answer_json, as_json, chunk_json, chunk_text, message_text, receipt_json, tool_call
from fwd_cli.writers import PlainWriter, Writer, open_writer
from fwd_client import Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fwd_cli.toolfiles import Function
    from fwd_client import Chat, Chunk, Client, ToolCall


@frozen(kw_only=True)
class Manner:
    """How an answer is shown: while it comes or whole, as JSON or text, filtered or raw."""

    stream: bool = True
    as_json: bool = False
    raw: bool = False


@define
class Told:
    """What is known of an answer that is or was shown; times in seconds since it was asked for."""

    receipt: Receipt = field(factory=Receipt)
    pieces: list[str] = field(factory=list)
    tool_calls: tuple[ToolCall, ...] = ()
    finish: str | None = None
    first_s: float | None = None
    total_s: float = 0.0
    _started: float = field(factory=time.monotonic, init=False)

    def see(self, chunk: Chunk) -> None:
        """Take note of one piece of the answer."""
        text = chunk_text(chunk)
        if self.first_s is None and text:
            self.first_s = time.monotonic() - self._started
        self.pieces.append(text)
        for choice in chunk.choices:
            self.finish = choice.finish_reason or self.finish

    @property
    def text(self) -> str:
        """What was said so far."""
        return "".join(self.pieces)

    def end(self, answer: Chat) -> None:
        """The answer is complete: this is the whole of it."""
        self.receipt = answer.receipt
        self.tool_calls = answer.tool_calls
        self.total_s = time.monotonic() - self._started


def ask(client: Client, params: dict[str, Any], manner: Manner, told: Told | None = None) -> Told:
    """Ask, show the answer on standard output, and say how it went; errors of the SDK pass through.

    A ``told`` that is handed in knows what had come already when the answer is interrupted.
    """
    told = told or Told()
    with _writer(manner) as writer:
        (_ask_stream if manner.stream else _ask_whole)(client, params, manner, writer, told)
    if not manner.as_json:
        sys.stdout.writelines(f"{tool_call(call)}\n" for call in told.tool_calls)
    return told


def ask_with_tools(client: Client, params: dict[str, Any], functions: Sequence[Function], manner: Manner) -> Told:
    """Ask, run the functions the model asks for, and show the answer it comes to; errors of the SDK pass through."""
    told = Told()
    wanted = {name: value for name, value in params.items() if name != "tools"}
    with _writer(manner) as writer:
        run = client.chat.completions.run_tools(tools=functions, **wanted)
        told.pieces.append(message_text(run.chat.message))
        told.finish = run.chat.finish_reason
        writer.write(answer_json(run.chat) if manner.as_json else told.text)
        told.end(run.chat)
    return told


def rehearse(client: Client, params: dict[str, Any]) -> None:
    """Show what the gateway would send upstream; nothing is sent there."""
    plan = client.chat.completions.create(**params, extra_headers={"x-fwd-dry-run": "true"})
    with PlainWriter(sys.stdout, raw=True) as writer:
        writer.write(as_json({"object": plan.object, **plan.extra}, indent=2))


def _writer(manner: Manner) -> Writer:
    if manner.as_json:
        return PlainWriter(sys.stdout, raw=True)
    return open_writer(sys.stdout, console_on(sys.stdout), raw=manner.raw)


def _ask_whole(client: Client, params: dict[str, Any], manner: Manner, writer: Writer, told: Told) -> None:
    answer = client.chat.completions.create(**params)
    told.pieces.append(message_text(answer.message))
    told.finish = answer.finish_reason
    writer.write(answer_json(answer) if manner.as_json else told.text)
    told.end(answer)


def _ask_stream(client: Client, params: dict[str, Any], manner: Manner, writer: Writer, told: Told) -> None:
    show = chunk_json if manner.as_json else chunk_text
    with client.chat.completions.stream(**params) as stream:
        for chunk in stream:
            told.see(chunk)
            writer.write(show(chunk))
    if manner.as_json:
        writer.write(receipt_json(stream.receipt))
    told.end(stream.snapshot)
