"""One question to the gateway, its answer shown in the manner that was asked for."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from fwd_cli.console import console_on
from fwd_cli.render import answer_json, as_json, chunk_json, chunk_text, message_text, receipt_json
from fwd_cli.writers import PlainWriter, Writer, open_writer
from fwd_client import Receipt

if TYPE_CHECKING:
    from fwd_client import Chunk, Client


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
    finish: str | None = None
    first_s: float | None = None
    total_s: float = 0.0
    _started: float = field(factory=time.monotonic, init=False)

    def see(self, chunk: Chunk) -> None:
        """Take note of one piece of the answer."""
        if self.first_s is None and chunk_text(chunk):
            self.first_s = time.monotonic() - self._started
        for choice in chunk.choices:
            self.finish = choice.finish_reason or self.finish

    def end(self, receipt: Receipt) -> Told:
        """The answer is complete, and this is its receipt."""
        self.receipt = receipt
        self.total_s = time.monotonic() - self._started
        return self


def ask(client: Client, params: dict[str, Any], manner: Manner) -> Told:
    """Ask, show the answer on standard output, and say how it went; errors of the SDK pass through."""
    with _writer(manner) as writer:
        return (_ask_stream if manner.stream else _ask_whole)(client, params, manner, writer)


def rehearse(client: Client, params: dict[str, Any]) -> None:
    """Show what the gateway would send upstream; nothing is sent there."""
    plan = client.chat.completions.create(**params, extra_headers={"x-fwd-dry-run": "true"})
    with PlainWriter(sys.stdout, raw=True) as writer:
        writer.write(as_json({"object": plan.object, **plan.extra}, indent=2))


def _writer(manner: Manner) -> Writer:
    if manner.as_json:
        return PlainWriter(sys.stdout, raw=True)
    return open_writer(sys.stdout, console_on(sys.stdout), raw=manner.raw)


def _ask_whole(client: Client, params: dict[str, Any], manner: Manner, writer: Writer) -> Told:
    told = Told()
    answer = client.chat.completions.create(**params)
    writer.write(answer_json(answer) if manner.as_json else message_text(answer.message))
    told.finish = answer.finish_reason
    return told.end(answer.receipt)


def _ask_stream(client: Client, params: dict[str, Any], manner: Manner, writer: Writer) -> Told:
    told = Told()
    show = chunk_json if manner.as_json else chunk_text
    with client.chat.completions.stream(**params) as stream:
        for chunk in stream:
            told.see(chunk)
            writer.write(show(chunk))
    if manner.as_json:
        writer.write(receipt_json(stream.receipt))
    return told.end(stream.receipt)
