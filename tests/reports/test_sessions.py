"""Several scans of one person on one page: ages, changes, contributions, pictures of one scale."""

from __future__ import annotations

import base64
import io
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bidsapp_brainage.bids.names import output_path
from bidsapp_brainage.reports.figures.mosaic import Volume
from bidsapp_brainage.reports.figures.side_by_side import Row, side_by_side
from bidsapp_brainage.reports.individual.history import contributions
from bidsapp_brainage.reports.individual.history.age_axis import age_axis
from bidsapp_brainage.reports.individual.history.sessions import SessionsView, sessions_views
from bidsapp_brainage.reports.individual.page import write_individual_report
from bidsapp_brainage.reports.individual.results import read_subject
from tests.derivatives import write_table
from tests.reports.synthetic import ATLAS, MODEL, RUN, TEMPLATE, Person, write_person

TWICE = Person(sessions=("1", "2"), years=3.0, change=4.0)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_person(tmp_path_factory.mktemp("twice"), TWICE)


@pytest.fixture
def copied(twice: Path, tmp_path: Path) -> Path:
    return shutil.copytree(twice, tmp_path / "copy")


def view_of(root: Path) -> SessionsView:
    (view,) = sessions_views(root, read_subject(root, "01"))
    return view


def write_reliability(root: Path, gap: float, region: float = 0.1) -> None:
    """Write what the group level finds in repeated scans of twelve people."""
    row = {"n_participants": 12, "n_sessions": 2, "years_between_mean": 0.25}
    ages = [
        {"measure": name, **row, "smallest_detectable_change": gap}
        for name in ("predicted_age", "gap")
    ]
    write_table(root, "reliability", pd.DataFrame(ages))
    del row["years_between_mean"]
    regions = [
        {"level": "region", "index": number, "name": f"R{number}", **row,
         "smallest_detectable_change": region}
        for number in range(1, 24)
    ]  # fmt: skip
    write_table(root, "occlusionreliability", pd.DataFrame(regions), **ATLAS)


def test_ages_of_all_scans_stand_on_one_axis() -> None:
    rows = [
        ("first", {"predicted_age": 40.0, "chronological_age": 50.0, "ci95_lower": 30.0,
                   "ci95_upper": 60.0}),
        ("second", {"predicted_age": 50.0, "chronological_age": None}),
    ]  # fmt: skip
    axis = age_axis(rows)
    first, second = axis.lanes
    assert first.actual == second.predicted
    assert first.low is not None
    assert first.width is not None
    assert first.low < first.predicted < first.low + first.width
    assert (second.actual, second.low, second.width) == (None, None, None)
    ticks = {text: place for place, text in axis.ticks}
    assert ticks["50"] == second.predicted
    assert "first: predicted 40.0, chronological 50.0" in axis.description


def test_without_repeated_scans_nobody_says_what_a_change_means(twice: Path) -> None:
    view = view_of(twice)
    assert view.error.title == "The error of measurement is not known"
    (row,) = view.changes.rows
    texts = [cell.text for cell in row]
    assert texts[:2] == ["ses-1 (52.5 years)", "ses-2 (55.5 years)"]
    assert texts[2:] == ["3.0", "+4.0", "+1.0", "+0.33", "n/a", "not known"]
    (atlas,) = view.atlases
    assert "is not known" in atlas.sentence
    assert {row[-1].text for row in atlas.table.rows} == {"not known"}


@pytest.mark.parametrize(("limit", "reading"), [(0.9, "more than error"), (1.1, "within error")])
def test_changes_are_compared_with_what_the_group_measured(
    copied: Path, limit: float, reading: str
) -> None:
    write_reliability(copied, limit)
    view = view_of(copied)
    assert "repeated scans of 12 people" in view.error.text
    assert "0.2 years apart" in view.error.text
    assert [cell.text for cell in view.changes.rows[0]][-2:] == [f"{limit:.1f}", reading]


def test_differences_of_contributions_are_those_of_the_tables(copied: Path) -> None:
    write_reliability(copied, 1.0, region=0.2)
    (atlas,) = view_of(copied).atlases
    names = [column.title for column in atlas.table.columns]
    largest = dict(
        zip(names, (cell.value or cell.text for cell in atlas.table.rows[0]), strict=True)
    )
    number = int(largest["Region"].split()[1]) * 2 - (largest["Side"] == "left")
    first = 1.6 * np.sin(number) * np.exp(-number / 9)
    assert float(largest["Difference"]) == pytest.approx(0.2 * first, rel=1e-4)
    every = 0.2 * 1.6 * np.sin(np.arange(1, 24)) * np.exp(-np.arange(1, 24) / 9)
    assert abs(float(largest["Difference"])) == pytest.approx(np.abs(every).max(), rel=1e-4)
    beyond = int((np.abs(every) > 0.2).sum())
    assert f"{beyond} of 23 regions differ by more" in atlas.sentence


