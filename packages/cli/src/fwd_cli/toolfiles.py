"""``--tools FILE``: definitions in JSON, whose calls are shown, or Python functions, which are run."""

from __future__ import annotations

import functools
import inspect
import json
import runpy
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fwd_cli.attachments import read_bytes
from fwd_cli.errors import Failure
from fwd_cli.keystrokes import discard_typed, usual_keys
from fwd_cli.notices import aside
from fwd_cli.prompts import usage_error
from fwd_cli.terminal import clean_line

Function = Callable[..., Any]


def is_python(name: str) -> bool:
    """Whether the file holds functions to run, and not definitions to show."""
    return name.endswith(".py")


def definitions(name: str) -> list[dict[str, Any]]:
    """The tools of a JSON file, as the API takes them: a list, or one alone. Raises ``click.UsageError``."""
    try:
        found = json.loads(read_bytes(name))
    except ValueError as error:
        raise usage_error(f"{name} is not JSON: {error}") from error
    tools = found if isinstance(found, list) else [found]
    if not tools or not all(isinstance(tool, dict) and tool for tool in tools):
        raise usage_error(f"{name} contains no tools: expected a list of objects with type and function")
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]


def tools_to_run(name: str | None, *, approve: bool) -> list[Function]:
    """The functions of a Python file of tools, none without one; ``approve`` asks before each call.

    Raises ``click.UsageError`` as ``functions``.
    """
    found = functions(name) if name and is_python(name) else []
    return [*map(approved, found)] if approve else found


def functions(name: str) -> list[Function]:
    """The functions a Python file defines, but those with a ``_`` in front; each says on standard error when it runs.

    Raises ``click.UsageError`` for a file that cannot be read, does not run, or defines none.
    """
    source = Path(name)
    read_bytes(name)
    try:
        # Not imported: the file is one of the user's, in any folder, and may have any name.
        space = runpy.run_path(str(source))
    except Exception as error:  # whatever the file of the user raises is for them to read
        raise usage_error(f"{name} does not run: {type(error).__name__}: {error}") from error
    found = [value for word, value in space.items() if _is_tool(word, value, space)]
    if not found:
        raise usage_error(f"{name} defines no function to call")
    return [*map(_reported, found)]


def _is_tool(word: str, value: object, space: dict[str, Any]) -> bool:
    """A function of this file, not one it imports."""
    # What the file imports is not meant to be called by a model.
    return inspect.isfunction(value) and not word.startswith("_") and value.__globals__.get("__name__") == "<run_path>"


def _reported(function: Function) -> Function:
    """The same function, which reports each call on standard error, and its own errors as the user's.

    ``ToolError`` passes through: the SDK sends it to the model. Any other exception ends the command with the place in
    the user's file, because that is where the fix is.
    """

    from fwd_client import ToolError  # loads attrs, which completion of `fwd call` does without

    @functools.wraps(function)
    def call_reported(*args: Any, **kwargs: Any) -> Any:
        arguments = ", ".join(f"{name}={value!r}" for name, value in kwargs.items())
        try:
            result = function(*args, **kwargs)
        except (ToolError, Failure):
            raise
        except Exception as error:
            raise _tool_failure(function, error) from error
        # After the call, so that a line of the function's own comes first; cut, since results may be long.
        aside(f"{function.__name__}({arguments}) → {result!r}"[:500])
        return result

    return call_reported


def _tool_failure(function: Function, error: Exception) -> Failure:
    """What a raised exception means to the author of the tool: the last line of their own file that ran."""
    path = function.__code__.co_filename
    # The last line in the user's file; the frames below it are of libraries.
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    place = f"{path}, line {lines[-1]}" if lines else path
    return Failure(
        f"your tool {function.__name__} raised an exception",
        f"{type(error).__name__}: {error} ({place})",
        "fix it, or raise fwd_client.ToolError to let the model read the message",
    )


def approved(function: Function) -> Function:
    """The same function, which asks the person at the terminal before each call; a no goes to the model."""
    from fwd_client import ToolError

    @functools.wraps(function)
    def call_approved(*args: Any, **kwargs: Any) -> Any:
        arguments = ", ".join(f"{name}={value!r}" for name, value in kwargs.items())
        if not ask_approval(f"Run {function.__name__}({arguments})?"):
            # Said to the model, which can ask otherwise or do without.
            raise ToolError("The user did not allow this call.")
        return function(*args, **kwargs)

    return call_approved


def ask_approval(question: str) -> bool:
    """Ask on the terminal itself, because standard input may be the prompt; only y and yes are a yes.

    Raises :class:`Failure` where there is no terminal to ask on.
    """
    try:
        # A chat holds the keys for its prompt, and the answer to a question should be seen.
        with open("/dev/tty", encoding="utf-8", errors="replace") as typed, usual_keys(typed):
            # What was typed ahead was not meant for this question.
            discard_typed(typed)
            click.echo(f"{clean_line(question)} [y/N] ", nl=False, err=True)
            return typed.readline().strip().lower() in ("y", "yes")
    except OSError as error:
        raise Failure(
            "there is no one to ask for approval", "--approve needs a terminal", "a terminal, or no --approve"
        ) from error
