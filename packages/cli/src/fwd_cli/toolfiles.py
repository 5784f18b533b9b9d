"""``--tools FILE``: definitions in JSON, whose calls are shown, or Python functions, which are run."""

from __future__ import annotations

import functools
import inspect
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fwd_cli.attachments import read_bytes
from fwd_cli.notices import aside
from fwd_cli.prompts import usage_error

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
        raise usage_error(f"{name} holds no tools: that is a list of objects with type and function")
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]


def functions(name: str) -> list[Function]:
    """The functions a Python file defines, but those with a ``_`` in front; each says on standard error when it runs.

    Raises ``click.UsageError`` for a file that cannot be read, does not run, or defines none.
    """
    source = Path(name)
    read_bytes(name)
    try:
        space = runpy.run_path(str(source))
    except Exception as error:  # whatever the file of the user raises is for them to read
        raise usage_error(f"{name} does not run: {type(error).__name__}: {error}") from error
    found = [value for word, value in space.items() if _is_tool(word, value, space)]
    if not found:
        raise usage_error(f"{name} defines no function to call")
    return [*map(_told, found)]


def _is_tool(word: str, value: object, space: dict[str, Any]) -> bool:
    """A function of this file, not one it imports."""
    return inspect.isfunction(value) and not word.startswith("_") and value.__globals__.get("__name__") == "<run_path>"


def _told(function: Function) -> Function:
    """The same function, which says how it is called and what it gives."""

    @functools.wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        given = ", ".join(f"{name}={value!r}" for name, value in kwargs.items())
        result = function(*args, **kwargs)
        aside(f"{function.__name__}({given}) → {result!r}"[:500])
        return result

    return told