def test_three_scans_are_compared_one_after_the_other_and_end_to_end(tmp_path: Path) -> None:
    write_person(tmp_path, Person(sessions=("c", "b", "a"), years=-1.0, explain=False))
    pairs = [(row[0].text, row[1].text) for row in view_of(tmp_path).changes.rows]
    a, b, c = "ses-a (50.5 years)", "ses-b (51.5 years)", "ses-c (52.5 years)"
    assert pairs == [(a, b), (b, c), (a, c)]


def test_without_ages_the_predicted_age_is_compared(tmp_path: Path) -> None:
    write_person(tmp_path, Person(sessions=("1", "2"), age=None, change=3.0, explain=False))
    write_reliability(tmp_path, 2.0)
    (row,) = view_of(tmp_path).changes.rows
    assert [cell.text for cell in row][2:] == [
        "n/a", "+3.0", "n/a", "n/a", "2.0", "more than error"
    ]  # fmt: skip


def test_one_scan_has_no_section_and_many_have_one(twice: Path, tmp_path: Path) -> None:
    page = write_individual_report(twice, "01", run=RUN).read_text()
    assert '<section class="card" id="sessions"' in page
    assert '<a href="#sessions">' in page
    assert page.count("data-scan=") > 2
    write_person(tmp_path, Person(explain=False))
    single = write_individual_report(tmp_path, "01", run=RUN).read_text()
    assert 'id="sessions"' not in single
    assert "#sessions" not in single


def test_what_cannot_be_drawn_together_is_left_out(copied: Path) -> None:
    scan = (("sub", "01"), ("ses", "2"))
    where = {"space": TEMPLATE, "res": "8"}
    path = output_path(copied, "input", scan, model=MODEL, **where)
    other = nib.Nifti1Image(np.ones((5, 5, 5), np.float32), np.eye(4))
    nib.save(other, path)
    view = view_of(copied)
    assert view.inputs is None
    assert view.atlases[0].picture is None
    assert view.atlases[0].table.rows
    path.write_bytes(b"broken")
    assert view_of(copied).inputs is None
    path.unlink()
    assert view_of(copied).inputs is None


def test_contributions_with_another_baseline_are_not_compared(copied: Path) -> None:
    labels = {"space": TEMPLATE, **ATLAS}
    path = output_path(copied, "table", (("sub", "01"), ("ses", "2")), model=MODEL, **labels)
    path.write_text(path.read_text().replace("background", "mean"))
    assert view_of(copied).atlases == ()


def test_of_many_scans_the_first_and_the_last_are_drawn() -> None:
    scans = list(range(20))
    chosen = list(contributions._chosen(scans))
    assert len(chosen) == contributions.MOST_ROWS
    assert (chosen[0], chosen[-1]) == (0, 19)
    assert list(contributions._chosen(scans[:3])) == [0, 1, 2]


def test_regions_without_a_stable_sign_are_striped(twice: Path) -> None:
    """Every third sign of the made-up contributions depends on the fill."""
    (atlas,) = view_of(twice).atlases
    assert atlas.picture is not None
    assert "Striped: the sign is not stable" in atlas.picture.caption
    values = np.zeros((2, 2, 2), np.float32)
    values[0, 0] = 0.5, -0.25
    rows = pd.DataFrame({"delta_age": [-0.25, 0.5, None], "doubtful": [True, False, True]})
    marked = contributions._doubtful(Volume(values, np.eye(4)), rows).data
    assert marked[0, 0].tolist() == [False, True]
    assert marked.sum() == 1


def test_rows_share_greys_and_colours() -> None:
    """The same value has the same colour in a row whose own largest value it is."""
    grey = np.zeros((30, 30, 30), np.float32)
    grey[5:25, 5:25, 5:25] = 100
    bright, effect = grey.copy(), np.zeros_like(grey)
    bright[8:22, 8:22, 8:22] = 200
    effect[12:18, 12:18, 12:18] = -1.0
    strong = effect.copy()
    strong[12:18, 12:18, 12:15] = -4.0
    affine = np.eye(4)
    rows = [
        Row("one", Volume(grey, affine), Volume(effect, affine)),
        Row("two", Volume(bright, affine), Volume(strong, affine)),
    ]
    text = side_by_side(rows, title="test", how="gone")
    code = re.search(r"base64,([A-Za-z0-9+/=]+)", text)
    assert code is not None
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(code[1]))).convert("RGB"), float)
    assert "+4.00" in text
    height = (picture.shape[0] - 52) // 2
    first, second = picture[:height], picture[height : 2 * height]
    assert second.max() > 1.2 * first.max()  # 100 is no white where 200 occurs
    redness = [row[..., 0] - row[..., 2] for row in (first, second)]
    assert redness[1].max() > 1.3 * redness[0].max() > 20
