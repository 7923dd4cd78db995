"""A person with several sessions, and the page of all runs, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bidsapp_brainage.bids.run_records import read_runs
from bidsapp_brainage.reports.individual.page import write_individual_report
from bidsapp_brainage.reports.runs.page import write_runs_page
from tests.reports.browsing import open_page, violations
from tests.reports.synthetic import RUN, Person, write_person
from tests.run_logs import write_run

pytestmark = pytest.mark.browser
SCANS = ("sub-01_ses-1", "sub-01_ses-2", "sub-01_ses-3")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("history")
    write_person(root, Person(sessions=("1", "2", "3"), years=2.0, change=3.0))
    for number, failed in ((1, ""), (2, SCANS[2])):
        facts = {"Versions": {"torch": "2.13.0"}, "Warnings": ["sub-01: an odd age"]}
        write_run(root, number, *SCANS, subject="", failed=failed, **facts)
        write_run(root, number, *SCANS, failed=failed, **facts)
    run = {**RUN, "runs": read_runs(root, "01"), "warnings": ["sub-01: an odd age"]}
    write_individual_report(root, "01", run=run)
    write_runs_page(root, written="2026-02-01T00:00:00Z")
    return root


@pytest.mark.parametrize(("width", "scheme"), [(380, "dark"), (1280, "light")])
@pytest.mark.parametrize("name", ["sub-01.html", "runs.html"])
def test_axe_finds_no_barrier_with_everything_unfolded(
    browser: Any, root: Path, name: str, width: int, scheme: str
) -> None:
    for window in open_page(browser, root / name, color_scheme=scheme, bypass_csp=True):
        window.set_viewport_size({"width": width, "height": 800})
        window.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert window.evaluate("document.documentElement.scrollWidth") == width
        assert violations(window) == []


def test_ages_stand_where_the_axis_says(browser: Any, root: Path) -> None:
    """Predicted 64.2 and chronological 56.5 years of the third session, against the ticks."""
    for window in open_page(browser, root / "sub-01.html"):
        middles = window.evaluate(
            """() => {
              const middle = part => {
                const box = part.getBoundingClientRect();
                return box.left + box.width / 2;
              };
              const lanes = document.querySelectorAll('.lanes .lane');
              const ticks = [...document.querySelectorAll('.lanes .tick')];
              return {
                predicted: middle(lanes[2].querySelector('.predicted')),
                actual: middle(lanes[2].querySelector('.actual')),
                ticks: ticks.map(tick => [Number(tick.textContent), middle(tick)]),
              };
            }"""
        )
        (first, left), *_, (last, right) = middles["ticks"]
        per_year = (right - left) / (last - first)
        assert (middles["predicted"] - left) / per_year + first == pytest.approx(64.2, abs=0.2)
        assert (middles["actual"] - left) / per_year + first == pytest.approx(56.5, abs=0.2)
        folded = window.locator("#about details").first
        assert not folded.locator("table").is_visible()
        folded.locator("summary").click()
        assert folded.locator("table").is_visible()
