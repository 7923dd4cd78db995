"""Groups of the same regions are shown once, and bars on the scale of their level."""

from __future__ import annotations

import pandas as pd
import pytest

from bidsapp_brainage.reports.group.region_tables import region_table
from bidsapp_brainage.reports.individual.occlusion_tables import controls, groups
from bidsapp_brainage.reports.same_groups import repeats


@pytest.fixture
def rows():
    """Two lobes, a pair and a compartment, of which two are made of the same regions."""
    return pd.DataFrame(
        {
            "level": ["lobe", "lobe", "hemisphere", "pair", "compartment", "compartment"],
            "name": ["White matter", "Insula", "L", "insula", "white matter", "fluid"],
            "n_regions": [12, 2, 60, 2, 12, 4],
            "n_voxels": [700, 30, 1000, 30, 700, None],
            "volume_mm3": [5600.0, 240.0, 8000.0, 240.0, 5600.0, None],
            "delta_age": [-3.0, 1.5, 44.0, 1.5, -3.0, None],
            "sum_of_regions": [-4.0, 1.5, 90.0, 1.5, -4.0, None],
        }
    )


def test_a_group_of_several_levels_is_one_row(rows):
    _, table = groups(rows, "groups", "file.tsv")
    assert [(row[0].text, row[1].text) for row in table.rows] == [
        ("White matter", "Lobe, tissue compartment"),
        ("Insula", "Lobe, left and right pair"),
        ("left", "Hemisphere"),
        ("fluid", "Tissue compartment"),
    ]


def test_another_name_of_the_same_regions_is_told(rows):
    named = rows.replace({"name": {"insula": "insular cortex"}})
    _, table = groups(named, "groups", "file.tsv")
    assert table.rows[1][0].text == "Insula (insular cortex)"


def test_half_a_brain_does_not_flatten_the_bars_of_lobes(rows):
    _, table = groups(rows, "groups", "file.tsv")
    bars = {row[0].text: row[2].bar for row in table.rows}
    assert bars["White matter"] == -1
    assert bars["left"] == 1
    assert bars["Insula"] == 0.5


def test_repeated_groups_are_found_and_empty_ones_are_not(rows):
    keys = ("n_regions", "volume_mm3", "delta_age")
    assert list(repeats(rows, keys)) == [False, False, False, True, True, False]
    empty = rows.assign(volume_mm3=None)
    assert not repeats(empty, keys).any()


def test_a_change_is_not_called_a_prediction():
    rows = pd.DataFrame({"baseline": ["closed"], "control": ["whole_brain"], "delta_age": [44.0]})
    _, table = controls(rows, "controls", "file.tsv")
    assert "plus this change" in table.rows[0][-1].text


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["Left insula", "Right insula", "Vermis"], False),
        (["Insula L", "Insula R", "Vermis"], True),
    ],
)
def test_a_side_that_every_name_tells_has_no_column(names, shown):
    columns = [
        "mean_delta_age", "mean_volume_mm3", "share_stable", "stable", "q", "q_stable",
        "effect_size", "mean_delta_age_per_ml", "ci95_lower", "ci95_upper",
    ]  # fmt: skip
    rows = pd.DataFrame(0.5, index=range(3), columns=columns)
    rows = rows.assign(name=names, hemisphere=["L", "R", "B"], rank=[1, 2, 3], n_participants=9)
    heads = [column.title for column in region_table(rows, identifier="x").columns]
    assert ("Side" in heads) is shown
