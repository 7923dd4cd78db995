"""A plan and scans for graphs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidsapp_brainage.bids.collect import Scan
from bidsapp_brainage.workflows.plan import RunPlan
from tests.workflows.stand_ins import make_plan, make_scans


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    return make_plan(tmp_path)


@pytest.fixture
def scans(tmp_path: Path) -> list[Scan]:
    return make_scans(tmp_path)
