"""Ratings at the group level: who is left out, what that changes, how raters agree."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage.bids.ratings import stored_ratings
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.group import analyses
from bidsapp_brainage.group.analyses import Study, Summary, summarise
from bidsapp_brainage.group.collect import collect
from bidsapp_brainage.group.people import ParticipantColumns
from bidsapp_brainage.group.ratings import Ratings
from bidsapp_brainage.io import read_tsv, write_tsv
from tests.group.derivatives import write_derivatives

N_PEOPLE = 14


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(analyses, "N_BOOT", 49)
    monkeypatch.setattr(analyses, "N_PERMUTATIONS", 19)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two raters: sub-01 is bad to both, sub-02 poor, sub-03 they differ, three good, eight not."""
    root = write_derivatives(tmp_path_factory.mktemp("group"), n_participants=N_PEOPLE)
    ann = {"01": 1, "02": 2, "03": 4, "04": 3, "05": 4, "06": 4}
    ben = {"01": 1, "02": 3, "03": 1, "04": 3, "05": 4, "99": 1}
    for rater, grades in (("Ann", ann), ("Ben", ben)):
        rows = [{"scan": f"sub-{n}", "rater": rater, "rating": g} for n, g in grades.items()]
        seen = pd.DataFrame(rows).assign(head_motion=[g == 1 for g in grades.values()], notes="x")
        write_tsv(root / "ratings" / f"{rater}.tsv", seen)
    return root


def summary(root, minimum: int = 1, columns: ParticipantColumns | None = None) -> Summary:
    people = read_tsv(root / "participants.tsv").assign(group=["A", "B"] * (N_PEOPLE // 2))
    study = Study(columns or ParticipantColumns(), ratings=Ratings(stored_ratings(root), minimum))
    return summarise(collect(root).models[0], people, study, seed=1)


def test_nobody_is_left_out_unless_that_is_asked_for(root):
    tables = summary(root).tables
    brainage = tables["group_brainage"].set_index("scan")
    assert len(brainage) == N_PEOPLE
    assert brainage["rating"].dropna().to_dict() == {
        **{"sub-01": 1, "sub-02": 2, "sub-03": 1},
        **{"sub-04": 3, "sub-05": 4, "sub-06": 4},
    }
    assert brainage["n_raters"].sum() == 11
    assert list(tables["group_brainage"].columns) == [
        name for name in columns_of("group_brainage") if name in brainage or name == "scan"
    ]
    assert not tables["exclusions"]["reason"].str.contains("rated").any()
    assert not tables["scanratings"]["left_out"].any()


@pytest.mark.parametrize(("minimum", "left_out"), [(2, {"01", "03"}), (3, {"01", "02", "03"})])
def test_scans_rated_lower_are_in_no_result(root, minimum, left_out):
    found = summary(root, minimum)
    gone = {f"sub-{label}" for label in left_out}
    everybody = {f"sub-{n:02d}" for n in range(1, N_PEOPLE + 1)}
    (atlas,) = found.model.atlases
    for frame in (found.model.brainage, found.model.qc, atlas.table, atlas.groups):
        assert set(frame["scan"]) == everybody - gone
    assert set(atlas.maps) == everybody - gone
    assert set(found.tables["group_brainage"]["scan"]) == everybody - gone
    excluded = found.tables["exclusions"]
    rated = excluded[excluded["left_out_of"] == "everything"]
    assert set(rated["scan"]) == gone
    assert rated["reason"].iloc[0] == f"rated 1 by Ann, Ben, below {minimum}"
    ratings = found.tables["scanratings"].set_index("scan")
    assert set(ratings.index[ratings["left_out"]]) == gone
    assert "sub-99" not in ratings.index
    (told,) = (note.sentence for note in found.notes if "Rated below" in note.sentence)
    assert all(scan in told for scan in gone)


def test_results_with_and_without_stand_side_by_side(root):
    """What the sensitivity says of another minimum is what choosing that minimum gives."""
    columns = ParticipantColumns(group="group", reference="A")
    found = {n: summary(root, n, columns) for n in (1, 2, 3)}
    for chosen, other in ((1, 2), (2, 1), (2, 3)):
        rows = found[chosen].tables["sensitivity"].query(f"analysis == 'min_rating={other}'")
        rows = rows.set_index("measure")
        assert {"mae", "mean_gap", "coverage95", "gapmodel=group_B", "spearman"} <= set(rows.index)
        metrics = found[other].tables["metrics"].query("subset == 'all' and prediction == 'raw'")
        expected = metrics.set_index("metric")["value"]
        np.testing.assert_allclose(rows.loc[expected.index, "value"], expected)
        terms = found[other].tables["gapmodel"].set_index("term")["estimate"]
        assert rows.loc["gapmodel=group_B", "value"] == pytest.approx(terms["group_B"])
        main = found[chosen].tables["gapmodel"].set_index("term")["estimate"]
        difference = terms["group_B"] - main["group_B"]
        assert rows.loc["gapmodel=group_B", "difference"] == pytest.approx(difference)
        assert rows.loc["spearman", "atlas"] == "Blocks 12"
        assert rows.loc["mae", "n_participants"] == {1: 14, 2: 12, 3: 11}[other]


def test_a_minimum_that_changes_nothing_is_not_told(root):
    analysed = set(summary(root, 3).tables["sensitivity"]["analysis"])
    assert {"min_rating=1", "min_rating=2"} <= analysed
    assert not {"min_rating=3", "min_rating=4"} & analysed


def test_all_left_out_is_an_error_with_a_remedy_only_where_that_was_chosen(root):
    scans = [f"sub-{n:02d}" for n in range(1, N_PEOPLE + 1)]
    table = stored_ratings(root).iloc[:1].reindex([0] * N_PEOPLE).assign(scan=scans, rating=1)
    with pytest.raises(NoInputError, match="below `min_rating`: give a lower one"):
        summarise(collect(root).models[0], pd.DataFrame(), Study(ratings=Ratings(table, 2)), seed=1)


def test_raters_are_compared_in_pairs(root):
    found = summary(root)
    table = found.tables["rateragreement"]
    assert list(table.columns) == columns_of("rateragreement")
    assert set(zip(table["rater_a"], table["rater_b"], strict=True)) == {("Ann", "Ben")}
    rows = table.set_index(["item", "weights"])
    assert list(rows.loc["rating"].index) == ["quadratic", "linear", "none"]
    plain = rows.loc[("rating", "none")]
    assert plain["n_scans"] == 5
    assert plain["agreement"] == pytest.approx(3 / 5)
    # Ann: 1 2 4 3 4, Ben: 1 3 1 3 4; by chance (1*2 + 1*0 + 1*2 + 2*1) / 25
    assert plain["kappa"] == pytest.approx((0.6 - 6 / 25) / (1 - 6 / 25))
    assert rows.loc[("exclude", "none"), "agreement"] == pytest.approx(4 / 5)
    assert "mask" not in table["item"].to_numpy()  # nobody looked
    assert any("look together at sub-03" in note.sentence for note in found.notes)


def test_without_ratings_there_is_nothing_of_them(root, tmp_path):
    write_derivatives(tmp_path, n_participants=3)
    found = summarise(collect(tmp_path).models[0], pd.DataFrame(), seed=1)
    assert not {"scanratings", "rateragreement"} & set(found.tables)
    assert "rating" not in found.tables["group_brainage"]
    one = stored_ratings(root).query("rater == 'Ann'")
    rated = summarise(collect(root).models[0], pd.DataFrame(), Study(ratings=Ratings(one)), seed=1)
    assert "rateragreement" not in rated.tables
