"""``fwd call``: one prompt, one answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

import click

from fwd_cli.attachments import answer_format, read_content
from fwd_cli.errors import no_key, sdk_errors_explained
from fwd_cli.notices import aside
from fwd_cli.options import (
    examples,
    json_option,
    key_option,
    max_tok_option,
    model_option,
    server_option,
    system_option,
    temp_option,
)
from fwd_cli.prompts import messages_of, usage_error
from fwd_cli.toolfiles import definitions, functions, is_python

if TYPE_CHECKING:
    from fwd_cli.asking import Told


@click.command(
    name="call",
    epilog=examples(
        'fwd call "Why is the sky blue?" --model openai:gpt-5-mini',
        'git diff | fwd call "Write a commit message for this."',
        'fwd call "What is on this picture?" -f photo.jpg',
        'fwd call "Name three rivers." --json | jq -r ".choices[0].message.content"',
    ),
)
@click.argument("prompt", required=False)
@model_option
@key_option
@server_option
@temp_option
@max_tok_option
@system_option
@click.option(
    "--file",
    "-f",
    "files",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="Attach a text file, an image or a PDF; also the URL of an image, or - for standard input. Repeatable.",
)
@click.option(
    "--stream/--no-stream", default=None, help="Show the answer while it comes: as a rule, but not with --json."
)
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Leave out the line about model, times and tokens.")
@click.option(
    "--schema", type=click.Path(), metavar="FILE", help="Answer in JSON that fits the JSON Schema in this file."
)
@click.option(
    "--tools",
    type=click.Path(),
    metavar="FILE",
    help="Tools the model may call: definitions in a JSON file, whose calls are shown, or a Python file, whose "
    "functions are run.",
)
@click.option("--dry-run", is_flag=True, help="Show the requests the gateway would send to providers; send none.")
@click.option("--raw", count=True, help="Do not filter control characters; on a terminal it must be given twice.")
def command(
    prompt: str | None,
    model: str | None,
    key: str | None,
    server: str,
    temp: float | None,
    max_tok: int | None,
    system: str | None,
    files: tuple[str, ...],
    stream: bool | None,
    as_json: bool,
    quiet: bool,
    schema: str | None,
    tools: str | None,
    dry_run: bool,
    raw: int,
) -> None:
    """Send a prompt and print the answer.

    The prompt is the argument, or what is piped in, or both: then what is piped in comes first. A - as PROMPT reads
    standard input alone. On a terminal the answer is shown as Markdown while it comes, into a pipe goes its plain text.

    --json prints the whole answer as one object; with --stream, one object a line. Under "fwd" stands who answered,
    in how many attempts and how fast.
    """
    check_raw(raw, sys.stdout)
    params = {
        "messages": messages_of(read_content(prompt, files, sys.stdin), system),
        "model": model,
        "temperature": temp,
        "max_tokens": max_tok,
        "response_format": answer_format(schema) if schema else None,
        "tools": definitions(tools) if tools and not is_python(tools) else None,
    }
    to_run = functions(tools) if tools and is_python(tools) else []
    if not key:
        raise no_key()
    with sdk_errors_explained():
        from fwd_cli.asking import Manner, ask, ask_with_tools, rehearse
        from fwd_client import Client

        with Client(base_url=server, api_key=key) as client:
            if dry_run:
                rehearse(client, params)
                return
            manner = Manner(stream=not as_json if stream is None else stream, as_json=as_json, raw=raw > 0)
            told = ask_with_tools(client, params, to_run, manner) if to_run else ask(client, params, manner)
    if not (quiet or as_json):
        _print_receipt(told)


def check_raw(count: int, out: TextIO) -> None:
    """On a terminal --raw must be asked for twice: there it can do harm."""
    if count == 1 and out.isatty():
        raise usage_error("--raw lets the answer control this terminal; if you mean that: --raw --raw")


def _print_receipt(told: Told) -> None:
    from fwd_cli.render import receipt_line

    aside(receipt_line(told.receipt, told.total_s, told.first_s, told.finish))
