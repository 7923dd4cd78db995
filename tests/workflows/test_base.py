"""The graph that is built for every combination of options."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from nipype.pipeline.engine.utils import generate_expanded_graph

from bidsapp_brainage.bids.collect import Scan
from bidsapp_brainage.bids.dataset import APP_NAME
from bidsapp_brainage.bids.dictionaries import sidecar
from bidsapp_brainage.bids.names import derivative_path
from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.errors import MissingExecutableError, UsageError
from bidsapp_brainage.settings import Processing
from bidsapp_brainage.workflows.base import init_brainage_wf
from bidsapp_brainage.workflows.outputs import template_uri
from bidsapp_brainage.workflows.plan import Explanation, RunPlan, check_methods
from bidsapp_brainage.workflows.precomputed import Precomputed, collect_derivatives, completed
from bidsapp_brainage.workflows.scan import scan_workflow_name
from tests.workflows.stand_ins import kept_outputs, make_template

TEMPLATE = "MNI152NLin2009aSym"
FORWARD = {"from_": "T1w", "to": TEMPLATE, "mode": "image", "suffix": "xfm"}
INVERSE = {"from_": TEMPLATE, "to": "T1w", "mode": "image", "suffix": "xfm"}
DERIVATIVES = {
    "t1w": {"suffix": "T1w", "extension": ".nii.gz", "desc": "preproc"},
    "mask": {"suffix": "mask", "extension": ".nii.gz", "desc": "brain"},
    "forward": {**FORWARD, "extension": ".h5"},
    "inverse": {**INVERSE, "extension": ".h5"},
    "affine": {**FORWARD, "extension": ".txt", "desc": "affine"},
}


def node_names(workflow) -> list[str]:
    graph = generate_expanded_graph(workflow._create_flat_graph())
    return [node.fullname for node in graph.nodes()]


def kept_keys(workflow, part: str = "") -> set[str]:
    """Cards of all that is kept, or of what one part of a scan keeps."""
    outputs = kept_outputs(workflow).items()
    return {kept.key for name, kept in outputs if name.startswith(part)}


def without_explanation(plan: RunPlan) -> RunPlan:
    return dataclasses.replace(plan, atlas=None, atlas_table=None)


@pytest.mark.parametrize("skull_strip", ["auto", "skip", "force"])
@pytest.mark.parametrize("explain", [True, False])
@pytest.mark.parametrize("spaces", [(), ("MNI152NLin2009cAsym",)])
def test_graph_expands(plan, scans, tmp_path, skull_strip, explain, spaces) -> None:
    plan = dataclasses.replace(
        plan if explain else without_explanation(plan),
        skull_strip=skull_strip,
        extra_templates=tuple(make_template(tmp_path, name) for name in spaces),
    )
    names = node_names(init_brainage_wf(scans, plan))
    per_scan = [name for name in names if f".{scan_workflow_name(scans[0].label)}." in name]
    assert any(name.endswith(".predict") for name in per_scan)
    assert any(name.endswith(".explain") for name in per_scan) is explain
    warps = [name for name in per_scan if name.endswith(".warp")]
    assert len(warps) == 1 + len(spaces)
    assert len(names) == len(set(names))


def test_two_cohorts_of_one_template_have_names_of_their_own(plan, scans, tmp_path) -> None:
    template = make_template(tmp_path, "MNIInfant")
    cohorts = tuple(dataclasses.replace(template, cohort=cohort) for cohort in ("1", "2"))
    plan = dataclasses.replace(plan, extra_templates=cohorts)
    workflow = init_brainage_wf(scans, plan)
    outputs = kept_outputs(workflow).values()
    spaces = {kept.labels["space"] for kept in outputs if kept.key == "t1w_std"}
    assert spaces >= {"MNIInfant+1", "MNIInfant+2"}
    assert template_uri(cohorts[0]).startswith("bids:templateflow:tpl-MNIInfant/cohort-1/")


def test_a_network_without_distribution_writes_no_table_of_it(plan, scans) -> None:
    def kept(plan: RunPlan) -> set[str]:
        of_age = {"brainage", "agedist", "age_figure"}
        return kept_keys(init_brainage_wf(scans, plan)) & of_age

    assert kept(plan) == {"brainage", "agedist", "age_figure"}
    plan.card.has_age_distribution = False
    assert kept(plan) == {"brainage", "age_figure"}


@pytest.mark.parametrize(
    ("methods", "baselines", "agreement"),
    [
        (("occlusion",), ("background",), False),
        (("occlusion",), ("background", "template"), True),
        (("occlusion", "noise"), ("blur",), True),
        (("occlusion", "cubes", "curves", "lrp", "ig", "randomisation"), ("mean", "blur"), True),
    ],
)
def test_what_is_explained_is_kept(plan, scans, methods, baselines, agreement) -> None:
    chosen = Explanation(Processing(explain=methods, occlusion_baseline=baselines))
    workflow = init_brainage_wf(scans[:1], dataclasses.replace(plan, explanation=chosen))
    names = node_names(workflow)
    kept = kept_keys(workflow, "ds_explanation_wf.")
    last = {name.rsplit(".", 1)[-1] for name in names}
    assert {f"ds_{method}" for method in methods} | set(methods) <= last
    made = {output.key for method in methods for output in lookup.method(method).outputs}
    assert {"table", "baselines", "controls"} | made <= kept
    assert ("agreement" in kept) is ("agreement" in last) is agreement
    figures = {name.rsplit(".", 1)[-1] for name in names if ".reportlets_wf." in name}
    drawn = {card.key for card in lookup.method_outputs() if card.drawn}
    assert figures & drawn == made & drawn


def test_a_missing_library_is_found_before_any_image_is_touched(monkeypatch, plan) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExecutableError, match="ig"):
        check_methods(("occlusion", "ig"), plan.card)
    check_methods(("occlusion", "lrp", "noise", "randomisation"), plan.card)


def test_a_network_of_another_kind_is_found_before_any_image_is_touched(plan) -> None:
    with pytest.raises(UsageError, match="patches is for models of the architecture patches"):
        check_methods(("occlusion", "patches"), plan.card)
    other = SimpleNamespace(name="other", architecture={"id": "patches", "parameters": {}})
    check_methods(("patches",), other)


SEGMENTATION = {
    f"ds_segmentation_wf.ds_segmentation.{field}"
    for field in ("volumes", "dseg_table", "dseg", "probseg_gm", "probseg_wm", "probseg_csf")
}


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, SEGMENTATION),
        ({"segmentation_images": False}, {"ds_segmentation_wf.ds_segmentation.volumes"}),
        ({"segmentation": None}, set()),
    ],
)
def test_what_is_kept_of_the_segmentation(plan, scans, changes, kept) -> None:
    workflow = init_brainage_wf(scans[:1], dataclasses.replace(plan, **changes))
    names = {name.rpartition(".")[2] for name in node_names(workflow)}
    outputs = kept_outputs(workflow)
    assert {name for name in outputs if name.startswith("ds_segmentation_wf.")} == kept
    assert ("segment" in names) is bool(kept)
    assert ("@synthseg" in workflow.visit_desc()) is bool(kept)


@pytest.mark.parametrize("asks", [True, False])
def test_only_models_that_ask_for_it_wait_for_the_segmentation(plan, scans, asks) -> None:
    plan.card.input.update({"segmentation": "muse2mm"} if asks else {})
    workflow = init_brainage_wf(scans[:1], plan)
    graph = generate_expanded_graph(workflow._create_flat_graph())
    nodes = {".".join(node.fullname.split(".")[-2:]): node for node in graph.nodes()}
    segment = nodes["segmentation_wf.segment"]
    before = graph.predecessors(nodes["prediction_wf.model_input"])
    assert (segment in before) is asks
    # What the network sees and what explains it lie in the same place.
    chain = nodes["explanation_wf.chain"]
    assert (segment in graph.predecessors(chain)) is asks
    assert segment in graph.predecessors(nodes["prediction_wf.quality"])
    # All that explains it again is kept: the brain in it, and where it lies.
    kept = kept_keys(workflow, "ds_prediction_wf.")
    extra = {"input_regions", "input_affine"} if asks else {"input_mask"}
    assert kept & {"input_regions", "input_affine", "input_mask"} == extra


def test_sidecars_tell_which_choices_made_an_explanation(plan, scans) -> None:
    processing = Processing(explain=("cubes",), occlusion_baseline=("blur", "mean"), cube_mm=12.0)
    plan = dataclasses.replace(plan, explanation=Explanation(processing))
    workflow = init_brainage_wf(scans[:1], plan)
    outputs = {
        kept.key: kept
        for name, kept in kept_outputs(workflow).items()
        if name.startswith("ds_explanation_wf.") and kept.key != "labels_t1w"
    }
    told = {key: kept.metadata["Explanation"] for key, kept in outputs.items()}
    common = {
        "Baselines": ["blur", "mean"],
        "NullParcels": processing.null_parcels,
        "RandomSeed": processing.random_seed,
        "AtlasSHA256": plan.atlas.digest,
    }
    assert told["table"] == told["map_grid"] == told["map_t1w"]
    assert told["table"] == {"Method": "Occlusion", **common}
    assert told["cubes_map"] == {
        "Method": "Occlusion of cubes", "Options": {"cube_mm": 12.0}, **common,
    }  # fmt: skip
    assert told["agreement"]["Methods"] == ["Occlusion"]
    assert {kept.told for kept in outputs.values()} == {("predicted",)}
    graph = generate_expanded_graph(workflow._create_flat_graph())
    (predict,) = [node for node in graph.nodes() if node.name == "predict"]
    sinks = [node for node in graph.nodes() if ".ds_explanation_wf." in node.fullname]
    assert {node.name for node in sinks if predict not in graph.predecessors(node)} == {"ds_labels"}


def test_image_and_table_of_regions_share_one_sidecar(plan, scans) -> None:
    outputs = kept_outputs(init_brainage_wf(scans[:1], plan)).values()
    image, table = (
        next(kept for kept in outputs if kept.key == key) for key in ("dseg", "dseg_table")
    )
    assert image.metadata == sidecar("dseg", lookup.columns_of("dseg_table"), **table.metadata)


def test_no_warp_when_neither_mask_nor_labels_need_it(plan, scans, tmp_path) -> None:
    mask = tmp_path / "mask.nii.gz"
    mask.touch()
    given = {scans[0].label: Precomputed(mask=mask)}
    workflow = init_brainage_wf(scans[:1], without_explanation(plan), given)
    assert not [name for name in node_names(workflow) if name.endswith(".warp")]
    assert not kept_keys(workflow) & {"transform", "t1w_std"}


def test_each_scan_has_the_same_nodes(plan, scans) -> None:
    names = node_names(init_brainage_wf(scans, plan))
    counts = [
        sum(f".{scan_workflow_name(scan.label)}." in name for name in names) for scan in scans
    ]
    assert len(scans) == 4
    assert len(set(counts)) == 1


@pytest.mark.parametrize(
    "kinds", [c for n in range(6) for c in itertools.combinations(DERIVATIVES, n)]
)
def test_given_derivatives_are_not_computed(plan, scans, tmp_path, kinds) -> None:
    scan: Scan = scans[0]
    root = tmp_path / "derivatives"
    for kind in kinds:
        path = derivative_path(root, scan.entities, **DERIVATIVES[kind])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    given = collect_derivatives([("fmriprep", root)], scan.entities, TEMPLATE)
    names = node_names(init_brainage_wf([scan], plan, {scan.label: given}))
    stages = {name.rpartition(".")[2] for name in names}
    both = {"forward", "inverse"} <= set(kinds)
    of_fmriprep = both and "affine" not in kinds
    assert ("n4" in stages) is ("t1w" not in kinds or of_fmriprep)
    assert ("extract" in stages) is ("mask" not in kinds or of_fmriprep)
    assert ("given" in stages) is of_fmriprep
    assert ("affine" in stages) is ("affine" not in kinds)
    assert ("warp" in stages) is (not both or of_fmriprep)
    assert ("compare_given" in stages) is ("mask" in kinds or of_fmriprep)
    assert {"ds_t1w", "ds_mask", "ds_transforms", "ds_tables", "ds_occlusion"} <= stages


MEAN = "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz"
CASYM = "MNI152NLin2009cAsym"


def write_names(root: Path, *names: str, sources: int = 0) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if sources:
        told = {"RawSources": [f"bids:raw:{number}" for number in range(sources)]}
        (root / "sub-01/anat/sub-01_desc-brain_mask.json").write_text(json.dumps(told))
        (root / "sub-01/anat/sub-01_desc-brain_mask.nii.gz").touch()


def found(root: Path, *labels: tuple[str, str]) -> Precomputed:
    return collect_derivatives([("fmriprep", root)], (("sub", "01"), *labels), TEMPLATE)


def test_the_mean_of_runs_stands_for_each_of_them(tmp_path: Path) -> None:
    write_names(tmp_path, MEAN)
    given = found(tmp_path, ("run", "2"))
    assert given.t1w == tmp_path / MEAN
    assert given.uris(given.t1w, given.forward) == [f"bids:fmriprep:{MEAN}"]
    assert "they get the same age" in given.note


def test_labels_are_left_out_in_every_combination(tmp_path: Path) -> None:
    name = "sub-01/anat/sub-01_acq-mprage_desc-preproc_T1w.nii.gz"
    write_names(tmp_path, name, sources=1)
    (tmp_path / "sub-01/anat/sub-01_desc-brain_mask.json").rename(
        tmp_path / "sub-01/anat/sub-01_acq-mprage_desc-brain_mask.json"
    )
    (tmp_path / "sub-01/anat/sub-01_desc-brain_mask.nii.gz").rename(
        tmp_path / "sub-01/anat/sub-01_acq-mprage_desc-brain_mask.nii.gz"
    )
    given = found(tmp_path, ("ses", "1"), ("acq", "mprage"), ("run", "1"))
    assert given.t1w == tmp_path / name
    assert "the mean of" not in given.note, "there is one image only"


def test_sessions_keep_their_own_image(tmp_path: Path) -> None:
    """The mean of sessions would give the same age at all of them."""
    write_names(tmp_path, MEAN, sources=2)
    orig = "sub-01/ses-1/anat/sub-01_ses-1_from-orig_to-T1w_mode-image_xfm.txt"
    write_names(tmp_path, orig)
    own = found(tmp_path, ("ses", "1"))
    assert own.t1w is None
    assert own.orig == tmp_path / orig
    assert own.reference == tmp_path / MEAN
    assert own.mask is not None
    without = found(tmp_path, ("ses", "2"))
    assert not without.is_used
    assert MEAN.rpartition("/")[2] in without.note


def test_the_models_template_is_taken_before_fmripreps_own(tmp_path: Path) -> None:
    write_names(tmp_path, *transforms_to("MNIInfant+2"))
    assert found(tmp_path).template == "MNIInfant+2"
    write_names(tmp_path, *transforms_to(CASYM))
    assert found(tmp_path).template == CASYM
    write_names(tmp_path, transforms_to(TEMPLATE)[0])
    assert found(tmp_path).template == CASYM, "one direction is not enough"
    write_names(tmp_path, *transforms_to(TEMPLATE))
    assert found(tmp_path).template == TEMPLATE


def describe(root: Path, program: str) -> None:
    described = {"GeneratedBy": [{"Name": program, "Version": "24.1.1"}]}
    (root / "dataset_description.json").write_text(json.dumps(described))


def test_templates_are_looked_up_once(tmp_path: Path) -> None:
    pair = Path("a.h5")
    given = {
        name: Precomputed(forward=pair, inverse=pair, template=template, root=tmp_path)
        for name, template in (("x", CASYM), ("y", CASYM), ("z", "MNIInfant+2"), ("own", TEMPLATE))
    }
    template = make_template(tmp_path, CASYM)
    asked = []

    def find(name: str):
        asked.append(name)
        return template if name == CASYM else f"{name} is not here."

    done = completed(given, TEMPLATE, find, lambda _: ())
    assert sorted(asked) == [CASYM, "MNIInfant+2"]
    assert done["x"].own_template is done["y"].own_template is template
    assert done["own"].has_warp
    assert done["own"].own_template is None
    assert not done["z"].has_warp
    assert "MNIInfant+2 is not here." in done["z"].note


def transforms_to(name: str) -> list[str]:
    ends = (("T1w", name), (name, "T1w"))
    return [f"sub-01/anat/sub-01_from-{a}_to-{b}_mode-image_xfm.h5" for a, b in ends]


MASK = "sub-01/anat/sub-01_desc-brain_mask.nii.gz"
AFFINE = f"sub-01/anat/sub-01_from-T1w_to-{TEMPLATE}_mode-image_desc-affine_xfm.txt"


@pytest.mark.parametrize("transforms", [True, False])
def test_image_and_mask_of_a_program_are_never_taken_for_the_apps(tmp_path, transforms) -> None:
    """fMRIPrep writes no transforms with ``--output-spaces T1w``, or they were not downloaded."""
    write_names(tmp_path, MEAN, MASK, *(transforms_to(CASYM) if transforms else ()))
    describe(tmp_path, "fMRIPrep")
    given = found(tmp_path)
    assert given.t1w is given.mask is None
    assert given.compared_mask == tmp_path / MASK
    assert given.is_foreign is transforms
    assert given.software == "fMRIPrep 24.1.1"
    assert ("has no GeneratedBy" in given.note) is not transforms


@pytest.mark.parametrize("program", ["", "Manual"])
@pytest.mark.parametrize("affine", [True, False])
def test_a_chosen_image_and_mask_are_used_and_told(tmp_path: Path, program, affine) -> None:
    write_names(tmp_path, MEAN, MASK, *([AFFINE] if affine else []))
    if program:
        describe(tmp_path, program)
    given = found(tmp_path)
    assert (given.t1w, given.mask) == (tmp_path / MEAN, tmp_path / MASK)
    assert (given.affine is not None) is affine
    assert "do not mix the two" in given.note


def test_an_earlier_run_of_the_app_is_used_without_a_word(tmp_path: Path) -> None:
    write_names(tmp_path, MEAN, MASK, AFFINE, *transforms_to(TEMPLATE))
    describe(tmp_path, APP_NAME)
    given = found(tmp_path)
    assert given.t1w
    assert given.mask
    assert given.affine
    assert not given.is_foreign
    assert not given.note


def test_the_methods_text_tells_what_was_taken_over(plan, scans, tmp_path) -> None:
    path = tmp_path / "x.nii.gz"
    path.touch()
    given = Precomputed(
        compared_mask=path, forward=path, inverse=path, reference=path, template=CASYM,
        own_template=make_template(tmp_path, CASYM), software="fMRIPrep 24.1.1", root=tmp_path,
    )  # fmt: skip
    text = " ".join(init_brainage_wf(scans[:1], plan, {scans[0].label: given}).visit_desc().split())
    assert "to the template MNI152NLin2009cAsym that were computed before by *fMRIPrep" in text
    assert f"of that template to {TEMPLATE}, were used for images in the space" in text
    assert "A brain mask that was made before" not in text, "it is only compared"
    assert "initial poses" in text
    assert "@greedy" in text


def test_transforms_to_an_extra_space_are_not_computed_again(plan, scans, tmp_path) -> None:
    path = tmp_path / "x.nii.gz"
    path.touch()
    other = make_template(tmp_path, CASYM)
    given = Precomputed(
        forward=path, inverse=path, template=CASYM, pairs={CASYM: (path, path)},
        own_template=other, software="fMRIPrep 24.1.1", root=tmp_path, dataset="fmriprep",
    )  # fmt: skip
    plan = dataclasses.replace(plan, extra_templates=(other,))
    workflow = init_brainage_wf(scans[:1], plan, {scans[0].label: given})
    names = node_names(workflow)
    assert sum(name.endswith(".given") for name in names) == 2
    assert sum(name.endswith(".warp") for name in names) == 1, "the app's own, to the model's"
    text = " ".join(workflow.visit_desc().split())
    assert f"to the template {CASYM} that were computed before by *fMRIPrep 24.1.1*" in text
    outputs = kept_outputs(workflow).items()
    kept = next(kept for name, kept in outputs if f".{CASYM}_norm_ds_transforms." in name)
    assert "bids:fmriprep:x.nii.gz" in kept.metadata["Sources"]


def test_nothing_given(tmp_path: Path) -> None:
    given = collect_derivatives([("mine", tmp_path)], (("sub", "01"),), TEMPLATE)
    assert not given.has_warp
    assert given.uris(given.t1w) == []


def test_atlas_of_another_template_is_matched_once(plan, scans, tmp_path) -> None:
    other = make_template(tmp_path, "MNI152NLin6Asym")
    names = node_names(init_brainage_wf(scans, dataclasses.replace(plan, atlas_template=other)))
    assert sum(name.endswith(".match") for name in names) == 1


def test_gpu_nodes_take_one_slot(plan, scans) -> None:
    compute = dataclasses.replace(plan.compute, device="cuda:0", n_threads=4)
    workflow = init_brainage_wf(scans[:1], dataclasses.replace(plan, compute=compute))
    graph = generate_expanded_graph(workflow._create_flat_graph())
    gpu = [node for node in graph.nodes() if node.is_gpu_node()]
    assert sorted(node.name for node in gpu) == ["explain", "predict"]
    assert {node.n_procs for node in gpu} == {1}


def test_scans_are_spread_over_gpus(plan) -> None:
    compute = dataclasses.replace(plan.compute, device="cuda:1", n_gpus=2)
    devices = [compute.for_scan(place).device for place in range(3)]
    assert devices == ["cuda:1", "cuda:2", "cuda:1"]
    assert plan.compute.for_scan(3) == plan.compute


def test_device_and_threads_do_not_change_the_hash(plan, scans) -> None:
    def hashes(**changes) -> dict[str, str]:
        compute = dataclasses.replace(plan.compute, **changes)
        workflow = init_brainage_wf(scans[:1], dataclasses.replace(plan, compute=compute))
        nodes = generate_expanded_graph(workflow._create_flat_graph()).nodes()
        return {
            node.fullname: node.inputs.get_hashval("content")[1]
            for node in nodes
            if not node.name.startswith("ds_")
        }

    assert hashes() == hashes(device="cuda:0", n_threads=8, batch_size=32)


def test_methods_text(plan, scans) -> None:
    text = init_brainage_wf(scans, plan).visit_desc()
    assert text.count("[@n4]") == 1
    assert "tiny" in text
    assert "BrainageDemo" in text
    assert "BrainageDemo" not in init_brainage_wf(scans, without_explanation(plan)).visit_desc()
