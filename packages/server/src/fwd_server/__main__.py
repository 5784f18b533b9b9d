"""``python -m fwd_server`` runs the gateway; all of it is in ``process/main.py``."""

from __future__ import annotations

import sys

from fwd_server.process.main import main

if __name__ == "__main__":
    sys.exit(main())
