"""The group: what help shows, what it imports, what it says to a name it does not know."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import click
import pytest
from tests.cli.conftest import Run

from fwd_cli import __version__
from fwd_cli.app import COMMANDS, Entry
from fwd_cli.app import fwd as group

HEAVY = ("rich", "httpx", "tornado", "dotenv", "attrs", "fwd_client._sync", "fwd_server", "markdown_it")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["call", "--help"], ["completion", "bash"]])
def test_nothing_heavy_is_imported_to_say_something_small(arguments: list[str]) -> None:
    """Help, version and completion are answered without Rich, httpx, Tornado and the rest."""
    code = f"import sys; from fwd_cli.__main__ import main; main({arguments}); print(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.splitlines()).isdisjoint(HEAVY)


def test_completing_a_command_imports_nothing_heavy() -> None:
    """Tab is answered at once."""
    code = "import sys; from fwd_cli.__main__ import main; main(); print(*sys.modules, sep='\\n')"
    environment = {"_FWD_COMPLETE": "bash_complete", "COMP_WORDS": "fwd ca", "COMP_CWORD": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.startswith("plain,call\n")
    assert set(run.stdout.splitlines()).isdisjoint(HEAVY)


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_the_list_says_what_the_command_says(entry: Entry) -> None:
    """Name and summary stand in the list so that help is quick; they are those of the command."""
    command = import_module(f"fwd_cli.commands.{entry.module}").command
    assert command.name == entry.name
    assert (command.help or "").splitlines()[0] == entry.summary


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_has_three_examples_and_every_option_a_text(entry: Entry) -> None:
    """Help is complete: examples, and a sentence on each option."""
    for command in with_those_below(import_module(f"fwd_cli.commands.{entry.module}").command):
        assert command.epilog.count("\n  ") >= 3
        options = [param for param in command.params if isinstance(param, click.Option)]
        assert all(option.help for option in options)
        assert [option.name for option in options if takes_a_value(option) and not says_its_default(option)] == []


def with_those_below(command: click.Command) -> list[click.Command]:
    """The command, and those of a group."""
    return [command, *(command.commands.values() if isinstance(command, click.Group) else ())]


def takes_a_value(option: click.Option) -> bool:
    """Neither a flag nor a file that is given or not."""
    return not (option.is_flag or option.count or option.multiple or option.metavar == "FILE")


def says_its_default(option: click.Option) -> bool:
    """In brackets, or because it always has none."""
    shown = option.get_help_record(click.Context(click.Command("x")))
    return (shown is not None and "default: " in " ".join(shown)) or option.metavar in ("NAME", "DATE")


def test_help_groups_the_commands(fwd: Run) -> None:
    """Every section with its commands, in the order of the list."""
    out = fwd("--help").out
    sections = ["Start:", "Use:", "Run:", "Wire up:"]
    assert sorted(sections, key=out.index) == sections
    assert out.index("Use:") < out.index("\n  call ") < out.index("Run:") < out.index("\n  run-server ")


def test_version(fwd: Run) -> None:
    """The version, without asking anybody."""
    assert fwd("--version").out == f"fwd {__version__}\n"


def test_bare_fwd_is_help_and_a_mistake(fwd: Run) -> None:
    """Nobody asked for anything: help, exit code 2."""
    ended = fwd()
    assert ended.code == 2
    assert "Usage: fwd" in ended.err


@pytest.mark.parametrize(
    ("word", "said"),
    [("cal", "did you mean 'call'?"), ("why is it so?", 'a prompt is sent with: fwd call "why is it so?"')],
)
def test_an_unknown_name_is_answered_with_what_was_meant(fwd: Run, word: str, said: str) -> None:
    """A near name, or the way to send a prompt."""
    ended = fwd(word)
    assert ended.code == 2
    assert said in ended.err.splitlines()[0]


def test_an_unknown_option_names_the_near_one(fwd: Run) -> None:
    """Options too."""
    ended = fwd("run-server", "--prt", "1")
    assert ended.code == 2
    assert "--port" in ended.err.splitlines()[0]


def test_the_group_knows_no_other_names() -> None:
    """What is not in the list is no command."""
    assert group.get_command(group.make_context("fwd", ["help"]), "nope") is None
