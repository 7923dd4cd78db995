"""The page about dependencies names every direct one, and no other."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_requirement_is_on_the_page():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    required = config["options"]["install_requires"].split("\n")
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w-]+) \|", page, flags=re.MULTILINE)
    assert rows[0] == "package"
    assert sorted(rows[1:]) == sorted(line.split(">=")[0].strip() for line in required if line)
