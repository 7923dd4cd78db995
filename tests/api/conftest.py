"""The levels with a stand-in for the run itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidsapp_brainage.api import levels, results
from tests.api.stand_in import StandIn


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr(levels, "run_app", stand_in)
    monkeypatch.setattr(results, "run_app", stand_in)
    return stand_in


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder of two images, of which one is bad."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("good.nii.gz", "bad.nii.gz"):
        (folder / name).write_text(name)
    return folder
