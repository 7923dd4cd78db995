"""A finished prediction explained again, from what earlier runs have kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from bidsapp_brainage import io
from bidsapp_brainage.bids.names import Destination, output_path, sidecar_path
from bidsapp_brainage.catalogue.methods import METHODS
from bidsapp_brainage.catalogue.quantity import Quantity
from bidsapp_brainage.interfaces.explanation import AGE_TOLERANCE
from bidsapp_brainage.interfaces.sinks import DerivativeSink
from bidsapp_brainage.workflows.explanation import init_explanation_wf
from bidsapp_brainage.workflows.outputs import init_ds_explanation_wf
from bidsapp_brainage.workflows.plan import WORKFLOW_NAME
from bidsapp_brainage.workflows.reportlets import REGIONS, init_map_figures_wf
from bidsapp_brainage.workflows.scan import scan_workflow_name

if TYPE_CHECKING:
    from bidsapp_brainage.bids.finished import FinishedScan
    from bidsapp_brainage.workflows.plan import RunPlan

_SCRATCH = "explain_only"
#: Facts of a sidecar that an explanation depends on.
_MADE_BY = ("Model", "Software", "Explanation")
#: The same for explanations that may lie side by side.
_CHOICES = ("Baselines", "NullParcels", "RandomSeed", "AtlasSHA256")


def init_finished_wf(finished: FinishedScan, run_plan: RunPlan, labels: Path) -> Workflow:
    """Wire the explanation of a finished prediction, its outputs and its figures.

    Parameters
    ----------
    finished : FinishedScan
        The prediction, and the files that it is explained from.
    run_plan : RunPlan
        Model, atlas, methods, and how they are run.
    labels : Path
        Atlas labels in the model's template.

    Returns
    -------
    LiterateWorkflow
        With one sub-workflow, named as that of the scan in a full run.
    """
    scan = finished.scan
    run_plan = replace(run_plan, bias_correction=finished.bias_correction)
    dest = Destination(run_plan.output_dir, scan.entities, modality=scan.modality)
    explanation = init_explanation_wf(scan, run_plan)
    keep = init_ds_explanation_wf(dest, run_plan)
    drawn = [output for output in run_plan.explanation.outputs if output.drawn]
    figures = init_map_figures_wf(dest, run_plan, drawn)
    known = {"predicted": finished.predicted, "ood_flag": finished.ood_flag}
    images = {
        "labels": labels,
        "t1w_preproc": finished.t1w,
        "affine": finished.affine,
        "inverse": finished.inverse,
        "volume": finished.volume,
        "volume_mask": finished.mask,
    }
    values = known | {name: str(path) for name, path in images.items()}
    if scan.others:
        explanation.get_node("inputnode").inputs.others = [str(each.path) for each in scan.others]
    for part in (explanation, keep, figures):
        inputs = part.get_node("inputnode").inputs
        for name in values.keys() & inputs.get().keys():
            setattr(inputs, name, values[name])
    made = [(f"outputnode.{name}", f"inputnode.{name}") for name in run_plan.explanation.fields]
    shown = {*REGIONS, *(output.key for output in drawn)}
    scan_wf = Workflow(name=scan_workflow_name(scan.label))
    scan_wf.connect([
        (explanation, keep, made),
        (explanation, figures, [pair for pair in made if pair[0].split(".")[1] in shown]),
    ])  # fmt:skip
    workflow = Workflow(name=WORKFLOW_NAME, base_dir=str(run_plan.work_dir / _SCRATCH))
    workflow.add_nodes([scan_wf])
    return workflow


def scratch_of(workflow: Workflow, scan_label: str) -> Path:
    """Folder of the nodes of a scan in the workflow of :func:`init_finished_wf`."""
    return Path(workflow.base_dir) / workflow.name / scan_workflow_name(scan_label)


def kept_files(workflow: Workflow) -> list[Path]:
    """What the workflow of :func:`init_finished_wf` writes, without sidecars."""
    return [path for sink in _sinks(workflow) for path in sink.targets]


def drawn_files(workflow: Workflow) -> list[Path]:
    """The figures among them, which have no sidecar to say of which explanation they are."""
    return [path for path in kept_files(workflow) if path.suffix == ".svg"]


def is_explained(workflow: Workflow, predicted: float) -> bool:
    """Whether all of it is there already, by the same choices, of the same prediction."""
    return all(
        sink.is_kept(_MADE_BY) and all(_explains(path, predicted) for path in sink.targets)
        for sink in _sinks(workflow)
    )


def _sinks(workflow: Workflow) -> Iterator[DerivativeSink]:
    nodes = (workflow.get_node(name) for name in workflow.list_node_names())
    yield from (node.interface for node in nodes if isinstance(node.interface, DerivativeSink))


def _explains(path: Path, predicted: float) -> bool:
    """Whether a file is about this prediction, or about none."""
    facts: Any = io.read_json(sidecar_path(path))
    told = facts.get(Quantity.from_model(facts.get("Model")).fact, predicted)
    return isinstance(told, (int, float)) and abs(told - predicted) <= AGE_TOLERANCE


def other_explanations(finished: FinishedScan, run_plan: RunPlan) -> list[Path]:
    """Tables with the same model and atlas that other choices made, and this run does not make.

    Beside what this run makes they would contradict it: with other baselines, or other regions.
    """
    made = {output.key for output in run_plan.explanation.outputs}
    labels = {"space": run_plan.template.name, **run_plan.atlas_entities}
    present = run_plan.explained(run_plan.explanation.methods[0])["Explanation"]
    others = []
    for method in METHODS:
        for output in method.outputs:
            if output.key in made or not output.is_table:
                continue
            path = output_path(
                run_plan.output_dir, output.key, finished.scan.entities,
                model=run_plan.model_label, **labels,
            )  # fmt: skip
            told: Any = io.read_json(sidecar_path(path)).get("Explanation") or {}
            if path.is_file() and any(told.get(name) != present[name] for name in _CHOICES):
                others += [path, sidecar_path(path)]
    return others
