"""Print the run-time requirements of setup.cfg, one per line, without importing the package.

Usage: list_requirements.py SETUP_CFG [EXTRA...]
"""

from __future__ import annotations

import configparser
import sys


def main() -> None:
    """Read the file named on the command line; print ``install_requires`` and the named extras."""
    config = configparser.ConfigParser()
    config.read(sys.argv[1], encoding="utf-8")
    print(config["options"]["install_requires"].strip())
    for extra in sys.argv[2:]:
        print(config["options.extras_require"][extra].strip())


if __name__ == "__main__":
    main()
