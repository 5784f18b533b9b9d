"""``fwd completion``."""

from __future__ import annotations

import shutil
import subprocess

import click
import pytest
from tests.cli.conftest import Run

from fwd_cli.commands.completion import command, script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_a_script_for_each_shell(fwd: Run, shell: str) -> None:
    """It calls fwd back with the variable the entry point looks for."""
    ended = fwd("completion", shell)
    assert ended.code == 0
    assert "_FWD_COMPLETE" in ended.out


def test_a_shell_click_does_not_know_is_a_mistake() -> None:
    """An older click has fewer shells."""
    with pytest.raises(click.UsageError, match="tcsh"):
        script("tcsh", command)


def test_bash_reads_the_script(fwd: Run) -> None:
    """No syntax error in it."""
    bash = shutil.which("bash")
    assert bash is not None
    subprocess.run([bash, "-n"], input=fwd("completion", "bash").out, text=True, check=True)
