"""``fwd drill``: what happens when a provider fails, before one does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fwd_cli import render
from fwd_cli.commands.config import loaded_here
from fwd_cli.errors import ExitCode, Failure
from fwd_cli.notices import aside
from fwd_cli.options import dotenv, examples, json_option
from fwd_cli.prompts import usage_error
from fwd_cli.tables import Rows

if TYPE_CHECKING:
    from fwd_cli.rehearsing import Scene
    from fwd_server.settings import LoadedSettings, ProviderSettings

COLUMNS = ("fails", "answered by", "attempts", "took", "order")
HONEST = """\
A local stand-in played every provider: none was called, and no key was used. This does not show whether the keys of
the others are valid and their models exist, or what happens after the first piece of a stream, when no other provider
can take over."""


@click.command(
    name="drill",
    epilog=examples(
        "fwd drill",
        "fwd drill openai --status 429",
        "fwd drill --json | jq -r 'select(.answered_by == null) | .fails'",
    ),
)
@click.argument("providers", nargs=-1)
@click.option(
    "--status",
    type=click.IntRange(400, 599),
    default=503,
    show_default=True,
    metavar="NUMBER",
    help="Answer of the failing provider: 503 overloaded, 429 rate limit, 401 key refused.",
)
@json_option
def command(providers: tuple[str, ...], status: int, as_json: bool) -> int:
    """Rehearse the failure of each provider.

    Starts a gateway with the settings found here, makes one provider after the other fail, calls its model, and shows
    which one answers instead. Exit code 1 when a failure would reach the caller.
    """
    from fwd_cli.commands.demo import ending_cleanly
    from fwd_cli.rehearsing import rehearse

    loaded = loaded_here(Path(".env"))
    # As written, not as read: the gateway of the rehearsal reads them anew.
    texts = {**dotenv(Path(".env")), **os.environ}
    with ending_cleanly():
        scenes = [rehearse(loaded, texts, provider, status) for provider in chosen(loaded, providers)]
    if as_json:
        click.echo("".join(render.as_json(facts(scene)) for scene in scenes), nl=False)
    else:
        Rows(COLUMNS, [*map(row, scenes)], ("attempts", "took")).show()
        _explain(scenes)
    # For CI: a list of providers that cannot stand one failure should not be deployed.
    return ExitCode.OK if all(scene.answered for scene in scenes) else ExitCode.ERROR


def chosen(loaded: LoadedSettings, names: Sequence[str]) -> list[ProviderSettings]:
    """The providers to let fail. Raises ``click.UsageError`` for one that is not set up, and Failure without any."""
    from fwd_cli.rehearsing import configured

    known = {provider.name: provider for provider in configured(loaded)}
    if not known:
        why = "none has a key in the environment or in .env, and PROVIDERS_PRIORITY is empty"
        raise Failure("no provider is set up here", why, "fwd init", ExitCode.USAGE)
    for name in names:
        if name not in known:
            raise usage_error(f"{name} is not set up here; there are: {', '.join(known)}")
    return [known[name] for name in names or known]


def row(scene: Scene) -> tuple[str, ...]:
    """One scene in the words of ``COLUMNS``."""
    answered = scene.answered or "nobody"
    return (scene.model, answered, str(scene.attempts), render.seconds(scene.took_s), " → ".join(scene.plan))


def facts(scene: Scene) -> dict[str, object]:
    """One scene for programs."""
    return {
        "fails": scene.provider,
        "model": scene.model,
        "plan": list(scene.plan),
        "answered_by": scene.answered or None,
        "attempts": scene.attempts,
        "took_ms": round(scene.took_s * 1000),
        "error": scene.error or None,
    }


def _explain(scenes: Sequence[Scene]) -> None:
    """What the result means, how to improve it, and what it cannot show."""
    for scene in scenes:
        if not scene.answered:
            aside(f"When {scene.provider} fails, the caller gets: {scene.error}")
    if any(len(scene.plan) < 2 and not scene.answered for scene in scenes):
        aside("try: PROVIDERS_PRIORITY=<first>,<second> in .env, each with a key and a default model (fwd help env)")
    # Always, since a green result is easily taken for more than it is.
    aside(HONEST)
