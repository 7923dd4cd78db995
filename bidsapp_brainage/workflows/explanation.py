"""Which regions the prediction rests on: atlas labels in the subject, occlusion, maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.interfaces.atlas import MatchAtlas
from bidsapp_brainage.interfaces.explanation import Explain, Explained, PaintMap
from bidsapp_brainage.interfaces.images import Resample
from bidsapp_brainage.workflows.prediction import network_inputs

if TYPE_CHECKING:
    from bidsapp_brainage.atlas.registry import Atlas
    from bidsapp_brainage.bids.collect import Scan
    from bidsapp_brainage.workflows.plan import RunPlan


#: Field of the workflow -> that of the interface.
_EXPLAINED = {
    "volume": "volume",
    "volume_mask": "mask",
    "ood_flag": "ood_flag",
    "predicted": "predicted",
}
EXPLAIN_MEMORY_GB = 3.0


def init_atlas_wf(run_plan: RunPlan, atlas: Atlas, *, name: str) -> Workflow:
    """Bring the atlas to the model's template, once for all scans.

    Parameters
    ----------
    run_plan : RunPlan
        Where the atlas has another template, a warp between the two is fitted.
    atlas : Atlas
        Labels and names.
    name : str
        Name of the workflow.

    Outputs
    -------
    labels
        Atlas labels in the model's template.
    labels_grid
        The same on the network's grid.
    """
    workflow = Workflow(name=name)
    buffer = pe.Node(niu.IdentityInterface(fields=["labels"]), name="labels_buffer")
    outputnode = pe.Node(niu.IdentityInterface(fields=["labels", "labels_grid"]), name="outputnode")
    to_grid = pe.Node(
        Resample(
            reference=str(run_plan.grid),
            interpolation="nearest",
            standard=True,
            out_name="labels.nii.gz",
        ),
        name="to_grid",
    )
    template, atlas_template = run_plan.template, run_plan.atlas_template
    if atlas_template is None:
        buffer.inputs.labels = str(atlas.dseg)
    else:
        match = pe.Node(
            MatchAtlas(
                dseg=str(atlas.dseg),
                moving=str(atlas_template.t1w),
                moving_mask=str(atlas_template.mask),
                template=str(template.t1w),
                template_mask=str(template.mask),
                cache_dir=str(run_plan.work_dir / "shared"),
                sloppy=run_plan.sloppy,
                n_threads=run_plan.compute.n_threads,
            ),
            name="match",
            mem_gb=2.5,
            n_procs=run_plan.compute.n_threads,
        )
        workflow.connect(match, "out_file", buffer, "labels")
    workflow.connect([
        (buffer, outputnode, [("labels", "labels")]),
        (buffer, to_grid, [("labels", "in_file")]),
        (to_grid, outputnode, [("out_file", "labels_grid")]),
    ])  # fmt:skip
    return workflow


def init_explanation_wf(scan: Scan, run_plan: RunPlan) -> Workflow:
    """Explain the prediction of one scan by the regions of the atlas.

    Parameters
    ----------
    scan : Scan
        Whose age enters the published importance.
    run_plan : RunPlan
        Model, atlas, methods, and how they are run.

    Inputs
    ------
    labels
        Atlas labels in the model's template.
    t1w_preproc, affine, inverse, volume, volume_mask, ood_flag, predicted
        From the earlier workflows, or from what earlier runs have kept.

    Outputs
    -------
    labels_t1w
        Labels on the grid of the T1w.
    map_grid, map_t1w
        Change of the predicted age, on the network's grid and on the T1w's.
    and the keys of :attr:`.plan.Explanation.outputs`
        Tables and maps of the methods.
    """
    workflow = Workflow(name="explanation_wf")
    workflow.__desc__ = f"{_methods_text(run_plan)}\n"
    explanation = run_plan.explanation
    fields = ["labels", "t1w_preproc", "affine", "inverse", "others", *_EXPLAINED]
    inputnode = pe.Node(niu.IdentityInterface(fields=fields), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface(fields=list(explanation.fields)), name="outputnode")
    to_t1w, to_grid = _connect_labels(workflow, inputnode)
    explain = _explain_node(scan, run_plan)
    workflow.connect([
        (inputnode, explain, [*_EXPLAINED.items(), *_others(scan)]),
        (to_grid, explain, [("out_file", "labels")]),
        (to_t1w, outputnode, [("out_file", "labels_t1w")]),
    ])  # fmt:skip
    for method in explanation.methods:
        explained = pe.Node(
            Explained(method=method.key), name=method.key, run_without_submitting=True
        )
        kept = [(output.key, output.key) for output in method.outputs]
        workflow.connect(explain, method.key, explained, "record")
        workflow.connect([(explained, outputnode, kept)])
    for field, labels in (("map_grid", to_grid), ("map_t1w", to_t1w)):
        paint = pe.Node(PaintMap(), name=field, mem_gb=0.5)
        workflow.connect([
            (labels, paint, [("out_file", "labels")]),
            (workflow.get_node("occlusion"), paint, [("table", "table")]),
            (paint, outputnode, [("out_file", field)]),
        ])  # fmt: skip
    return workflow


def _others(scan: Scan) -> list[tuple[str, str]]:
    """Connection of the inputs of other modalities, where there are any."""
    return [("others", "others")] if scan.others else []


def _connect_labels(workflow: Workflow, inputnode: pe.Node) -> tuple[pe.Node, pe.Node]:
    """Nodes that bring the labels to the grids of the T1w and of the network."""
    to_t1w = pe.Node(
        Resample(interpolation="nearest", out_name="labels_t1w.nii.gz"),
        name="labels_to_t1w",
        mem_gb=1.0,
    )
    # A point of the network's grid goes through the affine to the T1w, and from there through the
    # inverse warp to the template, where the label is looked up: one interpolation.
    chain = pe.Node(niu.Merge(2), name="chain", run_without_submitting=True)
    to_grid = pe.Node(
        Resample(interpolation="nearest", standard=True, out_name="labels_grid.nii.gz"),
        name="labels_to_grid",
    )
    workflow.connect([
        (inputnode, to_t1w, [
            ("labels", "in_file"), ("t1w_preproc", "reference"), ("inverse", "transforms"),
        ]),
        (inputnode, chain, [("affine", "in1"), ("inverse", "in2")]),
        (inputnode, to_grid, [("labels", "in_file"), ("volume", "reference")]),
        (chain, to_grid, [("out", "transforms")]),
    ])  # fmt:skip
    return to_t1w, to_grid


def _explain_node(scan: Scan, run_plan: RunPlan) -> pe.Node:
    """The node that does the work of all methods."""
    compute, explanation, template = run_plan.compute, run_plan.explanation, run_plan.template
    processing = explanation.processing
    inputs = network_inputs(scan, run_plan) | {"atlas_table": str(run_plan.atlas_table)}
    if "template" in processing.occlusion_baseline:
        inputs |= {"template": str(template.t1w), "template_mask": str(template.mask)}
    interface = Explain(
        **inputs,
        baselines=list(processing.occlusion_baseline),
        null_parcels=processing.null_parcels,
        seed=processing.random_seed,
        batch_size=compute.batch_size or 0,
        methods=[method.key for method in explanation.methods],
        options=explanation.options,
    )
    return pe.Node(interface, name="explain", mem_gb=EXPLAIN_MEMORY_GB, n_procs=compute.n_procs)


def _methods_text(run_plan: RunPlan) -> str:
    """What the methods did, for the methods section."""
    explanation, processing = run_plan.explanation, run_plan.explanation.processing
    assert run_plan.atlas is not None
    first, *others = (lookup.baseline(key).text for key in processing.occlusion_baseline)
    facts = {
        **vars(processing),
        "atlas": run_plan.atlas.name,
        "baseline": first,
        "other_baselines": " and by ".join(others),
    }
    return " ".join(text for card in explanation.methods for text in card.sentences(facts))
