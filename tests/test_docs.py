"""The documents say what the code does: tables are made from it, examples in them run."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from fwd_server.settings import documented_variables

ROOT = Path(__file__).parent.parent
CHANGELOGS = sorted((ROOT / "packages").glob("*/CHANGELOG.md"))


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_parts_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """``nox -s docs`` writes them."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    for path, text in load(ROOT / "docs" / "generate.py").documents().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run nox -s docs"


def test_links_between_documents_lead_somewhere() -> None:
    documents = [
        ROOT / "README.md",
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("**/*.md"),
        *ROOT.glob("packages/*/*.md"),
    ]
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in documents
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8"))
        if not (path.parent / target).exists()
    ]
    assert broken == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_files_that_are_named_exist(name: str) -> None:
    """The table of *a change, where* and the way of a call name today's files and folders."""
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    named = set(re.findall(r"`((?:[a-z_0-9]+/)+(?:[a-z_0-9]+\.(?:py|md))?|[a-z_]+\.py)`", text))
    package = ROOT / "packages/server/src/fwd_server"
    # A bare name is that of a module whose folder stands in the same sentence.
    bases = (ROOT, package, ROOT / "packages/cli/src", package / "gateway", package / "providers/compatible")
    assert len(named) > 10
    assert [path for path in sorted(named) if not any((base / path).exists() for base in bases)] == []


def test_every_folder_of_the_server_says_what_it_is_for() -> None:
    """The picture shows the first sentence of its docstring."""
    package = ROOT / "packages/server/src/fwd_server"
    first = {path.parent.name: path.read_text("utf-8").splitlines()[0] for path in package.glob("*/__init__.py")}
    assert [name for name, line in first.items() if not re.match(r'"""\S+( \S+){3,}', line)] == []


@pytest.mark.parametrize("path", CHANGELOGS, ids=lambda path: path.parent.name)
def test_the_changelog_knows_the_version(path: Path) -> None:
    """The version lives in one place; it is the newest chapter, or the first one to come."""
    (module,) = path.parent.glob("src/*/_version.py")
    version = re.search(r'__version__ = "(.+)"', module.read_text())
    assert version is not None
    text = path.read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d[^\]]*)\]", text, re.MULTILINE)
    assert "## [Unreleased]" in text
    assert version[1] == (released or ["0.1.0"])[0]


def test_the_servers_requirements_are_pinned_as_declared() -> None:
    """requirements/server.in and the package say the same."""
    declared = re.search(
        r"^dependencies = \[(.*?)^\]", (ROOT / "packages/server/pyproject.toml").read_text(), re.S | re.M
    )
    assert declared is not None
    wanted = set(re.findall(r'"(.+?)"', declared[1]))
    pinned = (ROOT / "requirements/server.in").read_text().splitlines()
    assert {line for line in pinned if line and not line.startswith("#")} == wanted


def test_settings_that_are_named_exist() -> None:
    """A setting that was renamed is renamed on every page; ``FWD_`` alone and names of a group are words."""
    known = {variable.name for variable in documented_variables()}
    known |= {"FWD_LOG", "FWD_PROFILE", "FWD_DATA", "FWD_PRICES", "FORWARDER_KEY", "FORWARDER_URL"}  # not the server's
    timeouts = {name.removeprefix("FWD_") for name in known if name.endswith("_TIMEOUT")}
    pages = [
        ROOT / "README.md",
        ROOT / "SECURITY.md",
        *(ROOT / "docs").glob("*.md"),
        *ROOT.glob("packages/*/README.md"),
    ]
    named = {
        (path.name, name)
        for path in pages
        for name in re.findall(r"\b(?:FWD|FORWARDER)_[A-Z_]*[A-Z]\b(?!_)", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 50
    assert [pair for pair in sorted(named) if pair[1] not in known and not pair[1].endswith(tuple(timeouts))] == []


def test_nothing_refers_outside_of_the_repository() -> None:
    """Design section 6: a clone stands alone."""
    found = [
        path.relative_to(ROOT).as_posix()
        for folder in ("docs", "packages")
        for path in (ROOT / folder).glob("**/*.md")
        if re.search(r"\.\./shared|`design\.md`|`engine\.md`", path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_the_line_that_installs_is_the_one_that_is_tested() -> None:
    """`nox -s build` runs it in an empty environment."""
    packages = re.search(r"^PACKAGES = \((.*)\)$", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    assert packages is not None
    line = " ".join(f"./packages/{name}" for name in re.findall(r'"(\w+)"', packages[1]))
    assert f"pip install {line}\n" in (ROOT / "README.md").read_text(encoding="utf-8")
