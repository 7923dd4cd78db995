"""Methods sections to copy."""

from __future__ import annotations

import itertools

import pytest

from bidsapp_brainage.bids.citation import bibliography, cited_keys
from bidsapp_brainage.reports.methods_text import group_methods, methods_forms

CHOICES = list(itertools.product([True, False], repeat=3))


@pytest.mark.parametrize(("calibrated", "contributions", "ratings"), CHOICES)
def test_methods_of_a_group_cite_what_bibtex_has(calibrated, contributions, ratings):
    text = group_methods(
        n_boot=123, calibrated=calibrated, contributions=contributions, ratings=ratings
    )
    forms = methods_forms(text)
    keys = cited_keys(text)
    assert text.count("@") == len(keys)  # every citation is known
    assert forms["bib"].count("doi = ") >= len(keys) - 2 - ratings
    for key in keys:
        assert f"{{{key},\n" in forms["bib"]
        assert key in forms["tex"]
        assert bibliography()[key].long in forms["md"]
    assert "[@" not in forms["html"]
    assert "[@" not in forms["md"]
    assert "123 resamples" in forms["html"]
    assert ("calibrated for their site" in text) is calibrated
    assert ("t tests" in text) is contributions
    assert ("Cohen's kappa" in text) is ratings


def test_latex_of_a_group_compiles_without_further_packages():
    text = group_methods(n_boot=9, calibrated=True, contributions=True)
    assert methods_forms(text)["tex"].isascii()
