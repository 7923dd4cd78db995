"""Wiring of scans with images of other modalities."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bidsapp_brainage.bids.collect import Companion, Scan
from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.interfaces.sinks import DerivativeSink
from bidsapp_brainage.settings import Processing
from bidsapp_brainage.workflows.base import examples
from bidsapp_brainage.workflows.plan import Explanation, RunPlan, _explanation
from bidsapp_brainage.workflows.precomputed import Precomputed
from bidsapp_brainage.workflows.scan import init_scan_wf
from tests.workflows.stand_ins import make_plan, make_scans

CHANNELS = [{"modality": "T1w"}, {"modality": "T2w"}]


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    """A model of T1w and T2w."""
    plan = make_plan(tmp_path)
    plan.card.input["channels"] = CHANNELS  # type: ignore[typeddict-item]
    return dataclasses.replace(plan, explanation=Explanation(n_inputs=2))


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """Its images; those of the T2w are the same empty file."""
    scan = make_scans(tmp_path)[0]
    other = Companion("T2w", scan.path, "sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz")
    return dataclasses.replace(scan, others=(other,))


def targets(workflow) -> set[str]:
    """Names of the files that sinks write."""
    nodes = (workflow.get_node(name) for name in workflow.list_node_names())
    sinks = (node.interface for node in nodes if isinstance(node.interface, DerivativeSink))
    return {path.name for sink in sinks for path in sink.targets}


def test_a_second_image_is_registered_and_shown_to_the_network(plan: RunPlan, scan: Scan) -> None:
    workflow = init_scan_wf(scan, plan, Precomputed())
    names = set(workflow.list_node_names())
    assert {"T2w_wf.rigid", "T2w_wf.resample", "prediction_wf.model_input_T2w"} <= names
    predict = workflow.get_node("prediction_wf.predict")
    assert predict.inputs.other_modalities == ["T2w"]
    assert workflow.get_node("explanation_wf.explain").inputs.other_modalities == ["T2w"]
    assert {
        "sub-01_ses-1_space-T1w_desc-preproc_T2w.nii.gz",
        "sub-01_ses-1_space-MNI152NLin2009aSym_res-2_desc-tinyinput_T2w.nii.gz",
        "sub-01_ses-1_from-T1w_to-T2w_mode-image_desc-rigid_xfm.txt",
        "sub-01_ses-1_desc-tiny_modalities.tsv",
    } <= targets(workflow)
    assert any(name.endswith("_occlusionmodalities.tsv") for name in targets(workflow))


def test_a_scan_without_it_is_wired_without_it(plan: RunPlan, scan: Scan) -> None:
    workflow = init_scan_wf(dataclasses.replace(scan, others=()), plan, Precomputed())
    assert not [name for name in workflow.list_node_names() if "T2w" in name]
    assert "sub-01_ses-1_desc-tiny_modalities.tsv" in targets(workflow)


def test_a_t2w_alone_is_turned_over_for_registration_and_mask(plan: RunPlan, scan: Scan) -> None:
    alone = dataclasses.replace(scan, others=(), modality="T2w")
    workflow = init_scan_wf(alone, plan, Precomputed())
    assert "invert" in workflow.list_node_names()
    assert workflow.get_node("prediction_wf.model_input").inputs.modality == "T2w"
    written = targets(workflow)
    assert "sub-01_ses-1_desc-preproc_T2w.nii.gz" in written
    assert "sub-01_ses-1_desc-preproc_T1w.nii.gz" not in written
    assert "invert" not in init_scan_wf(scan, plan, Precomputed()).list_node_names()


def test_the_methods_tell_of_every_kind_of_session(plan: RunPlan, scan: Scan) -> None:
    plain = dataclasses.replace(scan, others=())
    assert examples([plain, plain, scan], {}) == [plain, scan]
    text = init_scan_wf(scan, plan, Precomputed()).visit_desc()
    assert "The T2w image of the session" in text
    assert "The T2w" not in init_scan_wf(plain, plan, Precomputed()).visit_desc()
    alone = dataclasses.replace(plain, modality="T2w")
    text = init_scan_wf(alone, plan, Precomputed()).visit_desc()
    assert "T1w" not in text
    for words in ("The T2w image was brought to RAS", "turned over", "brain-masked T2w image"):
        assert words in text


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"explain": ("occlusion", "ig")}, "`explain` ig is for models of one image"),
        ({"occlusion_baseline": ("template",)}, "template is one image, and model tiny sees 2"),
    ],
)
def test_what_is_for_one_image_is_refused(
    plan: RunPlan, choices: dict[str, tuple[str, ...]], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        _explanation(Processing(**choices), plan.card)  # type: ignore[arg-type]
    assert _explanation(Processing(), plan.card).n_inputs == 2
