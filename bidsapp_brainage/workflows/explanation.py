"""Which regions the prediction rests on: atlas labels in the subject, occlusion, maps."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype.interfaces import utility as niu
from nipype.interfaces.base import BaseInterface
from nipype.pipeline import engine as pe
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from bidsapp_brainage.interfaces.atlas import MatchAtlas
from bidsapp_brainage.interfaces.images import Resample
from bidsapp_brainage.interfaces.occlusion import (
    Agree,
    Attribute,
    Curves,
    Occlude,
    OccludeCubes,
    PaintMap,
    Pairs,
    Randomise,
    Shapley,
)
from bidsapp_brainage.workflows.prediction import network_inputs

if TYPE_CHECKING:
    from bidsapp_brainage.atlas.registry import Atlas
    from bidsapp_brainage.atlas.templates import TemplateFiles
    from bidsapp_brainage.bids.collect import Scan
    from bidsapp_brainage.model.cards import ModelCard
    from bidsapp_brainage.workflows.plan import Compute, Explanation

_FILL_TEXT = {
    "background": "the background value of the image",
    "mean": "the mean intensity around the region",
    "blur": "a heavily smoothed copy of the image",
    "template": "the template's intensities at the same place",
}


def init_atlas_wf(
    atlas: Atlas,
    template: TemplateFiles,
    grid: Path,
    *,
    atlas_template: TemplateFiles | None,
    cache_dir: Path,
    sloppy: bool = False,
    n_threads: int = 1,
    name: str = "atlas_wf",
) -> Workflow:
    """Bring the atlas to the model's template, once for all scans.

    Parameters
    ----------
    atlas : Atlas
        Labels and names.
    template : TemplateFiles
        The model's template.
    grid : Path
        Image on the network's grid.
    atlas_template : TemplateFiles or None
        Template of the atlas, if it is another one; then a warp between the templates is fitted.
    cache_dir : Path
        Folder for the warped atlas, shared by all runs.
    sloppy, n_threads
        As for the registration of a scan.
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
            reference=str(grid), interpolation="nearest", standard=True, out_name="labels.nii.gz"
        ),
        name="to_grid",
    )
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
                cache_dir=str(cache_dir),
                sloppy=sloppy,
                n_threads=n_threads,
            ),
            name="match",
            mem_gb=2.5,
            n_procs=n_threads,
        )
        workflow.connect(match, "out_file", buffer, "labels")
    workflow.connect([
        (buffer, outputnode, [("labels", "labels")]),
        (buffer, to_grid, [("labels", "in_file")]),
        (to_grid, outputnode, [("out_file", "labels_grid")]),
    ])  # fmt:skip
    return workflow


def init_explanation_wf(  # noqa: PLR0913 - an explanation needs model, regions and method
    scan: Scan,
    card: ModelCard,
    card_path: Path,
    atlas: Atlas,
    atlas_table: Path,
    *,
    compute: Compute,
    explanation: Explanation,
    template: TemplateFiles,
    name: str = "explanation_wf",
) -> Workflow:
    """Occlude every region of the atlas in one scan.

    Parameters
    ----------
    scan : Scan
        Whose age enters the published importance.
    card, card_path : ModelCard, Path
        The model.
    atlas, atlas_table : Atlas, Path
        The regions and their names.
    compute : Compute
        Device, batch size and threads.
    explanation : Explanation
        Methods and their parameters.
    template : TemplateFiles
        The model's template, for the baseline of this name.
    name : str
        Name of the workflow.

    Inputs
    ------
    labels
        Atlas labels in the model's template.
    t1w_preproc, affine, inverse, volume, volume_mask, ood_flag
        From the earlier workflows.

    Outputs
    -------
    labels_t1w
        Labels on the grid of the T1w.
    table
        One row per region.
    map_grid, map_t1w
        Change of the predicted age, on the network's grid and on the T1w's.
    and those named by :attr:`.plan.Explanation.tables` and :attr:`.plan.Explanation.maps`
        Further tables and maps.
    """
    workflow = Workflow(name=name)
    workflow.__desc__ = f"""\
Each region of the atlas {atlas.name} was brought to the T1w image by the inverse of the nonlinear
registration and replaced, one at a time, by {_FILL_TEXT[explanation.baselines[0]]}; the signed
change of the predicted age is the region's contribution (occlusion [@occlusion]; network occlusion
sensitivity analysis [@nosa]).{_method_text(explanation)}
"""
    inputnode = pe.Node(
        niu.IdentityInterface(
            fields=[
                *("labels", "t1w_preproc", "affine", "inverse"),
                *("volume", "volume_mask", "ood_flag"),
            ]
        ),
        name="inputnode",
    )
    outputnode = pe.Node(
        niu.IdentityInterface(
            fields=[
                *("labels_t1w", "table", "map_grid", "map_t1w"),
                *(*explanation.tables, *explanation.maps),
            ]
        ),
        name="outputnode",
    )
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
    common = {
        **network_inputs(card, card_path, scan, compute),
        "atlas_table": str(atlas_table),
        "baselines": list(explanation.baselines),
        "batch_size": compute.batch_size or 0,
        "seed": explanation.seed,
    }
    if "template" in explanation.baselines:
        common |= {"template": str(template.t1w), "template_mask": str(template.mask)}
    resources = {"mem_gb": 3.0, "n_procs": 1 if compute.use_gpu else compute.n_threads}
    occlude = pe.Node(
        Occlude(**common, null_parcels=explanation.null_parcels), name="occlude", **resources
    )
    map_grid = pe.Node(PaintMap(), name="map_grid")
    map_t1w = pe.Node(PaintMap(), name="map_t1w", mem_gb=0.5)
    workflow.connect([
        (inputnode, to_t1w, [
            ("labels", "in_file"), ("t1w_preproc", "reference"), ("inverse", "transforms"),
        ]),
        (inputnode, chain, [("affine", "in1"), ("inverse", "in2")]),
        (inputnode, to_grid, [("labels", "in_file"), ("volume", "reference")]),
        (chain, to_grid, [("out", "transforms")]),
        (inputnode, occlude, [
            ("volume", "volume"), ("volume_mask", "mask"), ("ood_flag", "ood_flag"),
        ]),
        (to_grid, occlude, [("out_file", "labels")]),
        (to_grid, map_grid, [("out_file", "labels")]),
        (to_t1w, map_t1w, [("out_file", "labels")]),
        (occlude, map_grid, [("table", "table")]),
        (occlude, map_t1w, [("table", "table")]),
        (to_t1w, outputnode, [("out_file", "labels_t1w")]),
        (occlude, outputnode, [
            (field, field) for field in ("table", "groups", "baselines", "controls")
        ]),
        (map_grid, outputnode, [("out_file", "map_grid")]),
        (map_t1w, outputnode, [("out_file", "map_t1w")]),
    ])  # fmt:skip
    nodes = {
        method: pe.Node(interface, name=method, **resources)
        for method, interface in _extra_interfaces(explanation, common).items()
    }
    for method, node in nodes.items():
        workflow.connect([
            (inputnode, node, [("volume", "volume"), ("volume_mask", "mask")]),
            (to_grid, node, [("out_file", "labels")]),
            (node, outputnode, [("out_file" if method == "cubes" else "table", method)]),
        ])  # fmt:skip
        if method in explanation.attributions:
            workflow.connect([
                (inputnode, node, [("ood_flag", "ood_flag")]),
                (node, outputnode, [("out_file", f"{method}_map")]),
            ])  # fmt:skip
    _compare(workflow, explanation, occlude, nodes)
    return workflow


