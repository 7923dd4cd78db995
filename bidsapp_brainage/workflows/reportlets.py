"""Figures of the individual report, made by nodes and kept under ``sub-X/figures``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from bidsapp_brainage.bids.names import input_figure_key
from bidsapp_brainage.interfaces.reports import (
    AgeFigure,
    AgesFigure,
    InputFigure,
    MapFigure,
    MaskFigure,
    RegionsFigure,
    RegistrationFigure,
    SegmentationFigure,
)
from bidsapp_brainage.workflows.outputs import kept, sink

if TYPE_CHECKING:
    from bidsapp_brainage.bids.names import Destination
    from bidsapp_brainage.catalogue.cards import Output
    from bidsapp_brainage.interfaces.sinks import Kept
    from bidsapp_brainage.workflows.plan import RunPlan

#: What the figure of the regions is drawn from.
REGIONS = ("labels_t1w", "table", "baselines")


def init_reportlets_wf(dest: Destination, run_plan: RunPlan, maps: Sequence[Output]) -> Workflow:
    """Draw the figures of one scan.

    Parameters
    ----------
    dest : Destination
        Output folder and entities of the scan.
    run_plan : RunPlan
        Model, template and atlas.
    maps : sequence of Output
        Further maps to draw, on the grid of the network.

    Inputs
    ------
    t1w_preproc, mask
        Image and brain mask.
    t1w_std, mask_std
        Both on the template's grid.
    volume, and those of :attr:`.plan.RunPlan.prediction_tables`
        From the prediction workflow.
    dseg, dseg_table
        From the segmentation workflow, where it makes images.
    labels_t1w, table, baselines, and the keys of `maps`
        From the explanation workflow.
    """
    workflow = Workflow(name="reportlets_wf")
    template = run_plan.template
    space: dict[str, Any] = {"space": template.name}
    fields = ["t1w_preproc", "mask", "t1w_std", "mask_std", "volume"]
    fields += [*run_plan.prediction_tables, *REGIONS, "dseg", "dseg_table"]
    fields += [output.key for output in maps]
    inputnode = pe.Node(niu.IdentityInterface(fields=fields), name="inputnode")
    outline = pe.Node(MaskFigure(modality=dest.modality), name="mask")
    registration = pe.Node(
        RegistrationFigure(template=str(template.t1w), mask=str(template.mask)),
        name="registration",
    )
    workflow.connect([
        (inputnode, outline, [("t1w_preproc", "image"), ("mask", "mask")]),
        (inputnode, registration, [("t1w_std", "t1w"), ("mask_std", "t1w_mask")]),
    ])  # fmt:skip
    both = {"before": kept("before_figure", space), "after": kept("after_figure", space)}
    _keep(workflow, outline, dest, {"out_file": kept("mask_figure")})
    _keep(workflow, registration, dest, both)
    _draw_input(workflow, dest, run_plan, dest.modality)
    if run_plan.card.main_head.quantity.is_age:
        _draw_age(workflow, dest, run_plan)
    if run_plan.segmentation_fields:
        _draw_segmentation(workflow, dest)
    if run_plan.atlas is not None:
        drawn = init_map_figures_wf(dest, run_plan, maps)
        shown = (*REGIONS, "t1w_preproc", "volume", *(output.key for output in maps))
        workflow.connect([(inputnode, drawn, [(name, f"inputnode.{name}") for name in shown])])
    return workflow


def init_companion_reportlets_wf(dest: Destination, run_plan: RunPlan, modality: str) -> Workflow:
    """Draw how an image of another modality lies on the T1w, and what the network saw of it.

    Parameters
    ----------
    dest : Destination
        Output folder and entities of the scan.
    run_plan : RunPlan
        The model.
    modality : str
        ``T2w``, ``FLAIR`` ...

    Inputs
    ------
    image, mask
        The image and the brain mask, on the grid of the T1w.
    volume
        From the prediction workflow.
    """
    workflow = Workflow(name=f"{modality}_reportlets_wf")
    fields = ["image", "mask", "volume"]
    inputnode = pe.Node(niu.IdentityInterface(fields=fields), name="inputnode")
    outline = pe.Node(MaskFigure(modality=modality), name="outline")
    workflow.connect([(inputnode, outline, [("image", "image"), ("mask", "mask")])])
    _keep(workflow, outline, dest, {"out_file": kept(f"companion_{modality}_figure")})
    _draw_input(workflow, dest, run_plan, modality)
    return workflow


def init_raw_reportlets_wf(dest: Destination, run_plan: RunPlan) -> Workflow:
    """Draw the figures of one scan of a model of raw images.

    Parameters
    ----------
    dest : Destination
        Output folder and entities of the scan.
    run_plan : RunPlan
        The model.

    Inputs
    ------
    volume, and those of :attr:`.plan.RunPlan.prediction_tables`
        From the prediction workflow.
    """
    workflow = Workflow(name="reportlets_wf")
    fields = ["volume", *run_plan.prediction_tables]
    inputnode = pe.Node(niu.IdentityInterface(fields=fields), name="inputnode")
    workflow.add_nodes([inputnode])
    _draw_input(workflow, dest, run_plan, dest.modality)
    if run_plan.card.main_head.quantity.is_age:
        _draw_age(workflow, dest, run_plan)
    return workflow


def init_map_figures_wf(dest: Destination, run_plan: RunPlan, maps: Sequence[Output]) -> Workflow:
    """Draw the maps of an explanation.

    Parameters
    ----------
    dest : Destination
        Output folder and entities of the scan.
    run_plan : RunPlan
        Model, template and atlas.
    maps : sequence of Output
        Further maps to draw, on the grid of the network.

    Inputs
    ------
    t1w_preproc, volume
        What the maps are drawn over.
    labels_t1w, table, baselines, and the keys of `maps`
        From the explanation workflow.
    """
    workflow = Workflow(name="map_figures_wf")
    fields = ["t1w_preproc", "volume", *REGIONS, *(output.key for output in maps)]
    workflow.add_nodes([pe.Node(niu.IdentityInterface(fields=fields), name="inputnode")])
    model = run_plan.model_label
    labels = {"space": "T1w", **run_plan.atlas_entities, "model": model}
    told = {"fill": run_plan.explanation.fill, "model_facts": run_plan.provenance["Model"]}
    regions = pe.Node(RegionsFigure(**told), name="regions")
    workflow.connect([
        (workflow.get_node("inputnode"), regions, [
            ("labels_t1w", "labels"), ("table", "table"), ("baselines", "baselines"),
            ("t1w_preproc", "background"),
        ]),
    ])  # fmt:skip
    _keep(workflow, regions, dest, {"out_file": kept("map_figure", labels)})
    in_grid = {"space": run_plan.template.name, "model": model}
    for output in maps:
        figure = _draw_map(workflow, output, told)
        _keep(workflow, figure, dest, {"out_file": kept(f"{output.key}_figure", in_grid)})
    return workflow


def _keep(
    workflow: Workflow, figure: pe.Node, dest: Destination, outputs: Mapping[str, Kept]
) -> None:
    """Add a sink of what one node draws."""
    node = sink(f"ds_{figure.name}_fig", dest, outputs)
    workflow.connect([(figure, node, [(field, field) for field in outputs])])


def _draw_input(workflow: Workflow, dest: Destination, run_plan: RunPlan, modality: str) -> None:
    """Draw and keep what the network saw of the image of a modality."""
    seen = pe.Node(InputFigure(modality=modality), name="model_input")
    workflow.connect(workflow.get_node("inputnode"), "volume", seen, "volume")
    figure = kept(input_figure_key(modality), {"model": run_plan.model_label})
    _keep(workflow, seen, dest, {"out_file": figure})


def _draw_age(workflow: Workflow, dest: Destination, run_plan: RunPlan) -> None:
    """Add the figure of the predicted age."""
    figure = pe.Node(AgeFigure(model_facts=run_plan.provenance["Model"]), name="age")
    drawn = [name for name in run_plan.prediction_tables if name in ("brainage", "agedist")]
    workflow.connect([
        (workflow.get_node("inputnode"), figure, [(name, name) for name in drawn]),
    ])  # fmt:skip
    _keep(workflow, figure, dest, {"out_file": kept("age_figure", {"model": run_plan.model_label})})


def _draw_segmentation(workflow: Workflow, dest: Destination) -> None:
    """Add the figure of the regions over the T1w image."""
    figure = pe.Node(SegmentationFigure(), name="segmentation")
    workflow.connect([
        (workflow.get_node("inputnode"), figure, [
            ("t1w_preproc", "t1w"), ("dseg", "dseg"), ("dseg_table", "table"),
        ]),
    ])  # fmt:skip
    _keep(workflow, figure, dest, {"out_file": kept("segmentation_figure")})


def _draw_map(workflow: Workflow, output: Output, told: Mapping[str, Any]) -> pe.Node:
    """Add the figure of a map, which the input node calls by its key, over the network's input."""
    drawing = AgesFigure() if output.drawn == "ages" else MapFigure(**told)
    figure = pe.Node(drawing, name=output.key)
    workflow.connect([
        (workflow.get_node("inputnode"), figure, [
            (output.key, "map_file"), ("volume", "background"),
        ]),
    ])  # fmt:skip
    return figure
