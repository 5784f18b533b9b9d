"""``fwd call``: one prompt, one answer."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

import click

from fwd_cli.attachments import answer_format, read_content
from fwd_cli.errors import Failure, no_key, sdk_errors_explained
from fwd_cli.notices import aside
from fwd_cli.options import approve_option, call_options, call_parameters, examples, json_option
from fwd_cli.prompts import usage_error
from fwd_cli.toolfiles import definitions, is_python, tools_to_run

if TYPE_CHECKING:
    from fwd_cli.asking import ShownAnswer
    from fwd_cli.conversation import Conversation


@click.command(
    name="call",
    epilog=examples(
        'fwd call "Why is the sky blue?" --model openai:gpt-5-mini',
        'git diff | fwd call "Write a commit message for this."',
        'fwd call "What is in this picture?" -f photo.jpg',
        'fwd call -c "And in winter?"                   # continue the last conversation',
        'fwd call -x "A regular expression for ISO dates" > pattern',
        'fwd call "Name three rivers." --json | jq -r ".choices[0].message.content"',
    ),
)
@click.argument("prompt", required=False)
@call_options
@click.option(
    "--file",
    "-f",
    "files",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="Attach a text file, an image or a PDF; also the URL of an image, or - for standard input. Repeatable.",
)
@click.option("--continue", "-c", "go_on", is_flag=True, help="Continue the last conversation of fwd call or fwd chat.")
@click.option("--private", is_flag=True, help="Do not keep this conversation.")
@click.option("--extract", "-x", "code_only", is_flag=True, help="Print only the first code block of the answer.")
@click.option("--stream/--no-stream", default=None, help="Show the answer as it arrives. Default: yes, no with --json.")
@json_option
@click.option(
    "--schema", type=click.Path(), metavar="FILE", help="Answer in JSON that fits the JSON Schema in this file."
)
@click.option(
    "--tools",
    type=click.Path(),
    metavar="FILE",
    help="Tools the model may call: definitions in a JSON file, whose calls are shown, or functions in a Python file, "
    "which are run.",
)
@approve_option
@click.option("--dry-run", is_flag=True, help="Show the requests the gateway would send to providers; send none.")
@click.option("--raw", count=True, help="Do not filter control characters. On a terminal, give it twice.")
def command(
    prompt: str | None,
    key: str | None,
    server: str,
    model: str | None,
    system: str | None,
    temp: float | None,
    max_tok: int | None,
    parameters: dict[str, Any],
    timeout: float | None,
    retries: int | None,
    no_fallback: bool,
    strict: bool,
    thinking: bool,
    quiet: bool,
    files: tuple[str, ...],
    go_on: bool,
    private: bool,
    code_only: bool,
    stream: bool | None,
    as_json: bool,
    schema: str | None,
    tools: str | None,
    approve: bool,
    dry_run: bool,
    raw: int,
) -> None:
    """Send a prompt and print the answer.

    The prompt is the argument, standard input, or both: standard input comes first. With - as PROMPT only standard
    input is read. A terminal shows the answer as Markdown while it arrives; a pipe gets its plain text.

    --json prints the whole answer as one object; with --stream, one object per line. Its "fwd" object says which
    provider answered, in how many attempts and how fast.

    On a terminal the conversation is kept for -c, readable by you alone, in ~/.local/state/fwd (or XDG_STATE_HOME);
    --private does not keep it.
    """
    # Before anything is read or sent.
    check_raw(raw, sys.stdout)
    conversation = _begin_conversation(model, system, go_on=go_on)
    conversation.add_content(read_content(prompt, files, sys.stdin))
    params = {
        **call_parameters(temp, max_tok, parameters, no_fallback=no_fallback, strict=strict),
        "messages": conversation.request_messages(),
        "model": conversation.model,
        "tools": definitions(tools) if tools and not is_python(tools) else None,
    }
    if schema:
        params["response_format"] = answer_format(schema)
    to_run = tools_to_run(tools, approve=approve)
    # Checked after the command line: its mistakes are easier to fix.
    if not key:
        raise no_key(server)
    with sdk_errors_explained(server):
        from fwd_cli.asking import OutputStyle, ask, ask_with_tools, show_plan
        from fwd_client import Client

        with Client(base_url=server, api_key=key, timeout=timeout, max_retries=retries) as client:
            if dry_run:
                show_plan(client, params)
                return
            # --json alone waits for the whole answer, since an object cannot be read in parts.
            style = OutputStyle(
                stream=not as_json if stream is None else stream,
                as_json=as_json,
                raw=raw > 0,
                thinking=thinking,
                code_only=code_only,
                quiet=quiet,
            )
            shown = ask_with_tools(client, params, to_run, style) if to_run else ask(client, params, style)
    # The calls of a script must not replace the conversation that a person is in.
    if not private and (go_on or sys.stdout.isatty()):
        conversation.add_answer(shown.text)
        _keep_conversation(conversation)
    if not (quiet or as_json):
        _print_receipt(shown, conversation.model)


def check_raw(count: int, out: TextIO) -> None:
    """On a terminal --raw must be given twice, because it can do harm there."""
    if count == 1 and out.isatty():
        raise usage_error("--raw lets the answer control this terminal; if you mean that: --raw --raw")


def _begin_conversation(model: str | None, system: str | None, *, go_on: bool) -> Conversation:
    """A new conversation, or the last one. Raises :class:`Failure` when there is none."""
    from fwd_cli.conversation import BadConversation, Conversation, last_path, read_conversation

    conversation = Conversation()
    try:
        conversation = read_conversation(last_path()) if go_on else conversation
    except (OSError, BadConversation) as error:
        raise Failure("there is no last conversation to continue", f"{error}", "the same without -c") from error
    conversation.model = model or conversation.model
    conversation.system = system or conversation.system
    return conversation


def _keep_conversation(conversation: Conversation) -> None:
    from fwd_cli.conversation import last_path

    with suppress(OSError):  # a full disk is no reason to fail after the answer
        conversation.save(last_path())


def _print_receipt(shown: ShownAnswer, requested: str | None) -> None:
    from fwd_cli.render import receipt_line

    aside(receipt_line(shown.receipt, shown.total_s, shown.first_s, shown.finish, requested))
