"""The entry point of ``fwd``: runs one command line, shows errors, returns the exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import TextIO

import click
from click.exceptions import Exit

from fwd_cli.app import fwd
from fwd_cli.errors import ExitCode, Failure
from fwd_cli.notices import three_lines

COMPLETION_VARIABLE = "_FWD_COMPLETE"


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line (``sys.argv`` by default) and return the exit code."""
    replace_unencodable(sys.stdin, sys.stdout, sys.stderr)
    sys.excepthook = show_bug
    try:
        code = _run_command(sys.argv[1:] if args is None else list(args))
        # Here, where a closed pipe is caught; at the end of the interpreter it would print a traceback.
        sys.stdout.flush()
    except BrokenPipeError:
        return leave_closed_pipe(sys.stdout)
    except (KeyboardInterrupt, click.Abort):
        return interrupted(sys.stderr)
    return code


def _run_command(args: list[str]) -> int:
    if instruction := os.environ.get(COMPLETION_VARIABLE):
        from fwd_cli.shells import shell_complete

        return shell_complete(fwd, {}, "fwd", COMPLETION_VARIABLE, instruction)
    try:
        with fwd.make_context("fwd", args) as context:
            return fwd.invoke(context) or ExitCode.OK
    except Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as help_:
        help_.show()
        return ExitCode.USAGE
    except click.ClickException as error:
        return _show_failure(_usage_failure(error, args), error)
    except Failure as failure:
        return _show_failure(failure, failure)


def _usage_failure(error: click.ClickException, args: Sequence[str]) -> Failure:
    """A mistake on the command line, in the same three lines as everything else."""
    # Such as a file that click opens and cannot read.
    if not isinstance(error, click.UsageError):
        return Failure(error.format_message().rstrip("."), "the command cannot continue", "fwd --help")
    # The parser of click raises some errors, such as a missing value, without the context they belong to.
    context = error.ctx or _resolve_context(args)
    usage = " ".join(context.get_usage().split()).removeprefix("Usage: ")
    return Failure(
        error.format_message().rstrip("."), f"usage: {usage}", f"{context.command_path} --help", ExitCode.USAGE
    )


def _resolve_context(args: Sequence[str]) -> click.Context:
    """The context of the innermost command that ``args`` name, as completion resolves it: nothing runs or fails."""
    context: click.Context = fwd.make_context("fwd", list(args), resilient_parsing=True)
    while isinstance(context.command, click.Group) and (rest := [*context._protected_args, *context.args]):
        name, command, more = context.command.resolve_command(context, rest)
        if name is None or command is None:
            break
        context = command.make_context(name, more, parent=context, resilient_parsing=True)
    return context


def _show_failure(failure: Failure, cause: BaseException) -> int:
    if os.environ.get("FWD_LOG", "").lower() == "debug":
        traceback.print_exception(cause)
    three_lines(failure)
    return failure.code


def show_bug(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """A bug in fwd, in three lines; FWD_LOG=debug adds the traceback."""
    if os.environ.get("FWD_LOG", "").lower() == "debug":
        traceback.print_exception(kind, error, where)
    three_lines(
        Failure(
            "this is a bug in fwd", f"{kind.__name__}: {error}", "again with FWD_LOG=debug, and report the traceback"
        )
    )


def replace_unencodable(*streams: TextIO) -> None:
    """Show a character that a stream cannot encode as ``?``, instead of ending the program."""
    for stream in streams:
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")


def leave_closed_pipe(out: TextIO) -> int:
    """The reader of our output (``| head -1``) is done: end quietly, and let the last flush find an open file."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)
    return ExitCode.OK


def interrupted(words: TextIO) -> int:
    """Print nothing but a newline, so that the shell's prompt does not follow the terminal's ``^C``."""
    if words.isatty():
        words.write("\n")
    return ExitCode.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
