"""Derive constraints-oldest.txt from the lower bounds in setup.cfg.

Usage: oldest_versions.py          write constraints-oldest.txt
       oldest_versions.py --check  exit with 1 when it does not agree with setup.cfg

What the package itself asks for (the run-time requirements and the extras ``cluster``, ``onnx``
and ``xai``) stands at its lower bound; what runs the tests (the extra ``unit``) as in
constraints.txt.
"""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "constraints-oldest.txt"
HEADER = """\
# The oldest version of every requirement that setup.cfg admits, and the tools that test it.
# Written by scripts/oldest_versions.py, used by `make test-oldest`: do not edit.
"""


def oldest(setup_cfg: str, constraints: str) -> str:
    """Text of constraints-oldest.txt for the texts of setup.cfg and constraints.txt.

    Raises
    ------
    ValueError
        If a requirement of the package has no lower bound.
    KeyError
        If a tool has no version in constraints.txt.
    """
    config = configparser.ConfigParser()
    config.read_string(setup_cfg)
    extras = config["options.extras_require"]
    own = [config["options"]["install_requires"], *map(extras.get, ("cluster", "onnx", "xai"))]
    pins = {}
    for requirement in filter(None, "\n".join(own).split("\n")):
        name, bound, version = (part.strip() for part in requirement.partition(">="))
        if not bound:
            raise ValueError(f"setup.cfg: {requirement} has no lower bound")
        pins[name] = version
    current = dict(line.split("==") for line in constraints.split("\n") if "==" in line)
    for requirement in filter(None, extras["unit"].split("\n")):
        name = requirement.partition(">=")[0].strip()
        if name not in pins:
            pins[name] = current[name]
    return HEADER + "".join(f"{name}=={pins[name]}\n" for name in sorted(pins, key=str.lower))


def main() -> None:
    """Write the file, or compare it."""
    sources = (ROOT / "setup.cfg", ROOT / "constraints.txt")
    text = oldest(*(path.read_text(encoding="utf-8") for path in sources))
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != text:
        sys.exit(f"{TARGET.name} is stale: python scripts/oldest_versions.py")


if __name__ == "__main__":
    main()
