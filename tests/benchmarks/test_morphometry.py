"""Models of regional morphometry compared, on a small table."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from benchmarks import morphometry
from tests.morphometry.people import write_table


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the command prints about the small table."""
    import contextlib
    import io

    path = write_table(tmp_path_factory.mktemp("table") / "people.tsv")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert morphometry.main([str(path), "--parts", "2"]) == 0
    return path, out.getvalue()


def test_every_candidate_has_a_row_and_models_beat_the_mean_age(printed):
    rows = [line.strip("| ").split(" | ") for line in printed[1].splitlines() if "|" in line]
    errors = {row[0]: float(row[2]) for row in rows if re.match("mean|ridge|boost|coV|the", row[0])}
    assert len(errors) == 12
    assert errors["ridge"] < errors["mean age"] / 2
    assert errors["coVariance network, thickness of 68 regions, asked on 12 lobes"] > 0


def test_errors_of_the_ridge_regression_stand_by_age(printed):
    ages = printed[1].split("| age from")[1].splitlines()[2:]
    assert sum(int(line.split("|")[2]) for line in ages) == 120


def test_lobes_have_the_mean_thickness_of_their_regions_by_area(printed):
    people = morphometry.read_people(printed[0], "dataset")
    thickness = people.seeing(morphometry._kind(people, "thickness"))
    lobes = morphometry._lobes(thickness, printed[0])
    assert lobes.x.shape == (120, 12)
    table = pd.read_csv(printed[0], sep="\t")
    own = [f"rh_{name}" for name in morphometry.LOBES["cingulate"].split()]
    weights = table[[f"{name}_area" for name in own]].iloc[5]
    expected = np.average(table[[f"{name}_thickness" for name in own]].iloc[5], weights=weights)
    place = [feature.name for feature in lobes.features].index("rh_cingulate_thickness")
    assert lobes.x[5, place] == pytest.approx(expected)


def test_the_lobes_are_of_all_regions(printed):
    people = morphometry.read_people(printed[0], "dataset")
    regions = {f.name.split("_")[1] for f in people.features if f.kind == "thickness"}
    assert sorted(" ".join(morphometry.LOBES.values()).split()) == sorted(regions)
