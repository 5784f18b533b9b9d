"""Every argument says what it is where an editor shows it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fwd_client
from fwd_client import AsyncClient, Client, _async, _sync, testing

PARAMS = Path(fwd_client.__file__).with_name("_params.py")


def test_every_field_of_a_call_has_a_text() -> None:
    """Editors show the string below a field of a TypedDict."""
    for node in ast.parse(PARAMS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            bare = [statement.target.id for statement, after in _pairs(node.body) if not _is_text(after)]  # type: ignore[attr-defined]
            assert bare == [], node.name


def _pairs(body: list[ast.stmt]) -> Iterator[tuple[ast.AnnAssign, ast.stmt | None]]:
    for number, statement in enumerate(body):
        if isinstance(statement, ast.AnnAssign):
            yield statement, body[number + 1] if number + 1 < len(body) else None


def _is_text(node: ast.stmt | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def callables() -> Iterator[Any]:
    """Every public method of the clients and of what hangs on them."""
    classes = [Client, AsyncClient, testing.FakeGateway]
    for module in (_sync, _async):
        classes += [kind for name, kind in vars(module).items() if name.endswith(("Calls", "Completions"))]
    for kind in classes:
        yield pytest.param(kind.__init__, id=f"{kind.__name__}()") if kind in (Client, AsyncClient) else None
        for name, value in vars(kind).items():
            if inspect.isfunction(value) and not name.startswith("_"):
                yield pytest.param(value, id=f"{kind.__name__}.{name}")


@pytest.mark.parametrize("function", [one for one in callables() if one is not None])
def test_every_argument_is_explained(function: Any) -> None:
    """In the docstring: in an `Args:` section, or by its name in backticks."""
    text = inspect.getdoc(function) or ""
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD]
    missing = [name for name in names if not re.search(rf"^ *{name}: |`{name}\b", text, re.MULTILINE)]
    assert missing == []
