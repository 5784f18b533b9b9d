"""``fwd check``: whether ``fwd.toml`` can be used, where each name goes, and why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fwd_cli import render
from fwd_cli.commands import doctor
from fwd_cli.errors import ExitCode, Failure
from fwd_cli.options import Documented, examples, json_option
from fwd_cli.tables import Rows
from fwd_cli.terminal import clean_line

if TYPE_CHECKING:
    from fwd_server.routing.table import Lane, PublicModel
    from fwd_server.settings import LoadedSettings
    from fwd_server.settings.config_file_table import BuiltRoutes

ABILITIES = ("image", "audio", "file", "tools", "json_schema")


@click.command(
    name="check",
    epilog=examples(
        "fwd check",
        "fwd check --model smart --tokens 50000 --has image",
        "fwd check new.toml --diff fwd.toml",
        "fwd check --connect",
    ),
)
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--connect", is_flag=True, help="Ask each provider for its models, with each of its keys.")
@click.option(
    "--diff",
    cls=Documented,
    metavar="FILE",
    show_default="no comparison",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Show the differences from another file.",
)
@click.option("--model", "-m", metavar="NAME", help="Show the plan for a call of this model.")
@click.option(
    "--tokens", type=click.IntRange(0), default=0, show_default=True, help="With --model: the length of its prompt."
)
@click.option(
    "--has", "needs", type=click.Choice(ABILITIES), multiple=True, help="With --model: what the call contains."
)
@json_option
def command(
    file: Path | None,
    connect: bool,
    diff: Path | None,
    model: str | None,
    tokens: int,
    needs: tuple[str, ...],
    as_json: bool,
) -> int:
    """Check fwd.toml and show where its names go.

    Without FILE it is the one a gateway started here would read. Every problem is printed with its line, and the exit
    code is 78 if there is one. A gateway that runs is not asked and not changed.
    """
    loaded = _load(file)
    built = _build(loaded)
    if diff is not None:
        return _show_diff(loaded, _load(diff), as_json)
    if model is not None:
        rows = list(_plan_rows(built, model, tokens, frozenset(needs)))
        _show(rows, ("place", "deployment", "key", "why"), as_json)
    else:
        _show(list(_model_rows(built)), ("model", "to", "how"), as_json)
    for warning in built.warnings:
        click.echo(f"warning: {clean_line(warning)}", err=True)
    return _connect(built, as_json) if connect else ExitCode.OK


def _load(file: Path | None) -> LoadedSettings:
    """The settings with this file. Raises :class:`Failure` for what the server would refuse."""
    from fwd_server.process.reload import load_settings
    from fwd_server.settings import SettingsError
    from fwd_server.store.key_file import KeyFileError

    flags = {} if file is None else {"FWD_CONFIG": str(file)}
    try:
        return load_settings(flags, os.environ, Path(".env"))
    except (SettingsError, KeyFileError) as error:
        raise _refused(error) from error


def _build(loaded: LoadedSettings) -> BuiltRoutes:
    from fwd_server.app import build_table
    from fwd_server.settings import SettingsError

    try:
        return build_table(loaded.settings)
    except SettingsError as error:
        raise _refused(error) from error


def _refused(error: Exception) -> Failure:
    """All problems on standard error, and the end of the command."""
    lines = str(error).splitlines()
    for line in lines:
        click.echo(clean_line(line), err=True)
    # Each problem has its line already; the last lines only sum up.
    count = "a problem" if len(lines) == 1 else f"{len(lines)} problems"
    return Failure(f"{count} in the configuration", "the gateway would not start with it", "fwd check", ExitCode.CONFIG)


# -- what is shown


def _model_rows(built: BuiltRoutes) -> Iterator[dict[str, Any]]:
    """Each name of the file and where it goes, a row for each deployment."""
    routes = built.routes
    own = [(name, model) for name, model in routes.models.items() if name == model.name]
    for name, model in own:
        # Two names of one model are one row, as they are one line in the file.
        aliases = [alias for alias, other in routes.models.items() if other is model and alias != name]
        shown = f"{name} ({', '.join(aliases)})" if aliases else name
        for lane in model.lanes or (None,):
            yield {"model": shown, "to": _target(lane), "how": _describe(model, lane)}
        if model.fallback:
            yield {"model": shown, "to": ", ".join(model.fallback), "how": "fallback"}
        for kind, entries in model.on.items():
            yield {"model": shown, "to": ", ".join(entries) or "nothing", "how": f"fallback on {kind}"}
    if not own:
        listed = ", ".join(f"{name}:" for name, endpoint in routes.endpoints.items() if endpoint.enabled)
        yield {"model": "any name with a prefix", "to": listed, "how": "there is no [models]"}


def _target(lane: Lane | None) -> str:
    if lane is None:
        return "nothing that is enabled"
    target = f"{lane.instance.name}:{lane.model}"
    return target if lane.name == target else f"{lane.name} = {target}"


def _describe(model: PublicModel, lane: Lane | None) -> str:
    """Everything about a deployment that is not as usual."""
    if lane is None:
        return ""
    limits = lane.limits
    facts = (
        model.balance if len(model.lanes) > 1 else "",
        f"tier {lane.tier}" if lane.tier else "",
        f"weight {lane.weight:g}" if lane.weight != 1 else "",
        f"{len(lane.seats)} keys" if len(lane.seats) > 1 else "",
        f"{limits.rpm} requests a minute" if limits.rpm else "",
        f"{limits.tpm} tokens a minute" if limits.tpm else "",
        f"{limits.concurrency} at once" if limits.concurrency else "",
        "hidden" if model.hidden else "",
    )
    return ", ".join(filter(None, facts))


def _plan_rows(built: BuiltRoutes, name: str, tokens: int, needs: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Where a call of this model would be tried, in this order, and what is left out."""
    from fwd_server.routing.needs import Ask
    from fwd_server.routing.planner import make_plan
    from fwd_server.routing.state import RoutingState
    from fwd_server.values.errors import GatewayError

    ask = Ask(estimate=tokens, tokens=tokens, needs=needs)
    try:
        # A fresh state: this is the plan as written, without what a running gateway has learned.
        plan = make_plan(built.routes, name, ask, RoutingState(), 0.0, 0)
    except GatewayError as error:
        raise Failure("there is no plan", error.message, "fwd check") from error
    own = set(plan.model.lanes)
    for place, seat in enumerate(plan, 1):
        lane = seat.lane
        why = f"{plan.model.balance} in tier {lane.tier}, weight {lane.weight:g}" if lane in own else "fallback"
        yield {"place": str(place), "deployment": _target(lane), "key": seat.key.name, "why": why}
    for omission in plan.omissions:
        yield {"place": "-", "deployment": omission.name, "key": "", "why": f"left out: {omission.reason}"}


