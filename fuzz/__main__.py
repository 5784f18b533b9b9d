"""``python -m fuzz``: let libFuzzer, by way of Atheris, look for bytes that a reader does not stand.

nox -s fuzz                                    # every target for a minute
nox -s fuzz -- --seconds 600 requests answers  # some, for longer
nox -s fuzz -- requests --input FILE           # what was found, again

What was learnt is kept in build/fuzz/TARGET, and is where the next run begins. What breaks a target is kept there too,
as crash-, timeout- or oom-, and is named; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from pathlib import Path

from fuzz.targets import TARGETS

BUILD = Path(__file__).parent.parent / "build" / "fuzz"
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")
_COVERED = re.compile(r"\bcov: (\d+) ft: (\d+)")


def main() -> int:
    """Run the targets one after the other; 1 if one of them broke."""
    options = parse()
    broken = [name for name in options.targets or TARGETS if not fuzz(name, options)]
    return int(bool(broken))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="fuzz", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = __doc__
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"out of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--input", type=Path, help="only this file")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"there is no {', '.join(sorted(unknown))}: there is {', '.join(TARGETS)}")
    return options


def fuzz(name: str, options: argparse.Namespace) -> bool:
    """Run one target, and say in a line what came of it; whether it held."""
    folder = BUILD / name
    plant(name, folder / "corpus")
    words = [
        f"-max_total_time={options.seconds}",
        f"-max_len={TARGETS[name].longest}",
        "-timeout=5",
        "-rss_limit_mb=1024",
    ]
    words += ["-close_fd_mask=0", f"-artifact_prefix={folder}/", str(options.input or folder / "corpus")]
    command = [sys.executable, "-m", "fuzz.run", name, *words]
    with (folder / "log").open("w", encoding="utf-8") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    said = (folder / "log").read_text(encoding="utf-8", errors="replace")
    print(f"{name}: {'held' if done.returncode == 0 else 'BROKEN'}, {told(said)}", flush=True)
    if done.returncode:
        print(said[-4000:])
    return done.returncode == 0


def plant(name: str, corpus: Path) -> None:
    """Lay down the inputs to begin with, by what they are, as libFuzzer does."""
    corpus.mkdir(parents=True, exist_ok=True)
    for data in TARGETS[name].seeds():
        (corpus / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)


def told(said: str) -> str:
    """Runs, seconds and coverage, from libFuzzer's own words."""
    done, covered = _DONE.search(said), _COVERED.findall(said)
    ran = f"{int(done[1]):,} runs in {done[2]} s" if done else "ended early"
    return f"{ran}, {covered[-1][0]} edges and {covered[-1][1]} features covered" if covered else ran


if __name__ == "__main__":
    sys.exit(main())
