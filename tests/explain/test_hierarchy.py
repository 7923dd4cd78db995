"""Groups of regions, occluded in one run with the regions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain.engine.planning.regions import count
from bidsapp_brainage.explain.hierarchy import (
    COLUMNS,
    atlas_groups,
    compartments,
    group_patches,
    group_table,
)
from bidsapp_brainage.explain.occlusion import effects
from tests.explain.toy import EMPTY, ENGINES, FILL, make_toy


@pytest.fixture
def atlas():
    return pd.DataFrame(
        {
            "index": [1, 2, 3, 4, 5, 6],
            "name": list("abcdef"),
            "hemisphere": ["R", "L", "R", "L", "L", None],
            "lobe": [None] * 6,
            "network": ["Visual", "Default", None, "Visual", "Limbic", np.nan],
        }
    )


def test_groups_skip_missing_values_and_levels_without_values(atlas):
    found = [(group.level, group.name, group.indices) for group in atlas_groups(atlas)]
    assert found == [
        ("network", "Visual", (1, 4)),
        ("network", "Default", (2,)),
        ("network", "Limbic", (5,)),
        ("hemisphere", "R", (1, 3)),
        ("hemisphere", "L", (2, 4, 5)),
        ("compartment", "grey matter", (1, 2, 3, 4, 5, 6)),
    ]
    assert [group.level for group in atlas_groups(atlas[["index", "name"]])] == ["compartment"]
    given = atlas.assign(compartment="cortex", gyrus=["g"] * 3 + [None] * 3)
    last = atlas_groups(given)[-1]
    assert (last.name, last.indices) == ("cortex", (1, 2, 3, 4, 5, 6))
    assert ("gyrus", "g", (1, 2, 3)) in [(g.level, g.name, g.indices) for g in atlas_groups(given)]


def test_homologous_regions_form_pairs():
    table = pd.DataFrame(
        {
            "index": range(1, 9),
            "name": ["Left thalamus", "Right thalamus", "SFG_L_7_1", "SFG_R_7_1", "Brain stem",
                     "lh_V1", "rh_V2", "Left alone"],
            "hemisphere": ["L", "R", "L", "R", None, "L", "R", "L"],
        }
    )  # fmt: skip
    pairs = [group for group in atlas_groups(table) if group.level == "pair"]
    assert [(group.name, group.indices) for group in pairs] == [
        ("thalamus", (1, 2)),
        ("SFG 7_1", (3, 4)),
    ]


def test_compartments_come_from_lobe_and_name():
    table = pd.DataFrame(
        {
            "name": ["Left putamen", "Lateral ventricle", "x", "Corpus callosum", "Pons", "y"],
            "lobe": [None, None, "White matter", None, None, "Cerebellum"],
        }
    )
    assert compartments(table).tolist() == [
        *("grey matter", "fluid", "white matter"),
        *("white matter", "brainstem", "cerebellum"),
    ]


def test_patches_are_the_union_of_the_regions(atlas):
    toy = make_toy()
    groups = atlas_groups(atlas)
    for group, patch in zip(groups, group_patches(toy.labels, groups), strict=True):
        expected = np.isin(toy.labels, group.indices)
        if not expected.any():
            assert patch is None
            continue
        np.testing.assert_array_equal(patch.within((0, 0, 0), toy.labels.shape), expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_regions_and_groups_in_one_run(atlas, engine):
    toy = make_toy()
    groups = atlas_groups(atlas)
    patches = toy.patches + group_patches(toy.labels, groups)
    occluder = toy.occluder(engine, patches)
    sizes = [count(patch) for patch in patches]
    numbers = toy.indices + [0] * len(groups)
    both = effects(numbers, sizes, occluder.intact, occluder.occlude(FILL))
    single, grouped = both.iloc[:6], both.iloc[6:]
    table = group_table(groups, grouped, single, voxel_ml=0.008)
    assert tuple(table.columns) == COLUMNS
    for row, group in zip(table.itertuples(), groups, strict=True):
        members = [index - 1 for index in group.indices]
        if members == [EMPTY]:
            assert np.isnan([row.delta_age, row.sum_of_regions]).all()
            assert (row.n_regions, row.n_voxels) == (0, 0)
            continue
        assert row.delta_age == pytest.approx(toy.age(members) - toy.age(), abs=1e-9)
        singles = [toy.age([member]) - toy.age() for member in members]
        assert row.sum_of_regions == pytest.approx(sum(singles), abs=1e-9)
        assert row.n_regions == len([m for m in members if m != EMPTY])
        assert row.n_voxels == np.isin(toy.labels, group.indices).sum()
        assert row.volume_mm3 == pytest.approx(8 * row.n_voxels)


def test_effects_of_other_groups_are_refused(atlas):
    frame = pd.DataFrame({"index": [1], "delta_age": [0.0]})
    with pytest.raises(UsageError, match="6 groups"):
        group_table(atlas_groups(atlas), frame, frame, voxel_ml=1.0)
