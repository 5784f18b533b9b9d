"""Every check of fwd, and the demo. Plain ``nox`` runs what CI runs; ``nox -l`` lists the rest.

Nothing needs to be installed by hand: the first screen of the README is the whole set-up.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

HERE = Path(__file__).parent
PACKAGES = ("client", "server", "cli")
SOURCES = [f"packages/{name}/src" for name in PACKAGES]
CODE = [*SOURCES, "tests", "bench", "fuzz", "docs", "noxfile.py"]
OTHER_PYTHONS = [v for v in ("3.10", "3.11", "3.12", "3.13") if v != f"{sys.version_info[0]}.{sys.version_info[1]}"]
UNIT_TESTS = ("tests/client", "tests/server", "tests/cli")
# Two processes, a file of tests each at a time (tests/conftest.py). If one dies, the run fails instead of going on.
SHARED = ("-n", "2", "--dist", "loadfile", "--max-worker-restart", "0")


def install(session: nox.Session, requirements: str) -> None:
    """Install what a session needs, pinned with hashes, and our packages from this checkout on top."""
    packages = {"tests": PACKAGES, "wire": ("server",)}.get(requirements, ())
    if session.venv_backend != "uv":  # uv is itself a package; with it an environment takes seconds
        session.install("--require-hashes", "-r", "requirements/uv.txt")
    uv = ("uv", "pip", "install", "--quiet", "--python", f"{session.bin}/python")
    session.run(*uv, "--require-hashes", "-r", f"requirements/{requirements}.txt", external=True)
    if packages:
        ours = (word for name in packages for word in ("-e", f"packages/{name}"))
        session.run(*uv, "--no-deps", *ours, external=True)


def measured(session: nox.Session, *arguments: str) -> None:
    """Run pytest under coverage, in two processes; ``cover`` adds the pieces up.

    Coverage finds the two by itself (``patch = ["subprocess"]``). ``-- -n 0`` is one process, as a debugger needs it.
    """
    env = {"COVERAGE_FILE": str(HERE / f".coverage.{session.name}"), "COVERAGE_CORE": "ctrace"}
    session.run("coverage", "run", "-m", "pytest", *SHARED, *arguments, *session.posargs, env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff and codespell over everything."""
    install(session, "lint")
    session.run("ruff", "format", "--check", *CODE)
    session.run("ruff", "check", *CODE)
    session.run("codespell")


@nox.session
def types(session: nox.Session) -> None:
    """Strict mypy over the three packages; pyright as well over the SDK, and the uses of it that only checkers read."""
    install(session, "tests")
    install(session, "pyright")
    session.run("mypy", *SOURCES)
    session.run("mypy", "noxfile.py", "tests/typing")
    session.run("basedpyright", "--pythonpath", f"{session.bin}/python")


@nox.session
def layers(session: nox.Session) -> None:
    """Who may import whom."""
    install(session, "tests")
    session.run("lint-imports")


@nox.session
def wire(session: nox.Session) -> None:
    """The official SDKs of the providers judge the golden cases, and what our codecs make of them."""
    install(session, "wire")
    session.run("python", "tests/golden/wire/validate.py", silent=True)
    session.run(
        "python", "tests/golden/judge.py", env={"PYTHONPATH": os.pathsep.join((str(HERE), str(HERE / "tests")))}
    )


@nox.session
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def tests(session: nox.Session, package: str) -> None:
    """The unit tests of one package."""
    install(session, "tests")
    more = [path.as_posix() for path in sorted((HERE / "tests").glob("test_*.py"))] if package == "server" else []
    measured(session, f"tests/{package}", *more)


@nox.session
def together(session: nox.Session) -> None:
    """Real server, real SDKs, real sockets, real terminal, real browser."""
    install(session, "tests")
    measured(session, "tests/together")


@nox.session
def cover(session: nox.Session) -> None:
    """Add the coverage of all tests up; less than 95 % of the branches fails."""
    install(session, "tests")
    session.run("coverage", "combine", "--keep", *map(str, HERE.glob(".coverage.*")), success_codes=[0])
    session.run("coverage", "report")


