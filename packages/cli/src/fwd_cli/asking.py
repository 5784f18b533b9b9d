"""One question to the gateway, and its answer shown in the style that was chosen."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from fwd_cli.background import background
from fwd_cli.console import console_on
from fwd_cli.keystrokes import hold_keys
from fwd_cli.markdown import code_block
from fwd_cli.notices import aside
from fwd_cli.render import (
    answer_json,
    as_json,
    chunk_json,
    chunk_text,
    chunk_thinking,
    message_text,
    receipt_json,
    retry_line,
    tool_call,
)
from fwd_cli.writers import PlainWriter, Writer, open_writer
from fwd_client import Finished, ReasoningDelta, Receipt, RefusalDelta, StepStarted, TextDelta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fwd_cli.toolfiles import Function
    from fwd_client import Chat, Chunk, Client, Retry, RunEvent, ToolCall


@frozen(kw_only=True)
class OutputStyle:
    """How an answer is shown: as it arrives or whole, as JSON or text, filtered or raw, with or without its thinking.

    ``code_only`` shows the first code block of an answer and nothing else; ``quiet`` keeps waits to itself.
    """

    stream: bool = True
    as_json: bool = False
    raw: bool = False
    thinking: bool = True
    code_only: bool = False
    quiet: bool = False


@define
class ShownAnswer:
    """What is known of an answer that is or was shown; times are in seconds since it was asked for."""

    receipt: Receipt = field(factory=Receipt)
    pieces: list[str] = field(factory=list)
    tool_calls: tuple[ToolCall, ...] = ()
    finish: str | None = None
    first_s: float | None = None
    total_s: float = 0.0
    _started: float = field(factory=time.monotonic, init=False)

    def start(self) -> None:
        """The question is sent now: what was loaded before does not count."""
        self._started = time.monotonic()

    def add_text(self, text: str) -> None:
        """Take note of one piece of text."""
        if self.first_s is None and text:
            self.first_s = time.monotonic() - self._started
        self.pieces.append(text)

    def add_chunk(self, chunk: Chunk) -> None:
        """Take note of one piece of the answer."""
        if self.first_s is None and chunk_thinking(chunk):
            self.first_s = time.monotonic() - self._started  # a thought is the first token, too
        self.add_text(chunk_text(chunk))
        for choice in chunk.choices:
            self.finish = choice.finish_reason or self.finish

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    def complete(self, answer: Chat) -> None:
        """The answer is complete: this is the whole of it."""
        self.receipt = answer.receipt
        self.tool_calls = answer.tool_calls
        self.finish = answer.finish_reason
        self.total_s = time.monotonic() - self._started


def ask(client: Client, params: dict[str, Any], style: OutputStyle, shown: ShownAnswer | None = None) -> ShownAnswer:
    """Ask, and show the answer on standard output; errors of the SDK pass through.

    A ``shown`` that is handed in knows what had arrived already when the answer is interrupted.
    """
    shown = shown or ShownAnswer()
    with ExitStack() as stack:
        writer = _open_writer(stack, style)
        reporting = client.with_options(on_retry=lambda retry: _report_retry(retry, writer, style))
        shown.start()
        if style.stream and not style.code_only:
            _ask_stream(reporting, params, style, writer, shown)
        else:
            _ask_whole(reporting, params, style, writer, shown)
    if not style.as_json:
        sys.stdout.writelines(f"{tool_call(call)}\n" for call in shown.tool_calls)
    return shown


def ask_with_tools(
    client: Client,
    params: dict[str, Any],
    functions: Sequence[Function],
    style: OutputStyle,
    shown: ShownAnswer | None = None,
) -> ShownAnswer:
    """Ask, run the functions the model calls, and show its answers; errors of the SDK pass through.

    ``shown`` is as for ``ask``.
    """
    shown = shown or ShownAnswer()
    others = {name: value for name, value in params.items() if name != "tools"}
    live = style.stream and not (style.as_json or style.code_only)
    with ExitStack() as stack:
        view = _StepView(style, shown, stack)
        reporting = client.with_options(on_retry=view.report_retry)
        shown.start()
        run = reporting.chat.completions.run_tools(tools=functions, on_event=view.show if live else None, **others)
        if not live:
            shown.pieces = [message_text(run.chat.message)]
            _write_whole(run.chat, style, view.open())
    shown.complete(run.chat)
    return shown


@define
class _StepView:
    """Shows a run of tools: every answer has a writer of its own, and between two answers the terminal is free.

    A function of the user's may print, and a question about it may be asked, while no region of ours is redrawn.
    """

    style: OutputStyle
    shown: ShownAnswer
    stack: ExitStack
    writer: Writer | None = None

    def open(self) -> Writer:
        """The writer of the current answer."""
        if self.writer is None:
            self.writer = _open_writer(self.stack, self.style)
        return self.writer

    def show(self, event: RunEvent) -> None:
        """Show one event of the run."""
        if isinstance(event, StepStarted):
            self.shown.pieces.clear()
            self.open()
        elif isinstance(event, (TextDelta, RefusalDelta)):
            self.shown.add_text(event.text)
            self.open().write(event.text)
        elif isinstance(event, ReasoningDelta) and self.style.thinking:
            self.open().think(event.text)
        elif isinstance(event, Finished):
            self.writer = None
            self.stack.pop_all().close()

    def report_retry(self, retry: Retry) -> None:
        """Show a wait."""
        _report_retry(retry, self.open(), self.style)


def show_plan(client: Client, params: dict[str, Any]) -> None:
    """Show what the gateway would send upstream; nothing is sent there."""
    # Not explain(), whose Plan has a value for every field: this is to be read as the gateway sent it.
    plan = client.chat.completions.create(**params, extra_headers={"x-fwd-dry-run": "true"})
    with PlainWriter(sys.stdout, raw=True) as writer:
        writer.write(as_json({"object": plan.object, **plan.extra}, indent=2))


def _open_writer(stack: ExitStack, style: OutputStyle) -> Writer:
    """The writer for one answer; typed keys stay off its lines until it is closed."""
    if style.as_json or style.code_only:
        return stack.enter_context(PlainWriter(sys.stdout, raw=style.as_json or style.raw))
    is_live = sys.stdout.isatty() and not style.raw
    console = console_on(sys.stdout, background() if is_live else None)
    stack.enter_context(hold_keys(sys.stdout))
    return stack.enter_context(open_writer(sys.stdout, console, raw=style.raw))


def _report_retry(retry: Retry, writer: Writer, style: OutputStyle) -> None:
    if not style.quiet:
        writer.notify(retry_line(retry))


def _ask_whole(client: Client, params: dict[str, Any], style: OutputStyle, writer: Writer, shown: ShownAnswer) -> None:
    answer = client.chat.completions.create(**params)
    shown.pieces.append(message_text(answer.message))
    if style.thinking and answer.message.reasoning_content:
        writer.think(answer.message.reasoning_content)
    _write_whole(answer, style, writer)
    shown.complete(answer)


def _write_whole(answer: Chat, style: OutputStyle, writer: Writer) -> None:
    text = message_text(answer.message)
    if style.as_json:
        text = answer_json(answer)
    elif style.code_only:
        code = code_block(text)
        if code is None:
            aside("There is no code block in the answer: this is all of it.")
        text = text if code is None else code
    writer.write(text)


def _ask_stream(client: Client, params: dict[str, Any], style: OutputStyle, writer: Writer, shown: ShownAnswer) -> None:
    show = chunk_json if style.as_json else chunk_text
    with client.chat.completions.stream(**params) as stream:
        for chunk in stream:
            shown.add_chunk(chunk)
            if style.thinking and (thought := chunk_thinking(chunk)):
                writer.think(thought)
            writer.write(show(chunk))
    if style.as_json:
        writer.write(receipt_json(stream.receipt))
    shown.complete(stream.snapshot)
