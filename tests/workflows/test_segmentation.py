"""Which segmentation a run uses, and what is said when there is none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.segmentation.card import EMBEDDED
from bidsapp_brainage.workflows.plan import find_run_segmentation


def card(template: str, **stated: str) -> SimpleNamespace:
    spec = {"template": template, "intensity": {"scaling": "tissue"}, **stated}
    return SimpleNamespace(name="mine", input=spec)


@pytest.mark.parametrize("template", ["MNI152NLin2009aSym", "MNI152NLin6Asym"])
def test_every_model_of_an_mni_template_has_the_embedded_one(template) -> None:
    found = find_run_segmentation(card(template))
    assert found is not None
    assert found.name == EMBEDDED


def test_other_templates_go_without(caplog) -> None:
    assert find_run_segmentation(card("UNCInfant")) is None
    assert "No segmentation" in caplog.text


def test_a_model_that_needs_one_is_refused_on_another_template() -> None:
    with pytest.raises(ResourceError, match=r"mine.*not UNCInfant.*input\.template"):
        find_run_segmentation(card("UNCInfant", segmentation="muse2mm"))


def test_a_segmentation_that_is_not_installed() -> None:
    wanted = card("MNI152NLin6Asym", segmentation="muse9mm")
    with pytest.raises(ResourceError, match=r"'muse9mm' is missing.*muse2mm.*Install"):
        find_run_segmentation(wanted)