@nox.session(python=OTHER_PYTHONS)
def others(session: nox.Session) -> None:
    """The unit tests on every other Python that is there; one that is missing is left out, never downloaded."""
    install(session, "tests")
    # The table of faults asks what callers see, not what an interpreter does: it is played once.
    shared = (*SHARED, "--ignore=tests/server/faults", *UNIT_TESTS)
    session.run("python", "-m", "pytest", "-q", *shared, *session.posargs)


@nox.session(default=False)
def plain(session: nox.Session) -> None:
    """All tests on asyncio's own event loop: uvloop is taken away, which not every platform has."""
    install(session, "tests")
    session.run("uv", "pip", "uninstall", "--quiet", "--python", f"{session.bin}/python", "uvloop", external=True)
    session.run("python", "-m", "pytest", "-q", *SHARED, *UNIT_TESTS, "tests/together", *session.posargs)


@nox.session(default=False)
def long(session: nox.Session) -> None:
    """The long forms of tests: hostile requests, callers that leave, slow clients, crowds, with whole numbers."""
    install(session, "tests")
    session.run("python", "-m", "pytest", "-q", "tests/long", *session.posargs, env={"FWD_LONG_TESTS": "1"})


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """What a call costs, beside nginx where it is installed (`-- --only B1,B2`, `-- --peers`, `-- --publish`)."""
    install(session, "tests")
    session.run("python", "-m", "bench", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Ten minutes of cross-talk, half an hour of calls with faults beside streams (`-- --minutes 1` to try it)."""
    install(session, "tests")
    session.run("python", "-m", "bench.soak", *session.posargs, env={"PYTHONPATH": str(HERE / "tests")})


@nox.session(default=False)
def clients(session: nox.Session) -> None:
    """Real programs from npm through the gateway, with scripted upstreams: Claude Code."""
    install(session, "tests")
    folder = session.create_tmp()
    session.run(
        "npm", "install", "--no-audit", "--no-fund", "--prefix", folder, "@anthropic-ai/claude-code", external=True
    )
    package = Path(folder) / "node_modules" / "@anthropic-ai" / "claude-code"
    session.run("node", str(package / "install.cjs"), external=True)
    env = {"CLAUDE": str(Path(folder).resolve() / "node_modules" / ".bin" / "claude")}
    session.run("pytest", "tests/clients", *session.posargs, env=env)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Atheris against whatever reads foreign bytes (`-- TARGET --seconds 600`); Linux on x86-64 only."""
    install(session, "tests")
    install(session, "fuzz")
    session.run("python", "-m", "fuzz", *session.posargs, env={"PYTHONPATH": str(HERE / "tests")})


@nox.session
def build(session: nox.Session) -> None:
    """Build the three packages, install them with the README's line in an empty environment, and run `fwd` there."""
    install(session, "lint")
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    for name in PACKAGES:
        session.run("python", "-m", "build", "--outdir", str(dist), f"packages/{name}", silent=True)
    session.run("python", "-m", "virtualenv", "--quiet", "--clear", str(dist / "empty"))
    python = dist / "empty" / ("Scripts" if os.name == "nt" else "bin") / "python"
    session.run(str(python), "-m", "pip", "install", "-q", *(f"./packages/{name}" for name in PACKAGES), external=True)
    session.run(str(python), "-m", "fwd_cli", "--version", external=True)
    session.run(str(python), "-m", "fwd_cli", "demo", external=True, silent=True)


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Change codecs and decoders in one place at a time: the tests must notice 85 % of it (`-- NAME --sample N`)."""
    install(session, "tests")
    session.run("python", "bench/mutate.py", *session.posargs)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """The gateway with its built-in provider, a key, and real calls, shown as they happen."""
    session.install("-q", *(f"./packages/{name}" for name in PACKAGES))
    session.run("fwd", "demo", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Write the parts of the documents that come from the code; a test holds them in step."""
    install(session, "tests")
    session.run("python", "docs/generate.py")


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Write requirements/*.txt anew, with hashes; ``nox -s lock -- --upgrade`` takes newer versions."""
    session.install("-r", "requirements/uv.in")
    common = ("--generate-hashes", "--no-emit-index-url", "--universal", "--python-version", "3.10", "--quiet")
    env = {"UV_CUSTOM_COMPILE_COMMAND": "nox -s lock"}
    for source in sorted((HERE / "requirements").glob("*.in")):
        target = source.with_suffix(".txt")
        session.run("uv", "pip", "compile", *common, str(source), "-o", str(target), *session.posargs, env=env)
