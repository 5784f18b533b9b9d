"""The output of a run: a table on the terminal, JSON, one picture, and the page in the docs.

python -m bench.report     # writes docs/benchmarks.md and its picture from the newest published results
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import asdict

from bench.figures import Figure

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = Path(__file__).parent / "results"
PAGE: Final = ROOT / "docs" / "benchmarks.md"
PICTURE: Final = ROOT / "docs" / "benchmarks.svg"
LAST: Final = "last.json"
PIECES: Final = "pieces.json"
_HEADS: Final = ("", "measure", "fwd", "beside", "ratio", "aim", "met")


def record_run(figures: Sequence[Figure], about: Mapping[str, Any]) -> dict[str, Any]:
    """A run as it is kept: what it was measured on, and every figure with all its runs."""
    return {**about, "figures": [_record_figure(figure) for figure in figures]}


def _record_figure(figure: Figure) -> dict[str, Any]:
    more = {"value": (figure.value, 3), "base": (figure.base, 3), "ratio": (figure.ratio, 5)}
    rounded = {name: None if value is None else round(value, digits) for name, (value, digits) in more.items()}
    kept = asdict(figure) | rounded
    return kept | {name: [round(run, 3) for run in kept[name]] for name in ("runs", "reference")}


def write_results(run: Mapping[str, Any], *, publish: bool) -> Path:
    """Write a run: under its date if it is to be published, else in place of the last one, which git ignores.

    Returns where it is.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / (f"{run['date'].replace(':', '')}.json" if publish else LAST)
    path.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def newest_run() -> dict[str, Any] | None:
    """The newest run that was published."""
    paths = sorted(RESULTS.glob("2*.json"))
    run: dict[str, Any] | None = json.loads(paths[-1].read_text(encoding="utf-8")) if paths else None
    return run


def pieces_of_path() -> dict[str, Any] | None:
    """What ``python -m bench.pieces --publish`` measured last."""
    path = RESULTS / PIECES
    pieces: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return pieces


