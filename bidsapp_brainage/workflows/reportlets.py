"""Figures of the individual report, made by nodes and kept under ``sub-X/figures``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from bidsapp_brainage.interfaces.images import Resample
from bidsapp_brainage.interfaces.reports import (
    AgeFigure,
    InputFigure,
    MapFigure,
    MaskFigure,
    RegistrationFigure,
)
from bidsapp_brainage.workflows.outputs import sink

if TYPE_CHECKING:
    from bidsapp_brainage.atlas.templates import TemplateFiles
    from bidsapp_brainage.bids.names import Destination

_SVG: dict[str, Any] = {"datatype": "figures", "extension": ".svg"}


def init_reportlets_wf(
    dest: Destination,
    template: TemplateFiles,
    *,
    model: str,
    model_facts: dict[str, Any],
    atlas: dict[str, Any] | None,
    cubes: bool = False,
    distribution: bool = True,
    name: str = "reportlets_wf",
) -> Workflow:
    """Draw the figures of one scan.

    Parameters
    ----------
    dest : Destination
        Output folder and entities of the scan.
    template : TemplateFiles
        The model's template.
    model : str
        Label of the model.
    model_facts : dict
        What the sidecars say about the model; the training cohort is drawn from it.
    atlas : dict or None
        Entities of the atlas; None without explanation.
    cubes : bool
        Whether there is a map of cubes.
    distribution : bool
        Whether the network gives a distribution of ages.
    name : str
        Name of the workflow.

    Inputs
    ------
    t1w_preproc, mask
        Image and brain mask.
    xfm
        Transform to the template, nonlinear or affine.
    volume, brainage, agedist
        From the prediction workflow.
    map_t1w, cubes
        From the explanation workflow.
    """
    workflow = Workflow(name=name)
    fields = ["t1w_preproc", "mask", "xfm", "volume", "brainage", "agedist", "map_t1w", "cubes"]
    inputnode = pe.Node(niu.IdentityInterface(fields=fields), name="inputnode")
    normalised = pe.Node(
        Resample(reference=str(template.t1w), standard=True, out_name="t1w_std.nii.gz"),
        name="normalised",
    )
    registration = pe.Node(
        RegistrationFigure(template=str(template.t1w), mask=str(template.mask)),
        name="registration",
    )
    mask = pe.Node(MaskFigure(), name="mask")
    seen = pe.Node(InputFigure(), name="model_input")
    age = pe.Node(AgeFigure(model_facts=model_facts), name="age")
    kept = {
        "mask": sink("ds_mask_fig", dest, **_SVG, suffix="mask", desc="brain"),
        "before": sink("ds_before", dest, **_SVG, suffix="T1w", space=template.name, desc="before"),
        "after": sink("ds_after", dest, **_SVG, suffix="T1w", space=template.name, desc="after"),
        "input": sink("ds_input_fig", dest, **_SVG, suffix="T1w", desc=f"{model}input"),
        "age": sink("ds_age_fig", dest, **_SVG, suffix="agedist", desc=model),
    }
    workflow.connect([
        (inputnode, mask, [("t1w_preproc", "t1w"), ("mask", "mask")]),
        (inputnode, normalised, [("t1w_preproc", "in_file"), ("xfm", "transforms")]),
        (normalised, registration, [("out_file", "t1w")]),
        (inputnode, seen, [("volume", "volume")]),
        (mask, kept["mask"], [("out_file", "in_file")]),
        (registration, kept["before"], [("before", "in_file")]),
        (registration, kept["after"], [("after", "in_file")]),
        (seen, kept["input"], [("out_file", "in_file")]),
        (inputnode, age, [("brainage", "brainage")]),
        (age, kept["age"], [("out_file", "in_file")]),
    ])  # fmt:skip
    if distribution:
        workflow.connect(inputnode, "agedist", age, "agedist")
    if atlas is not None:
        effects = pe.Node(MapFigure(), name="effects")
        ds_effects = sink(
            "ds_effects", dest, **_SVG, suffix="occlusionmap", space="T1w", **atlas, desc=model
        )
        workflow.connect([
            (inputnode, effects, [("map_t1w", "map_file"), ("t1w_preproc", "background")]),
            (effects, ds_effects, [("out_file", "in_file")]),
        ])  # fmt:skip
    if cubes:
        cube_map = pe.Node(MapFigure(), name="cube_map")
        ds_cubes = sink(
            "ds_cubes_fig", dest, **_SVG, suffix="occlusionmap", space=template.name,
            desc=f"{model}cubes",
        )  # fmt: skip
        workflow.connect([
            (inputnode, cube_map, [("cubes", "map_file"), ("volume", "background")]),
            (cube_map, ds_cubes, [("out_file", "in_file")]),
        ])  # fmt:skip
    return workflow
