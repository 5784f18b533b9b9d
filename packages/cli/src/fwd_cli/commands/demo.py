"""``fwd demo``: a gateway, a key and real calls, without any setup."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from fwd_cli import colour
from fwd_cli.errors import ExitCode, Failure
from fwd_cli.options import examples, lookup
from fwd_cli.terminal import Filter, clean_line

if TYPE_CHECKING:
    from fwd_cli.child import Gateway
    from fwd_cli.steps import Step


@click.command(
    name="demo",
    epilog=examples(
        "fwd demo",
        "fwd demo --no-stay        # end after the calls, on a terminal too",
        "OPENAI_API_KEY=sk-... fwd demo",
    ),
)
@click.option(
    "--stay/--no-stay", default=None, help="Keep the gateway running until Ctrl-C. Default: only on a terminal."
)
def command(stay: bool | None) -> None:
    """Start a gateway without a provider key and show real calls.

    Each call is made with the SDK and checked: the exit code is 0 only when all of them did what they claim. Providers
    whose key is set are enabled and listed, but never called.
    """
    from fwd_cli.child import closed_port, gateway
    from fwd_cli.steps import STEPS

    # Shown as enabled, so that the demo proves they are read; a call would cost money.
    keys = provider_keys()
    with ending_cleanly(), closed_port() as port, gateway({**keys, **settings(port)}) as running:
        _introduce(running, keys)
        run_all(STEPS, running)
        # A script would wait for ever.
        if sys.stdout.isatty() if stay is None else stay:
            keep_up(running)


def settings(closed: int) -> dict[str, str]:
    """Two providers in a row: one at a port that refuses connections, then echo."""
    return {
        "FWD_ECHO": "true",
        "FWD_COMPAT": "closed",
        "CLOSED_BASE_URL": f"http://127.0.0.1:{closed}/v1",
        # A provider without a key would be off, and there would be no fallback to show.
        "CLOSED_API_KEY": "not-needed",
        "CLOSED_MODEL": "nobody-home",
        "PROVIDERS_PRIORITY": "closed,echo",
    }


def provider_keys() -> dict[str, str]:
    """The keys of real providers that are set here, by name."""
    from fwd_server.settings import documented_variables

    found = {variable.name: lookup(variable.name) for variable in documented_variables() if variable.is_secret}
    return {name: value for name, value in found.items() if value}


def _introduce(running: Gateway, keys: dict[str, str]) -> None:
    _say_line(f"A gateway is ready at {running.url}, {running.ready_s:.1f} s after its start, with one key.", bold=True)
    if keys:
        on = ", ".join(f"{name.removesuffix('_API_KEY').lower()} ({name})" for name in keys)
        _say_line(f"Also enabled, and never called here: {on}")
    else:
        _say_line("No provider key is set: the built-in echo answers.")


def run_all(steps: Sequence[Step], running: Gateway) -> None:
    """Run every step. Raises :class:`Failure` when one did not do what it claims."""
    # All of them run, even when one failed: the list of failures is worth more than the first.
    untrue = [step.title for number, step in enumerate(steps, 1) if not run_step(number, step, running)]
    if untrue:
        raise Failure(
            f"{len(untrue)} of {len(steps)} calls did not do what they claim",
            f"see: {', '.join(untrue)}",
            "FWD_LOG=debug fwd demo, and report it",
        )
    _say_line(f"\nAll {len(steps)} calls did what they claim.", bold=True)


def run_step(number: int, step: Step, running: Gateway) -> bool:
    """Show one call as it happens; whether it did what it claims."""
    from fwd_cli.steps import Untrue
    from fwd_client import FwdError

    _say_line(f"\n{number}. {step.title}", bold=True)
    _say_line(f"   {step.request}", dim=True)
    _say_line("   ", nl=False)
    try:
        step.run(running, _shown())
    except (FwdError, Untrue) as error:
        _say_line(clean_line(f"{error}"))
        _say_line(f"   ✗ claimed: {step.proves}", fg="red")
        return False
    _say_line("")
    _say_line(f"   ✓ {step.proves}", fg="green")
    return True


def _shown() -> Any:
    """Shows pieces of an answer where they belong, without what a terminal could act on."""
    shown = Filter()
    return lambda text: _say_line(shown.feed(text), nl=False)


def _say_line(text: str, *, nl: bool = True, **style: Any) -> None:
    click.secho(text, nl=nl, color=colour.wanted(), **style)
    # Pieces of a stream should be seen as they come.
    sys.stdout.flush()


def keep_up(running: Gateway) -> None:
    """Wait for Ctrl-C. Raises :class:`Failure` when the gateway ends before."""
    _say_line(f"\nIt runs until Ctrl-C. Its page: {running.url}/   Try:\n")
    _say_line(curl_line(running.url, running.key))
    with suppress(KeyboardInterrupt):
        running.process.wait()
        raise Failure("the gateway ended", f"with code {running.process.returncode}", "fwd demo", ExitCode.SERVER)
    _say_line("\nStopped.")


def curl_line(url: str, key: str) -> str:
    """The same call as the first one, for a shell."""
    return (
        f"curl -s {url}/v1/chat/completions \\\n"
        f"  -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n"
        """  -d '{"model": "echo:", "messages": [{"role": "user", "content": "hello"}]}'"""
    )


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Inside this block SIGTERM unwinds like any error, so that the child does not outlive us."""

    def end(number: int, frame: FrameType | None) -> None:
        # What a shell reports of a process that a signal ended.
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
