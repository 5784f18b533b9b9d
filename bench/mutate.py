"""Mutation testing: change the code in one place at a time, and see whether a test notices.

    python bench/mutate.py                     every target, whole
    python bench/mutate.py google --sample 80  one target, 80 of its mutants, the same ones every time

A mutant lives in a forked process and in memory only; no file is touched. It is killed when a test fails or hangs.
What survives is printed with its line: a test is missing, or the change means nothing.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import hypothesis  # noqa: F401  imported before forking, once for all
import orjson  # noqa: F401
import pytest
from attrs import frozen

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "packages/server/src"
PROVIDERS = "tests/server/providers"
GOLDEN = f"{PROVIDERS}/test_golden.py"
EMBEDDINGS = f"{PROVIDERS}/test_embeddings.py"
PARAMETERS = f"{PROVIDERS}/test_parameters.py"
TIMEOUT_S = 60.0


@frozen
class Target:
    """Modules, and the tests that have to notice a change in them; ``only`` is pytest's ``-k``."""

    modules: str
    tests: tuple[str, ...]
    only: str = "not same_stream and not test_laws"


TARGETS = {
    "sse": Target("fwd_server/sse.py", ("tests/server/test_sse.py",)),
    "usage": Target("fwd_server/usage.py", ("tests/server/test_values.py", GOLDEN)),
    "native": Target("fwd_server/providers/native.py", (PROVIDERS,)),
    "compatible": Target(
        "fwd_server/providers/compatible/*.py", (f"{PROVIDERS}/compatible", EMBEDDINGS, PARAMETERS, GOLDEN)
    ),
    "anthropic": Target("fwd_server/providers/anthropic/*.py", (f"{PROVIDERS}/anthropic", PARAMETERS, GOLDEN)),
    "google": Target(
        "fwd_server/providers/google/*.py",
        (PROVIDERS,),
        "(google or gemini or documented) and not same_stream and not test_laws",
    ),
    "ollama": Target(
        "fwd_server/providers/ollama/*.py",
        (PROVIDERS,),
        "(ollama or documented) and not same_stream and not test_laws",
    ),
}


# -- the changes

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
}


def mutate_node(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of ``node``."""
    if isinstance(node, ast.Compare):
        other = _COMPARISONS.get(type(node.ops[0]))
        if other:
            yield ast.Compare(node.left, [other(), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.BinOp):
        swapped = _ARITHMETIC.get(type(node.op))
        if swapped:
            yield ast.BinOp(node.left, swapped(), node.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        negated = copy.copy(node)
        negated.test = ast.UnaryOp(ast.Not(), node.test)
        yield negated
    elif isinstance(node, ast.Constant):
        yield from _mutate_constant(node.value)
    elif isinstance(node, (ast.Break, ast.Continue)):
        yield ast.Continue() if isinstance(node, ast.Break) else ast.Break()
    elif isinstance(node, ast.Return):
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.AugAssign):
        yield ast.Assign([node.target], node.value)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()


def _mutate_constant(value: object) -> Iterator[ast.AST]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, str):
        yield ast.Constant(f"XX{value}" if value else "XX")
    elif isinstance(value, bytes):
        yield ast.Constant(b"XX" + value)


def list_places(tree: ast.Module) -> list[tuple[ast.AST, str, int | None]]:
    """Every node that runs, as its parent's field: annotations and docstrings do not."""
    found: list[tuple[ast.AST, str, int | None]] = []
    nodes: list[ast.AST] = [tree]
    while nodes:
        parent = nodes.pop()
        for name, value in ast.iter_fields(parent):
            if name in ("annotation", "returns", "decorator_list", "bases"):
                continue
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.AST) and not _is_docstring(child) and not _is_silent(child):
                    found.append((parent, name, index))
                    nodes.append(child)
    return found


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_silent(node: ast.AST) -> bool:
    """Imports, and what only a type checker reads."""
    return isinstance(node, (ast.Import, ast.ImportFrom)) or (
        isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    )


