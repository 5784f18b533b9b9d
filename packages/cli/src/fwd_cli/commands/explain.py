"""``fwd explain``: one call, and why it cost what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fwd_cli import ledger, render
from fwd_cli.commands.logs import facts
from fwd_cli.errors import Failure
from fwd_cli.options import examples, json_option
from fwd_cli.tables import Rows

_TRIES = ("provider", "model", "ms", "status", "code", "$")


@click.command(
    name="explain",
    epilog=examples(
        "fwd explain req_4k2...                # the id of the request, as x-request-id and the log have it",
        "fwd logs --state failed --json | jq -r .id | head -1 | xargs fwd explain",
        "fwd explain 01a2325d42b4fb3564a7f8cd79b0a1fc --json     # x-fwd-call-id",
    ),
)
@click.argument("id_", metavar="ID")
@ledger.data_option
@json_option
def command(id_: str, data: Path, as_json: bool) -> None:
    """Show one call and how its cost came about.

    Who called what, how it ended, and each attempt. ID is the call's own or that of its request; of several calls with
    one request id the newest is shown.
    """
    from fwd_server.store.reports import find_call

    with ledger.open_ledger(data) as store:
        call = find_call(store, id_)
    if call is None:
        raise Failure(
            f"no call {id_} is in the ledger",
            "calls are there a second after their end, for FWD_KEEP_CALLS days; what is refused is in the log only",
            "fwd logs lists the newest calls",
        )
    if as_json:
        shown = {**facts(call), "budgets": call["budgets"], "bound_nano": call["bound"], "tries": call["tries"]}
        click.echo(render.as_json(shown, indent=2), nl=False)
        return
    Rows(("what", "value"), [(name, str(value)) for name, value in _lines(call)]).show()
    if call["tries"]:
        Rows(_TRIES, [_try_cells(one) for one in call["tries"]], ("ms", "status", "$")).show()


def _lines(call: dict[str, Any]) -> list[tuple[str, Any]]:
    asked = call["asked"] or "(no model)"
    served = f"{asked}, answered by {call['model']}" if call["model"] else asked
    tokens = f"{call['prompt']} in ({call['cached'] or 0} cached), {call['completion']} out"
    lines = [
        ("call", call["id"]),
        ("request", call["request_id"]),
        ("key", call["key_name"] or call["key_id"]),
        ("project", call["project_id"]),
        ("user", call["user_tag"]),
        ("at", ledger.show_time(call["at"])),
        ("model", served),
        ("state", f"{call['state']}, status {call['status']}" if call["status"] else call["state"]),
        ("error", call["error"]),
        ("tokens", tokens if call["prompt"] is not None else None),
        ("cost", f"{ledger.dollars(call['cost'])} USD, {call['cost_kind']}, by price table {call['price_id']}"),
        ("held before", None if call["bound"] is None else f"{ledger.dollars(call['bound'])} USD"),
        ("over the bound", None if not call["over_bound"] else f"{ledger.dollars(call['over_bound'])} USD"),
        ("counted in", ", ".join(f"{rule} {period}" for rule, _, period in call["budgets"] or ())),
        ("dropped", ", ".join(call["dropped"] or ())),
        ("first, total", f"{call['first_ms']} ms, {call['total_ms']} ms" if call["total_ms"] is not None else None),
    ]
    return [(name, value) for name, value in lines if value not in (None, "")]


def _try_cells(one: dict[str, Any]) -> list[str]:
    cells = (one["provider"], one["model"], one["ms"], one["status"], one["code"], ledger.dollars(one["cost"]))
    return ["" if cell is None else str(cell) for cell in cells]
