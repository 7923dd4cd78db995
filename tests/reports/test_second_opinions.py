"""What the group page shows of methods other than occlusion."""

from __future__ import annotations

import re

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.bids.names import sidecar_path
from bidsapp_brainage.io import write_json
from bidsapp_brainage.reports.figures import drawing
from bidsapp_brainage.reports.group.comparisons.age_table import network_table
from bidsapp_brainage.reports.group.comparisons.figures import Strip, region_bars, strips
from bidsapp_brainage.reports.group.page import write_group_report
from bidsapp_brainage.reports.group.stored import StoredResults
from tests.derivatives import MODEL, TEMPLATE, prediction, write_image, write_table

ATLAS = {"atlas": "Blocks", "scale": "12"}
SHAPE = (10, 12, 10)


def blob(value=1.0):
    data = np.zeros(SHAPE, np.float32)
    data[2:8, 2:9, 2:8] = value
    return nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1]))


def region_rows(method, age_group="all", *, baseline=None, name="Left <b>thalamus</b>"):
    signed = method != "noise"
    return [
        {"method": method, "baseline": baseline, "age_group": age_group, "index": number,
         "name": f"{name} {number}", "n_participants": 6, "mean_volume_mm3": 2000.0,
         "mean_delta_age": (-1) ** number / number if signed else None,
         "se_delta_age": 0.11 if signed else None,
         "mean_delta_age_sd_members": 0.07 if signed else None,
         "mean_importance": 1 / number, "mean_importance_sd_members": 0.4,
         "mean_importance_per_ml": 0.5 / number, "se_importance_per_ml": 0.013,
         "ci95_lower": -2.0, "ci95_upper": 2.0, "rank": number}
        for number in (1, 2, 3)
    ]  # fmt: skip


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "DPI", 50)
    scan = (("sub", "01"),)
    brainage = prediction(scan, 30.0, 33.0, None).assign(scan="sub-01", flagged=False)
    write_table(tmp_path, "group_brainage", brainage)
    means = [
        {"level": "region", "index": 1, "name": "a", "baseline": "background", "n_participants": 6,
         "mean_delta_age": 1.0, "rank": 1, "n_regions": 1}
    ]  # fmt: skip
    write_table(tmp_path, "occlusionstats", means, ATLAS)
    opinions = [
        *region_rows("lrp"), *region_rows("lrp", "20-30"), *region_rows("lrp", "60-70"),
        *region_rows("ig", baseline="blur"), *region_rows("noise"),
    ]  # fmt: skip
    write_table(tmp_path, "attributionstats", opinions, ATLAS)
    for key, cohort, value in (
        ("noise_map_mean", None, 0.5), ("noise_map_se", None, 0.1),
        ("noise_map_mean", "20to30", 0.4), ("cubes_map_mean", None, -1.0),
    ):  # fmt: skip
        labels = {"tpl": TEMPLATE, "res": "2"} | ({"cohort": cohort} if cohort else {})
        path = write_image(tmp_path, key, blob(value), (), **labels)
        write_json(sidecar_path(path), {"NumberOfParticipants": 6})
    return tmp_path


def test_maps_and_regions_are_shown_with_their_spread(results):
    page = write_group_report(results, MODEL).read_text("utf-8")
    text = re.sub(r"<[^>]+>", " ", page)
    assert 'id="maps"' in page
    for words in (
        "Maps over people", "Mean over 6 participants", "standard error of the mean over people",
        "Mean by age group", "Second opinions", "Integrated gradients (blurred brain)",
        "Layer-wise relevance propagation", "SD, members", "Mean importance per mL",
    ):  # fmt: skip
        assert words in text, words
    assert "<b>thalamus" not in page
    assert "0.110" in text  # the standard error over people
    assert "0.070" in text  # the spread over members
    assert "0.200" in text  # that of learned noise, per mL
    figures = {path.name for path in (results / "figures").iterdir()}
    assert f"group_desc-{MODEL}_noisemapages.svg" in figures
    assert f"group_desc-{MODEL}_cubesmap.svg" in figures
    assert f"group_desc-{MODEL}_cubesmapages.svg" not in figures
    assert f"group_atlas-Blocks_scale-12_desc-{MODEL}_lrpages.svg" in figures
    assert f"group_atlas-Blocks_scale-12_desc-{MODEL}_igblurregions.svg" in figures


def age_rows(level, ages=("20-30", "60-70"), value=0.25):
    return [
        {"level": level, "name": name, "age_group": age, "n_participants": 7,
         "mean_nosa_importance_scaled": value}
        for name in ("Frontoparietal", "Visual")
        for age in ages
    ]  # fmt: skip


def shown_ages(root, rows):
    write_table(root, "agegroups", rows, ATLAS)
    table = network_table(StoredResults(root, MODEL), ATLAS, "regions-1")
    if table is None:
        return None
    return table.caption, [column.title for column in table.columns], [
        [cell.text for cell in row] for row in table.rows
    ]  # fmt: skip


def test_networks_over_ages_stand_beside_what_is_reported(tmp_path):
    rows = [*age_rows("network_mean", value=0.9), *age_rows("network")]
    caption, titles, cells = shown_ages(tmp_path, rows)
    assert "occluded as one" in caption
    assert titles == ["Network", "He et al. report", "20-30", "60-70"]
    assert cells == [
        ["Frontoparietal", "inverted U", "0.25", "0.25"], ["Visual", "not stated", "0.25", "0.25"]
    ]  # fmt: skip
    caption, *_ = shown_ages(tmp_path, age_rows("network_mean"))
    assert "mean over regions" in caption
    for nothing in (
        age_rows("lobe"),
        age_rows("network", ("20-30",)),
        age_rows("network", value=None),
    ):
        assert shown_ages(tmp_path, nothing) is None


def test_without_them_the_page_says_nothing(results):
    for path in (*results.rglob("tpl-*.nii.gz"), *results.glob("*_attributionstats.tsv")):
        path.unlink()
    page = write_group_report(results, MODEL).read_text("utf-8")
    assert "Maps over people" not in page
    assert "Second opinions" not in page


@pytest.mark.parametrize("shared", [True, False])
def test_a_scale_for_all_rows_or_one_for_each(shared):
    rows = [Strip("mean", blob(2.0), signed=True), Strip("error", blob(0.1), signed=True)]
    figure = strips(rows, blob(), unit="years", shared=shared)
    ends = [axes.get_ylim()[1] for axes in figure.axes if axes.get_ylabel() == "years"]
    assert ends == pytest.approx([2.0] if shared else [2.0, 0.1], rel=1e-5)


def test_bars_are_ordered_by_size_and_take_missing_spreads():
    rows = pd.DataFrame(region_rows("lrp", name="r")).sample(frac=1, random_state=1)
    rows = rows.assign(mean_delta_age_sd_members=np.nan, ci95_lower=np.nan)
    figure = region_bars(rows, signed=True)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["r 3", "r 2", "r 1"]  # the strongest on top
    assert not figure.legends
