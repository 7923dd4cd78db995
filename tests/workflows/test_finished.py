"""The graph that explains a finished prediction, and how it knows what is there already."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from nipype.pipeline.engine.utils import generate_expanded_graph

from bidsapp_brainage import io
from bidsapp_brainage.bids.collect import Scan
from bidsapp_brainage.bids.finished import FinishedScan
from bidsapp_brainage.bids.names import sidecar_path
from bidsapp_brainage.settings import Processing
from bidsapp_brainage.workflows.base import init_brainage_wf
from bidsapp_brainage.workflows.finished import (
    init_finished_wf,
    is_explained,
    kept_files,
    other_explanations,
)
from bidsapp_brainage.workflows.plan import Explanation, RunPlan

EVERYTHING = Processing(explain=("occlusion", "cubes", "noise"))


@pytest.fixture
def finished(scans: list[Scan], tmp_path: Path) -> FinishedScan:
    names = ("t1w", "volume", "mask", "affine", "inverse")
    files = {name: tmp_path / f"{name}.nii.gz" for name in names}
    for path in files.values():
        path.touch()
    return FinishedScan(scans[0], 48.17, "none", "none", **files)


def with_methods(plan: RunPlan, processing: Processing) -> RunPlan:
    return dataclasses.replace(plan, explanation=Explanation(processing))


def write_all(plan: RunPlan, finished: FinishedScan, age: float = 48.17) -> list[Path]:
    """What a run leaves, as far as it is looked at."""
    workflow = init_finished_wf(finished, plan, plan.atlas.dseg)  # type: ignore[union-attr]
    for name in workflow.list_node_names():
        if not name.rpartition(".")[2].startswith("ds_"):
            continue
        keeper = workflow.get_node(name).interface
        for path, kept in zip(keeper.targets, keeper.inputs.outputs.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            if kept.metadata:
                io.write_json(sidecar_path(path), {**kept.metadata, "PredictedAge": age})
    return kept_files(workflow)


def done(plan: RunPlan, finished: FinishedScan) -> bool:
    workflow = init_finished_wf(finished, plan, plan.atlas.dseg)  # type: ignore[union-attr]
    return is_explained(workflow, finished.predicted)


def test_it_explains_draws_and_keeps_as_a_full_run_does(plan, scans, finished) -> None:
    plan = with_methods(plan, EVERYTHING)
    workflow = init_finished_wf(finished, plan, plan.atlas.dseg)
    graph = generate_expanded_graph(workflow._create_flat_graph())
    names = {node.name: node for node in graph.nodes()}
    assert names["explain"].inputs.volume == str(finished.volume)
    assert names["explain"].inputs.mask == str(finished.mask)
    assert names["explain"].inputs.predicted == 48.17
    assert names["labels_to_t1w"].inputs.transforms == [str(finished.inverse)]
    assert "predict" not in names
    full = generate_expanded_graph(init_brainage_wf(scans[:1], plan)._create_flat_graph())
    parts = ("explanation_wf", "ds_explanation_wf", "map_figures_wf")
    wanted = {node.name for node in full.nodes() if node.fullname.split(".")[-2] in parts}
    assert set(names) == wanted
    kept = {node.name: node for node in full.nodes() if node.fullname.split(".")[-2] in parts}
    for name in (name for name in names if name.startswith("ds_")):
        assert names[name].interface.targets == kept[name].interface.targets
        for field, then in kept[name].inputs.outputs.items():
            given = {"BiasCorrection": "none"} if "BiasCorrection" in then.metadata else {}
            assert names[name].inputs.outputs[field].metadata == then.metadata | given
    assert names["ds_occlusion"].inputs.outputs["table"].metadata["BiasCorrection"] == "none"


def test_only_the_same_choices_of_the_same_prediction_are_there_already(plan, finished) -> None:
    assert not done(plan, finished)
    files = write_all(plan, finished)
    assert done(plan, finished)
    assert done(plan, dataclasses.replace(finished, predicted=48.1709))
    assert not done(plan, dataclasses.replace(finished, predicted=51.0))
    assert not done(with_methods(plan, Processing(null_parcels=7)), finished)
    assert not done(with_methods(plan, EVERYTHING), finished)
    other = dataclasses.replace(plan.atlas, table=plan.atlas.table.assign(name="another"))
    assert not done(dataclasses.replace(plan, atlas=other), finished)
    workflow = init_finished_wf(finished, plan, plan.atlas.dseg)
    for path in files:
        path.rename(path.with_name("hidden"))
        assert not is_explained(workflow, 48.17), path
        path.with_name("hidden").rename(path)


def test_what_other_choices_made_does_not_stay_beside(plan, finished) -> None:
    everything = with_methods(plan, EVERYTHING)
    write_all(everything, finished)
    same = with_methods(plan, Processing())
    assert other_explanations(finished, same) == []
    single = with_methods(plan, Processing(occlusion_baseline=("mean",)))
    others = {path.name.rpartition("_")[2] for path in other_explanations(finished, single)}
    assert others == {"noise.tsv", "noise.json", "agreement.tsv", "agreement.json"}
    for path in other_explanations(finished, single):
        path.unlink()
    assert other_explanations(finished, single) == []
