"""Two runs over the same people with one work folder: the second is told to wait."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.running.processes.claims import claimed

_OTHER = """
import sys
from pathlib import Path
from bidsapp_brainage.running.processes.claims import claimed
with claimed(Path(sys.argv[1]), ["sub-01", "sub-02"]):
    print("claimed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path):
    """A run that works on two scans until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _OTHER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    yield process
    process.kill()
    process.wait()


def test_scans_of_another_run_are_refused_and_others_are_not(tmp_path: Path, other) -> None:
    taken = pytest.raises(UsageError, match="sub-02 in the work folder.*has ended")
    with taken, claimed(tmp_path, ["sub-02", "sub-03"]):
        pass
    with claimed(tmp_path, ["sub-03", "sub-04"]):
        pass
    with claimed(tmp_path / "another", ["sub-01"]):
        pass


def test_a_killed_run_leaves_no_claim(tmp_path: Path, other) -> None:
    with pytest.raises(UsageError), claimed(tmp_path, ["sub-02"]):
        pass
    other.kill()
    other.wait()
    with claimed(tmp_path, ["sub-01", "sub-02"]):
        assert other.returncode < 0


def test_many_scans_are_claimed_with_one_open_file(tmp_path: Path) -> None:
    with claimed(tmp_path, [f"sub-{number:05d}" for number in range(5000)]):
        assert sum(path.is_file() for path in tmp_path.iterdir()) == 1
