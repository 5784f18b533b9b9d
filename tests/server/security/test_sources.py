"""S2, S10: nothing in the server runs what it reads: no eval, no exec, no other program, no import by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fwd_server

SOURCES = Path(fwd_server.__file__).parent
BUILTINS = frozenset({"eval", "exec", "compile", "__import__", "breakpoint"})
CALLS = BUILTINS | frozenset(
    {
        *("execv", "execve", "execvp"),
        *("system", "popen", "spawnl", "spawnv", "posix_spawn", "fork", "forkpty", "startfile", "import_module"),
        *("create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell", "exec_module"),
    }
)
MODULES = frozenset({"subprocess", "pickle", "marshal", "shelve", "runpy", "code", "pty", "ctypes", "yaml", "jinja2"})

# What is there all the same, and why no request and nothing stored can get at it.
ALLOWED = {
    ("__init__.py", "import_module"): "the modules stand in a table in the same file",
    (
        "process/workers.py",
        "create_subprocess_exec",
    ): "a worker: this same program, with nothing of a request in its arguments",
    (
        "settings/config_file_secrets.py",
        "subprocess",
    ): "`cmd:` in fwd.toml, which the operator wrote: no shell, and nothing of a request in it",
}


def found_in(tree: ast.AST) -> Iterator[str]:
    """The names of what is forbidden in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            yield from _imported(node)
        elif isinstance(node, ast.Name) and node.id in BUILTINS:
            yield node.id
        elif isinstance(node, ast.Attribute) and node.attr in CALLS and not _is_regex(node):
            yield node.attr


def _imported(node: ast.ImportFrom) -> Iterator[str]:
    if (node.module or "").partition(".")[0] in MODULES:
        yield node.module or ""
    yield from (alias.name for alias in node.names if alias.name in CALLS)


def _is_regex(node: ast.Attribute) -> bool:
    return node.attr == "compile" and isinstance(node.value, ast.Name) and node.value.id == "re"


def test_nothing_runs_what_it_reads() -> None:
    """0 findings in every module, but for a list with reasons."""
    files = sorted(SOURCES.rglob("*.py"))
    assert len(files) > 50
    findings = {(path.relative_to(SOURCES).as_posix(), name) for path in files for name in _scan(path)}
    assert findings == set(ALLOWED)


def _scan(path: Path) -> list[str]:
    return list(found_in(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    "code",
    [
        "eval(x)",
        "f = exec",
        "import subprocess",
        "from subprocess import run",
        "import os; os.system(x)",
        "from os import system",
        "builtins.eval(x)",
        "compile(x, '', 'exec')",
        "importlib.import_module(x)",
        "await asyncio.create_subprocess_shell(x)",
        "import pickle as p",
    ],
)
def test_the_scanner_sees_it(code: str) -> None:
    assert list(found_in(ast.parse(code)))


def test_the_scanner_takes_regular_expressions() -> None:
    assert not list(found_in(ast.parse("re.compile(x)")))


# What may be put into the text of a statement: names from our own tables, and marks for parameters.
_INTO_SQL = {
    "', '.join(CALL_COLUMNS)",
    "', '.join(ATTEMPT_COLUMNS)",
    "', '.join(ROLLUP_KEYS + ROLLUP_SUMS)",
    "', '.join(_ROLLUP_PRIMARY)",
    "', '.join([*columns, sums])",
    "', '.join([*keys, *ROLLUP_SUMS])",
    "', '.join(columns)",
    "_marks(CALL_COLUMNS)",
    "_marks(ATTEMPT_COLUMNS)",
    "_marks(ROLLUP_KEYS + ROLLUP_SUMS)",
    "_VACUUM_PAGES",
    "marks",  # "?, ?, ?"
    "where",  # "name = ?" for names of a table, checked before
    "chosen",  # a select written in the same function
    "'full' if full_sync else 'normal'",
}
_SQL = re.compile(r"\s*(?:select|insert|update|delete|pragma|create|drop|alter|attach)\b")


def put_into_sql(tree: ast.AST) -> Iterator[str]:
    """What a module formats into statements, by f-strings, ``%`` or ``format``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            if texts and _SQL.match(str(texts[0])):
                yield from (ast.unparse(part.value) for part in node.values if isinstance(part, ast.FormattedValue))
        elif (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Mod)
            and _SQL.match(ast.unparse(node.left).strip("'"))
        ):
            yield ast.unparse(node)


def test_no_value_becomes_a_part_of_a_statement() -> None:
    """S2: values are parameters; only names of our own tables are formatted into SQL."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in SOURCES.rglob("*.py")}
    found = {(path.name, text) for path, tree in trees.items() for text in put_into_sql(tree)}
    assert len(found) > 5
    assert sorted(f"{name}: {text}" for name, text in found if text not in _INTO_SQL) == []


def test_a_formatted_value_would_be_found() -> None:
    """The check finds what it forbids."""
    source = "execute(f'select 1 from keys where key = {key}')\nexecute('delete from keys where key = %s' % key)"
    assert [*put_into_sql(ast.parse(source))] == ["key", "'delete from keys where key = %s' % key"]