@frozen
class Mutant:
    """One change: the file, the line, what it was and what it is, and the tree to compile."""

    path: Path
    line: int
    before: str
    after: str
    tree: ast.Module


def list_mutants(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file. Each is undone before the next one is made."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for parent, name, index in list_places(tree):
        held = getattr(parent, name)
        node = held if index is None else held[index]
        for other in mutate_node(node):
            ast.copy_location(other, node)
            _put_node(parent, name, index, other)
            yield Mutant(
                path, getattr(node, "lineno", 0), _show_node(node), _show_node(other), ast.fix_missing_locations(tree)
            )
            _put_node(parent, name, index, node)


def _put_node(parent: ast.AST, name: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[index] = node


def _show_node(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(node)).splitlines()[0][:90]


# -- one mutant in a process of its own


class MutantLoader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a tree instead of its file."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        parts = mutant.path.relative_to(SOURCE).with_suffix("").parts
        self._package = parts[-1] == "__init__"
        self._name = ".".join(parts[:-1] if self._package else parts)

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        where = [str(self._mutant.path.parent)] if self._package else None
        return importlib.util.spec_from_file_location(
            fullname, self._mutant.path, loader=self, submodule_search_locations=where
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._mutant.tree, str(self._mutant.path), "exec"), module.__dict__)


def run_tests(target: Target, mutant: Mutant | None) -> bool:
    """Whether the tests pass, in a fork, on the mutant or on the code as it is."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()
        os.close(reader)
        _become_mutant(target, mutant)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], TIMEOUT_S)  # its end closes with the child
    if not ready:
        os.killpg(child, signal.SIGKILL)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    return status == 0


def _become_mutant(target: Target, mutant: Mutant | None) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    status = 1
    try:
        if mutant:
            sys.meta_path.insert(0, MutantLoader(mutant))
        status = int(
            pytest.main(["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-k", target.only, *target.tests])
        )
    finally:
        os._exit(status)


# -- all of them


def main() -> int:
    """Print the survivors and the share that was killed. Exit code 1 if it is below ``--least``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help=f"any of {', '.join(TARGETS)}; all of them by default")
    parser.add_argument("--sample", type=int, help="so many mutants of each target, chosen by a fixed seed")
    parser.add_argument("--least", type=float, default=85.0, help="per cent to be killed (85)")
    options = parser.parse_args()
    os.chdir(ROOT)
    killed = total = 0
    for name in options.targets or TARGETS:
        dead, all_of_them = judge_target(name, TARGETS[name], options.sample)
        killed, total = killed + dead, total + all_of_them
    share = 100 * killed / total
    print(f"all: {killed} of {total} killed, {share:.1f} %")
    return 0 if share >= options.least else 1


def judge_target(name: str, target: Target, sample: int | None) -> tuple[int, int]:
    """How many mutants of a target were killed, and how many there were."""
    if not run_tests(target, None):
        sys.exit(f"{name}: the tests do not pass on the code as it is")
    paths = sorted(SOURCE.glob(target.modules))
    count = sum(1 for path in paths for _ in list_mutants(path))
    chosen = set(range(count))
    if sample is not None and sample < count:
        chosen = set(random.Random(name).sample(range(count), sample))
    began, killed, number = time.monotonic(), 0, -1
    for path in paths:
        for mutant in list_mutants(path):
            number += 1
            if number not in chosen:
                continue
            if run_tests(target, mutant):
                print(f"{path.relative_to(SOURCE)}:{mutant.line}: {mutant.before}  ->  {mutant.after}", flush=True)
            else:
                killed += 1
    took = time.monotonic() - began
    share = 100 * killed / len(chosen)
    print(f"{name}: {killed} of {len(chosen)} killed ({count} in all), {share:.1f} %, {took:.0f} s", flush=True)
    return killed, len(chosen)


if __name__ == "__main__":
    sys.exit(main())
