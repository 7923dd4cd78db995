"""``python -m bidsapp_brainage`` is the same as ``bidsapp-brainage``."""

from __future__ import annotations

import sys

from bidsapp_brainage.cli.run import main

if __name__ == "__main__":
    sys.exit(main())
