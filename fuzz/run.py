"""``python -m fuzz.run TARGET [libFuzzer's words]``: one target until it ends; it never returns.

Atheris sees what it instruments while it is imported, so this module must be the first that imports our code. h11 is
looked at too: what it tells apart is worth trying on us.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["fwd_server", "fwd_client", "h11"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Hand everything to libFuzzer, which ends the process."""
    name, *words = sys.argv[1:]
    atheris.Setup([sys.argv[0], *words], TARGETS[name].check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