def _show(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        click.echo("".join(render.as_json(row) for row in rows), nl=False)
    else:
        Rows(columns, [tuple(str(row[column]) for column in columns) for row in rows]).show()


def _show_diff(new: LoadedSettings, old: LoadedSettings, as_json: bool) -> int:
    """What a reload from ``old`` to ``new`` would change; each file must be good by itself."""
    from fwd_server.settings.config_file_diff import changed_paths
    from fwd_server.settings.config_file_schema import Config

    # Otherwise a difference could be shown to a file that never worked.
    _build(old)
    files = (old.settings.config_file, new.settings.config_file)
    before, after = (file.config if file else Config() for file in files)
    for line in changed_paths(before, after):
        sign, _, path = line.partition(" ")
        click.echo(render.as_json({"change": sign, "path": path}) if as_json else f"{line}\n", nl=False)
    return ExitCode.OK


def _connect(built: BuiltRoutes, as_json: bool) -> int:
    """Ask each provider that is on, with each key; exit code 1 if one refuses."""
    from fwd_cli.provider_checks import instances

    worst = ExitCode.OK
    for finding in instances(built.routes.instances.values()):
        click.echo(render.as_json(finding.as_dict()) if as_json else doctor.line(finding), nl=False)
        worst = ExitCode.ERROR if finding.state == "bad" else worst
    return worst
