"""``python -m bench``: measure, print the table, keep the results, draw the picture.

nox -s bench                                  # everything, about five minutes
nox -s bench -- --only B1,B2                  # some
nox -s bench -- --python /usr/bin/python3     # the gateway on another Python (in an environment made for the run)
nox -s bench -- --instructions                # instructions of a call and of a chunk alone (valgrind), a minute
nox -s bench -- --peers                       # LiteLLM and Portkey too, installed for the run
nox -s bench -- --publish                     # and write docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench import environments, measures, processes, report
from bench.figures import Figure
from bench.measures import IDS, MEASURES, BenchContext, Measure
from bench.peers import install_peers
from bench.processes import GatewayPlace


def main() -> int:
    """Take the chosen measures. The exit code is 0 whatever the figures are: people judge them."""
    options = parse_options()
    processes.raise_fd_limit()
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > processes.LOAD_CORE:
        os.sched_setaffinity(0, {processes.LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="fwd-bench-") as name:
        python = environments.gateway_python(options.python, Path(name))
        figures, tools = take_measures(options, python, Path(name))
        run = report.record_run(figures, describe_run(python, tools))
    print(f"\n{report.format_table(run)}\n")
    print(f"Written to {report.write_results(run, publish=options.publish)}")
    if options.publish:
        report.publish_run(run)
    return 0


def parse_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="bench", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = __doc__
    parser.add_argument("--only", type=_parse_ids, default=frozenset(IDS), help=f"ids out of {', '.join(IDS)}")
    parser.add_argument("--python", default=sys.executable, help="the Python the gateway runs on")
    parser.add_argument("--seconds", type=int, default=2, help="length of one run of calls")
    parser.add_argument("--hold", type=float, default=60.0, help="length of B6's streams, in seconds")
    parser.add_argument("--instructions", action="store_true", help="count instructions, and nothing else")
    parser.add_argument("--peers", action="store_true", help="measure LiteLLM and Portkey too")
    parser.add_argument("--publish", action="store_true", help="write docs/benchmarks.md")
    return parser.parse_args()


def _parse_ids(text: str) -> frozenset[str]:
    found = frozenset(text.upper().split(","))
    if unknown := found - set(IDS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: there is {', '.join(IDS)}")
    return found


def take_measures(options: argparse.Namespace, python: str, folder: Path) -> tuple[list[Figure], list[str]]:
    """Take the chosen measures and print each figure as it comes; the figures, and the peers with their versions.

    A measure that fails does not keep the others from being taken.
    """
    figures = []
    with processes.run_upstream() as upstream:
        place = GatewayPlace(python, folder, upstream.port)
        peers = tuple(install_peers(place)) if options.peers else ()
        with processes.run_nginx(place) as nginx:
            bench = BenchContext(place, upstream, nginx, peers, options.seconds, options.hold)
            chosen = [(ids, take) for ids, take in MEASURES if ids & options.only]
            if options.instructions:
                chosen = [(ids, take) for ids, take in chosen if take is measures.instruction_counts]
            for ids, take in chosen:
                for figure in attempt_measure(take, bench, min(ids)):
                    if figure.id in options.only:
                        figures.append(figure)
                        print(report.format_figure(figure), flush=True)
    return sorted(figures, key=lambda figure: int(figure.id[1:])), [f"{peer.name} {peer.version}" for peer in peers]


def attempt_measure(take: Measure, bench: BenchContext, name: str) -> Iterator[Figure]:
    """The figures of a measure, or one figure with the error if it failed."""
    try:
        yield from take(bench)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        yield Figure(name, f"{take.__name__} failed", "", (), met=False, note=str(error))


def describe_run(python: str, peers: Sequence[str]) -> dict[str, Any]:
    """The date, commit, machine, interpreter and tools of a run."""
    dirty = processes.read_output("git", "status", "--porcelain", "packages/server/src")
    words = [
        Path(word).name if "/" in word else word for word in sys.argv[1:]
    ]  # results are published: no paths of this machine
    commit = processes.read_output("git", "rev-parse", "--short", "HEAD")
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": f"{commit} with changes" if dirty else commit,
        "command": " ".join(["nox -s bench", *(["--"] if words else []), *words]),
        "machine": processes.describe_machine(),
        "load_average": os.getloadavg(),
        "python": processes.describe_python(python),
        "tools": [processes.read_output("nginx", "-v").removeprefix("nginx version: "), _describe_wrk(), *peers],
    }


def _describe_wrk() -> str:
    version = processes.read_output("wrk", "-v").splitlines()
    return " ".join(version[0].split()[:2]) if version else "own driver in place of wrk"


if __name__ == "__main__":
    sys.exit(main())
