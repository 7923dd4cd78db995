"""Words for the codes of tables."""

from __future__ import annotations

import pytest

from bidsapp_brainage.catalogue.lookup import output
from bidsapp_brainage.group.sample import QC_METRICS
from bidsapp_brainage.reports.codes import measure_title, part_title, term_title, unit_title


def _levels(table, name):
    return next(column.levels for column in output(table).columns if column.name == name)


@pytest.mark.parametrize(("table", "column"), [("metrics", "metric"), ("stability", "measure")])
def test_every_measure_of_the_catalogue_has_words(table, column):
    for code in _levels(table, column):
        assert measure_title(code) != code


def test_every_measure_of_image_quality_has_words():
    for code in QC_METRICS:
        assert "_" not in measure_title(code)
        assert measure_title(code) != code


def test_codes_are_not_shown():
    assert measure_title("spearman_abs_per_ml") == "Rank correlation of sizes per mL"
    assert measure_title("gap_site") == "Gap, calibrated"
    assert part_title("baseline=closed") == "regions replaced by: nearest surroundings"
    assert part_title("sex=F") == "sex F"
    assert term_title("age_squared") == "age squared (decades²)"
    assert unit_title("1") == ""
    assert unit_title("year/decade") == "years per decade"
