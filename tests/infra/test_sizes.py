"""Nothing in the package outgrows its limit; the checker sees what it should see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.check_sizes import complaints, sizes

ROOT = Path(__file__).resolve().parents[2]
LIMITS: dict[str, Any] = {"function": 3, "builder": 4, "class": 5, "folder": 2}
NONE: dict[str, Any] = {"too_long": {}, "large_folders": {}}

SOURCE = '''
class Large:
    """Said in one line."""

    def method(self):
        """
        Said in three lines.
        """
        return [
            1]

    def long(self):
        a = 1
        b = 2
        return a + b

def init_small_wf():
    """Said in one line."""
    pass
    return 1

def init_long_wf():
    """Said in one line."""
    pass
    pass
    return 1
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "house"
    folder.mkdir()
    for name in ("__init__", "one", "two"):
        (folder / f"{name}.py").write_text("")
    (folder / "one.py").write_text(SOURCE)
    return folder


def _told(package: Path, **exceptions: Any) -> list[str]:
    return complaints(list(sizes(package)), {**LIMITS, **NONE, **exceptions})


def test_the_package_is_within_its_limits() -> None:
    script = [sys.executable, "scripts/check_sizes.py"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_definitions_above_their_limit_are_told_with_their_place(package: Path) -> None:
    assert _told(package) == [
        "house/one.py:2: class house.one.Large has 13 lines, at most 5 are allowed",
        "house/one.py:12: function house.one.Large.long has 4 lines, at most 3 are allowed",
        "house/one.py:22: builder house.one.init_long_wf has 5 lines, at most 4 are allowed",
    ]


def test_an_exception_may_shrink_but_not_grow(package: Path) -> None:
    listed = {"house.one.Large": 13, "house.one.Large.long": 4, "house.one.init_long_wf": 5}
    assert not _told(package, too_long=listed)
    (line,) = _told(package, too_long={**listed, "house.one.Large": 12})
    assert "has 13 lines, at most 12 are allowed" in line


def test_an_exception_that_nothing_needs_is_told(package: Path) -> None:
    assert any(
        "house.gone is within" in line for line in _told(package, too_long={"house.gone": 9})
    )


def test_a_full_folder_needs_a_reason(package: Path) -> None:
    (package / "three.py").write_text("")
    assert "house: folder house has 3 modules, at most 2 are allowed" in _told(package)
    told = _told(package, large_folders={"house": "a reason"})
    assert not any("folder" in line for line in told)
