"""Verdicts about contributions in plain words."""

from __future__ import annotations

import pytest

from bidsapp_brainage.reports import wording
from bidsapp_brainage.stats.regional.signs import Verdict


def said(*agreement, baselines=("background", "blur"), strongest=1, **counts):
    every = dict.fromkeys(("stable", "opposite", "uncertain", "negligible"), 0) | counts
    return wording.contributions(Verdict(baselines, every, strongest, strongest, agreement))


@pytest.mark.parametrize(
    ("counts", "title"),
    [
        ({"stable": 20}, "The sign of all 20 leading regions that have one holds whatever "
         "replaces them."),
        ({"stable": 15, "negligible": 5}, "The sign of all 20 leading regions that have one "
         "holds whatever replaces them."),
        ({"negligible": 20}, "The contributions of the 20 leading regions are too small to have "
         "a sign."),
        ({"stable": 6, "opposite": 14}, "The sign of 14 of the 20 leading regions depends on what "
         "replaces them."),
        ({"stable": 6, "uncertain": 14}, "The sign of 14 of the 20 leading regions is uncertain."),
        ({"stable": 6, "opposite": 4, "uncertain": 10}, "The sign of 4 of the 20 leading regions "
         "depends on what replaces them; that of 10 is uncertain."),
    ],
)  # fmt: skip
def test_one_line_says_what_does_not_hold(counts, title):
    (notice,) = said(**counts)
    assert notice.title == title
    doubts = counts.get("opposite", 0) + counts.get("uncertain", 0)
    assert notice.level == ("warn" if doubts else "ok")
    assert bool(notice.remedy) == bool(doubts)
    assert f"What holds: the sign of {counts.get('stable', 0)} of the 20" in notice.text
    assert "is the same with background and blurred brain" in notice.text


def test_an_order_that_hardly_agrees_is_a_doubt_of_its_own():
    (notice,) = said(("occlusion_blur", -0.05), ("lrp", 0.9), stable=20)
    assert notice.title == (
        "The order of regions hardly agrees (rank correlation \N{MINUS SIGN}0.05)."
    )
    assert "Occlusion (blurred brain) \N{MINUS SIGN}0.05, Layer-wise" in notice.text
    (notice,) = said(("occlusion_blur", 0.6), stable=20)
    assert notice.level == "ok"


def test_with_one_baseline_or_without_contributions_there_is_no_such_claim():
    (notice,) = said(baselines=("mean",))
    assert "is not known" in notice.title
    assert "in one way only (mean around)" in notice.text
    assert said(strongest=None) == []


@pytest.mark.parametrize(
    ("label", "title"),
    [
        ("OpercularPartInferiorFrontalGyrus_L", "Left opercular part inferior frontal gyrus"),
        ("CerebellarVermalLobules_1to5", "Cerebellar vermal lobules 1to5"),
        ("VentralDC_R", "Right ventral DC"),
        ("Left-Thalamus-Proper", "Left-Thalamus-Proper"),
        ("L", "L"),
        ("", ""),
    ],
)
def test_labels_of_a_segmentation_in_words(label, title):
    assert wording.label_title(label) == title
