"""Whether to colour: the variables people set, and ``--color``, which is written as the same variables.

``NO_COLOR`` and ``CLICOLOR=0`` switch colour off, ``FORCE_COLOR`` and ``CLICOLOR_FORCE`` switch it on, otherwise a
terminal has colour and a pipe has none. Rich and the programs we start read the same names, so all agree.
"""

from __future__ import annotations

import os

CHOICES = ("auto", "always", "never")


def choose(choice: str) -> None:
    """Make ``--color always`` or ``never`` hold for this process and its children; ``auto`` changes nothing."""
    if choice == "auto":
        return
    for name in ("NO_COLOR", "CLICOLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        # Or an older wish of the shell would win over the option.
        os.environ.pop(name, None)
    os.environ["FORCE_COLOR" if choice == "always" else "NO_COLOR"] = "1"


def wanted() -> bool | None:
    """True or False where the user decided, None where the terminal decides."""
    # First, as https://no-color.org asks.
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return False if os.environ.get("CLICOLOR") == "0" else None