def _compare(
    workflow: Workflow, explanation: Explanation, occlude: pe.Node, nodes: dict[str, pe.Node]
) -> None:
    """Bring the tables of all methods together."""
    readers = []
    if "agreement" in explanation.tables:
        agree = pe.Node(Agree(), name="agree")
        workflow.connect([
            (occlude, agree, [("baselines", "baselines")]),
            (agree, workflow.get_node("outputnode"), [("table", "agreement")]),
        ])  # fmt:skip
        readers.append(agree)
    if "curves" in nodes:
        readers.append(nodes["curves"])
    if not explanation.attributions or not readers:
        return
    merge = pe.Node(
        niu.Merge(len(explanation.attributions)), name="attributions", run_without_submitting=True
    )
    for number, method in enumerate(explanation.attributions, start=1):
        workflow.connect(nodes[method], "table", merge, f"in{number}")
    for reader in readers:
        workflow.connect(merge, "out", reader, "attributions")


def _extra_interfaces(explanation: Explanation, common: dict[str, Any]) -> dict[str, BaseInterface]:
    """Interfaces of the methods beyond the occlusion of regions that the run uses."""
    checked = [name for name in explanation.methods if name in ("occlusion", "lrp", "ig")]
    known = {
        "cubes": lambda: OccludeCubes(**common, cube_mm=explanation.cube_mm),
        "shapley": lambda: Shapley(**common, permutations=explanation.permutations),
        "curves": lambda: Curves(**common),
        "pairs": lambda: Pairs(**common),
        "randomisation": lambda: Randomise(**common, methods=checked),
    }
    for method in explanation.attributions:
        known[method] = partial(
            Attribute, **common, method=method, null_parcels=explanation.null_parcels
        )
    return {method: known[method]() for method in explanation.extra}


def _method_text(explanation: Explanation) -> str:
    """What the methods beyond the occlusion of regions did, for the methods section."""
    texts = {
        "cubes": f" A map was made by occluding cubes of {explanation.cube_mm:g} mm.",
        "shapley": " Shapley values of the regions were estimated from "
        f"{explanation.permutations} random orders [@shapley].",
        "curves": " Regions were removed and restored one after another, ranked by their "
        "contribution, to see how far the ranking is faithful to the model.",
        "pairs": " The regions with the largest contributions were also occluded in pairs.",
        "lrp": " Layer-wise relevance propagation [@lrp; epsilon and z+ rules as in @hofmann] "
        "gave a second opinion, summed over the same regions.",
        "ig": " Integrated gradients [@ig] with the same baselines gave a second opinion, summed "
        "over the same regions.",
        "noise": " A map of how little noise each part of the brain bears before the prediction "
        "changes [after @bintsi] gave a second opinion, summed over the same regions.",
        "randomisation": " As a sanity check the explanations were repeated for networks with ever "
        "more randomised layers, from the output down [@sanity].",
    }
    null = (
        " Contributions were compared with those of random connected parcels of the same size."
        if explanation.null_parcels
        else ""
    )
    groups = (
        " Networks, lobes, hemispheres, homologous pairs and tissue compartments were occluded in "
        "the same way."
    )
    others = " and by ".join(_FILL_TEXT[baseline] for baseline in explanation.baselines[1:])
    repeated = (
        f" All regions were also replaced by {others}, and the rank agreement of the results is "
        "reported."
        if others
        else ""
    )
    return groups + repeated + null + "".join(texts[method] for method in explanation.extra)
