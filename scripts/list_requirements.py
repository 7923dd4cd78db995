"""Print the run-time requirements of setup.cfg, one per line, without importing the package."""

from __future__ import annotations

import configparser
import sys


def main() -> None:
    """Read the file named on the command line and print its ``install_requires``."""
    config = configparser.ConfigParser()
    config.read(sys.argv[1], encoding="utf-8")
    print(config["options"]["install_requires"].strip())


if __name__ == "__main__":
    main()