def table_rows(run: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table's cells."""
    return [_table_row(figure) for figure in run["figures"]]


def _table_row(figure: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = {True: "yes", False: "NO", None: ""}[figure["met"]]
    beside = f"{format_number(figure['base'])} ({figure['beside']})" if figure["reference"] else ""
    ratio = "" if figure["ratio"] is None else format_ratio(figure["ratio"])
    value = f"{format_number(figure['value'])} {figure['unit']}".strip()
    return (figure["id"], figure["what"], value, beside, ratio, figure["aim"], verdict)


def format_number(value: float | None) -> str:
    """A figure with three digits that mean something."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def format_ratio(ratio: float) -> str:
    """How many times the reference; with as many digits as a small share needs."""
    return f"{ratio:.2f} x" if ratio >= 0.1 else f"{ratio:.2g} x"


def format_figure(figure: Figure) -> str:
    """One figure, as it comes."""
    return "  ".join(cell for cell in (*_table_row(_record_figure(figure)), figure.note) if cell)


def format_table(run: Mapping[str, Any]) -> str:
    """The table for a terminal, and what was noted."""
    cells = [_HEADS, *table_rows(run)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([*lines, "", *_format_runs(run)])


def _format_runs(run: Mapping[str, Any]) -> Iterator[str]:
    """Every single run of what was measured more than once, and the notes."""
    for figure in run["figures"]:
        for name, found in (("fwd", figure["runs"]), (figure["beside"], figure["reference"])):
            if len(found) > 1:
                yield f"{figure['id']} {figure['what']}, {name}: {', '.join(format_number(one) for one in found)}"
        if figure["note"]:
            yield f"{figure['id']} {figure['what']}: {figure['note']}"


def render_page(run: Mapping[str, Any], pieces: Mapping[str, Any] | None = None) -> str:
    """docs/benchmarks.md."""
    machine = run["machine"]
    return _PAGE.format(
        command=run["command"],
        date=run["date"][:10],
        commit=run["commit"],
        cores=machine["cores"],
        cpu=machine["cpu"],
        kernel=machine["kernel"],
        python=run["python"],
        load=f"{run['load_average'][0]:.1f}",
        tools=", ".join(tool for tool in run["tools"] if tool),
        table=_markdown_table(_HEADS, table_rows(run)),
        pieces=_render_pieces(pieces) if pieces else "",
        runs="\n".join(f"- {text}" for text in _format_runs(run)),
    )


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell or ' ' for cell in line)} |" for line in lines)


def _render_pieces(pieces: Mapping[str, Any]) -> str:
    rows = [
        (piece["name"], piece["what"], f"{piece['call']:+,.0f}", f"{piece['chunk']:+,.1f}")
        for piece in pieces["pieces"]
    ]
    return _PIECES.format(
        date=pieces["date"][:10],
        commit=pieces["commit"],
        python=pieces["python"],
        call=format_number(pieces["call"]),
        chunk=format_number(pieces["chunk"]),
        table=_markdown_table(("piece", "what it is", "a JSON call", "a chunk"), rows),
    )


_PIECES: Final = """
## What each piece saves

`python -m bench.pieces` counts instructions with everything on, then again with each piece of the call path switched
off. {date}, commit {commit}, {python}: with everything on, {call} thousand for a JSON call and {chunk} thousand for a
streamed chunk. Without the piece, thousand instructions more:

{table}
"""

_PAGE: Final = """# Benchmarks

<!-- Written by `python -m bench.report` from bench/results. -->

Calls to a model take seconds, so what counts is what a gateway adds: CPU for each request and streamed chunk, latency
at the tail, memory for each open stream. Absolute times mean little on another machine. Each figure is therefore
measured next to a reference, in turn and in the same run. The ratio is the result.

```sh
{command}
```

{date}, commit {commit}. {cores} cores of {cpu}, Linux {kernel}. The gateway runs on {python}. {tools}.
Load average at the end of the run: {load}. The run itself keeps about two cores busy; anything above that is other work
on the same machine, which disturbs latency most.

![CPU time by request and chunk](benchmarks.svg)

{table}

The gateway has one core to itself, except for B3 with two workers; the load generator and the provider share another.
The gateway does everything it does in production: it checks the key, validates the body, routes the model, keeps
receipts and usage, and logs one line of JSON for each request. Requests carry the 16 headers that the OpenAI SDK
sends. nginx is a plain reverse proxy without a log. LiteLLM and Portkey run with their defaults.

CPU is the user and system time of all processes of a gateway, divided by what they served. "Added" is the time through
the gateway minus the time without it. `bench/measures.py` describes how each measure is taken.

Instructions are counted by callgrind, one call at a time. They leave out the kernel and the cost of cache misses, but
repeat to a fraction of a percent on any machine with the same Python. `python -m bench.hops` lists the functions that
a call enters.
{pieces}
## Every run

{runs}
"""

_WIDE: Final = 760
_BAR: Final = 18
_STEP: Final = 30
_LEFT: Final = 330


def render_picture(run: Mapping[str, Any]) -> str:
    """The figures in microseconds as bars, nginx or the reference as a mark on each."""
    own = [figure for figure in run["figures"] if not figure["peer"]]  # others are off any scale that fits ours
    found = [figure for figure in own if figure["unit"] == "µs" and figure["id"] in ("B1", "B2", "B10")]
    most = max((max(figure["value"], figure["base"] or 0) for figure in found), default=1.0)
    scale = (_WIDE - _LEFT - 90) / most
    bars = "\n".join(_render_bar(figure, place, scale) for place, figure in enumerate(found))
    height = 56 + _STEP * len(found)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">\n'
        f"<title>CPU time of the gateway, in microseconds</title>\n"
        f'<rect width="{_WIDE}" height="{height}" fill="#fff"/>\n'
        f'<text x="12" y="22" font-weight="600" fill="#111">CPU time in µs; the dark mark is the reference</text>\n'
        f"{bars}\n</svg>\n"
    )


def _render_bar(figure: Mapping[str, Any], place: int, scale: float) -> str:
    top = 40 + place * _STEP
    width = figure["value"] * scale
    label = html.escape(f"{figure['id']}  {figure['what']}")
    parts = [
        f'<text x="12" y="{top + 13}" fill="#111">{label}</text>',
        f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="2" fill="#4c8dd6"/>',
        f'<text x="{_LEFT + width + 6:.1f}" y="{top + 13}" fill="#333">{format_number(figure["value"])}</text>',
    ]
    if figure["base"]:
        mark = _LEFT + figure["base"] * scale
        parts.append(f'<rect x="{mark - 1.5:.1f}" y="{top - 2}" width="3" height="{_BAR + 4}" fill="#14304f"/>')
    return "\n".join(parts)


def publish_run(run: Mapping[str, Any]) -> None:
    """Write the page and the picture."""
    PAGE.write_text(render_page(run, pieces_of_path()), encoding="utf-8")
    PICTURE.write_text(render_picture(run), encoding="utf-8")


if __name__ == "__main__":
    last = newest_run()
    if last is None:
        raise SystemExit("There are no results yet: nox -s bench makes them.")
    publish_run(last)
