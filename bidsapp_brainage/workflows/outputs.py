"""What is kept: sinks that write derivatives and figures under their BIDS names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from bidsapp_brainage.bids.dictionaries import sidecar
from bidsapp_brainage.bids.names import image_key, input_key, resolution_label, standard_key
from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.catalogue.quantity import YEAR
from bidsapp_brainage.interfaces.sinks import DerivativeSink
from bidsapp_brainage.model.specs import needs_segmentation

if TYPE_CHECKING:
    from bidsapp_brainage.atlas.templates import TemplateFiles
    from bidsapp_brainage.bids.names import Destination
    from bidsapp_brainage.workflows.plan import RunPlan


def sink(
    name: str,
    dest: Destination,
    key: str,
    *,
    metadata: dict[str, Any] | None = None,
    **labels: Any,
) -> pe.Node:
    """Node that keeps one file.

    Parameters
    ----------
    name : str
        Name of the node.
    dest : Destination
        Output folder and entities of the scan.
    key : str
        Of the output's card, which knows the end of the name and the columns of a table.
    metadata : dict, optional
        Content of the sidecar.
    **labels
        ``model``, and entities that are not the scan's; None means absent.
    """
    interface = DerivativeSink(
        output_dir=str(dest.output_dir),
        entities=[tuple(pair) for pair in dest.entities],
        key=key,
        labels={name: str(value) for name, value in labels.items() if value is not None},
        metadata=metadata or {},
    )
    return pe.Node(interface, name=name, run_without_submitting=True)


def init_ds_anat_wf(
    dest: Destination, *, template: str, sources: list[str], warp_sources: list[str], warp: bool
) -> Workflow:
    """Keep image, mask and transforms in the space of the T1w.

    Parameters
    ----------
    dest : Destination
        Output folder and entities of the scan.
    template : str
        Name of the model's template.
    sources : list of str
        BIDS URIs that the image was made from.
    warp_sources : list of str
        BIDS URIs of what the nonlinear transform was made from, beside the image.
    warp : bool
        Whether there is a nonlinear transform.

    Inputs
    ------
    t1w_preproc, stripped, mask, affine, forward, inverse
        From the anatomical and normalisation workflows.
    """
    workflow = Workflow(name="ds_anat_wf")
    inputnode = pe.Node(
        niu.IdentityInterface(
            fields=["t1w_preproc", "stripped", "mask", "affine", "forward", "inverse"]
        ),
        name="inputnode",
    )
    t1w = dest.uri(dest.image_key)
    forward = {"from_": "T1w", "to": template, "mode": "image"}
    inverse = {"from_": template, "to": "T1w", "mode": "image"}
    origin = {"Sources": [t1w]}
    ds_t1w = sink("ds_t1w", dest, dest.image_key, metadata={"Sources": sources})
    ds_mask = sink(
        "ds_mask", dest, "mask", metadata={"Type": "Brain", "SpatialReference": t1w, **origin}
    )
    ds_affine = sink("ds_affine", dest, "affine", **forward, metadata=origin)
    workflow.connect([
        (inputnode, ds_t1w, [("t1w_preproc", "in_file"), ("stripped", "skull_stripped")]),
        (inputnode, ds_mask, [("mask", "in_file")]),
        (inputnode, ds_affine, [("affine", "in_file")]),
    ])  # fmt:skip
    if warp:
        for direction, entities in (("forward", forward), ("inverse", inverse)):
            metadata = {"Sources": [t1w, *warp_sources]}
            node = sink(f"ds_{direction}", dest, "transform", **entities, metadata=metadata)
            workflow.connect(inputnode, direction, node, "in_file")
    return workflow


def init_ds_companion_wf(
    dest: Destination, run_plan: RunPlan, modality: str, *, source: str
) -> Workflow:
    """Keep the image of another modality on the grid of the T1w, and what the network saw of it.

    Parameters
    ----------
    dest : Destination
        Output folder and entities of the scan.
    run_plan : RunPlan
        The model.
    modality : str
        ``T2w``, ``FLAIR`` ...
    source : str
        Path of the raw image relative to its dataset.

    Inputs
    ------
    image, affine
        From the workflow of the image.
    volume
        From the prediction workflow.
    """
    workflow = Workflow(name=f"ds_{modality}_wf")
    inputnode = pe.Node(
        niu.IdentityInterface(fields=["image", "affine", "volume"]), name="inputnode"
    )
    raw, t1w = f"bids:raw:{source}", dest.uri(dest.image_key)
    aligned = {"SpatialReference": t1w, "Sources": [raw, t1w]}
    motion = {"from_": "T1w", "to": modality, "mode": "image"}
    seen = {
        **_on_grid(run_plan),
        "Description": f"Input of model {run_plan.model_label}: {modality} resampled and scaled as "
        "its card says.",
        "Sources": [dest.uri(image_key(modality), space="T1w"), dest.uri("mask")],
    }
    nodes = {
        "image": sink("ds_image", dest, image_key(modality), space="T1w", metadata=aligned),
        "affine": sink(
            "ds_affine", dest, f"affine_{modality}", **motion, metadata={"Sources": [raw, t1w]}
        ),
        "volume": sink(
            "ds_input", dest, input_key(modality), **run_plan.grid_labels, metadata=seen
        ),
    }
    for field, node in nodes.items():
        workflow.connect(inputnode, field, node, "in_file")
    return workflow


def init_ds_std_wf(
    dest: Destination, template: TemplateFiles, *, name: str = "ds_std_wf"
) -> Workflow:
    """Keep image and mask in a standard space.

    Parameters
    ----------
    dest : Destination
        Output folder and entities of the scan.
    template : TemplateFiles
        The space.
    name : str
        Name of the workflow.

    Inputs
    ------
    t1w_std, mask_std, stripped
        Normalised image and mask; whether the T1w shows only the brain.
    """
    workflow = Workflow(name=name)
    inputnode = pe.Node(
        niu.IdentityInterface(fields=["t1w_std", "mask_std", "stripped"]), name="inputnode"
    )
    spacing = template.spacing_mm
    space = {"space": template.label, "res": resolution_label(spacing)}
    metadata = {
        "Resolution": f"{spacing:g} mm isotropic, the template's grid",
        "SpatialReference": template_uri(template),
        "Sources": [dest.uri(dest.image_key)],
    }
    ds_t1w = sink("ds_t1w_std", dest, standard_key(dest.modality), **space, metadata=metadata)
    ds_mask = sink("ds_mask_std", dest, "mask_std", **space, metadata={"Type": "Brain", **metadata})
    workflow.connect([
        (inputnode, ds_t1w, [("t1w_std", "in_file"), ("stripped", "skull_stripped")]),
        (inputnode, ds_mask, [("mask_std", "in_file")]),
    ])  # fmt:skip
    return workflow


def init_ds_segmentation_wf(dest: Destination, run_plan: RunPlan) -> Workflow:
    """Keep volumes, regions and probabilities of tissue.

    Parameters
    ----------
    dest : Destination
        Output folder and entities of the scan.
    run_plan : RunPlan
        The segmentation.

    Inputs
    ------
    volumes, and the fields of :attr:`.plan.RunPlan.segmentation_fields`
        From the segmentation workflow.
    """
    assert run_plan.segmentation is not None
    workflow = Workflow(name="ds_segmentation_wf")
    fields = ["volumes", *run_plan.segmentation_fields]
    inputnode = pe.Node(niu.IdentityInterface(fields=fields), name="inputnode")
    card = run_plan.segmentation
    facts: dict[str, Any] = {
        "Sources": [dest.uri(dest.image_key), dest.uri("mask")],
        "Segmentation": {
            "Name": card.name, "Version": card.version,
            "WeightsSHA256": card.weights[0].sha256, "License": card.licence,
        },
        "Software": run_plan.provenance["Software"],
    }  # fmt: skip
    # Image and table of the same name share one sidecar, so both write the same.
    meanings = sidecar("dseg", columns_of("dseg_table"), **facts)
    keys = {"volumes": ("volumes", facts), "dseg_table": ("dseg_table", facts)}
    keys |= {"dseg": ("dseg", meanings)}
    for field in fields:
        key, metadata = keys.get(field, ("probseg", facts))
        label = field.removeprefix("probseg_").upper() if key == "probseg" else None
        node = sink(f"ds_{field}", dest, key, metadata=metadata, label=label)
        workflow.connect(inputnode, field, node, "in_file")
    return workflow


def init_ds_prediction_wf(dest: Destination, run_plan: RunPlan) -> Workflow:
    """Keep what the network saw and what it answered.

    Parameters
    ----------
    dest : Destination
        Output folder and entities of the scan.
    run_plan : RunPlan
        The model.

    Inputs
    ------
    volume, volume_mask, qc, and those of :attr:`.plan.RunPlan.prediction_tables`
        From the prediction workflow.
    input_affine
        From the segmentation, where the model asks for one.
    """
    workflow = Workflow(name="ds_prediction_wf")
    inputnode = pe.Node(
        niu.IdentityInterface(
            fields=["volume", "volume_mask", "input_affine", "qc", *run_plan.prediction_tables]
        ),
        name="inputnode",
    )
    model, seen = run_plan.model_label, run_plan.grid_labels
    on_grid = _on_grid(run_plan)
    origin = [dest.uri(dest.image_key), dest.uri("mask")]
    ds_input = sink(
        "ds_input",
        dest,
        dest.input_key,
        **seen,
        metadata={
            "Description": f"Input of model {model}: {dest.modality} resampled and scaled as its "
            "card says.",
            "SkullStripped": bool(run_plan.card.input.get("skull_stripped", True)),
            "Resolution": on_grid["Resolution"],
            "SpatialReference": on_grid["SpatialReference"],
            "Sources": origin,
        },
    )
    workflow.connect(inputnode, "volume", ds_input, "in_file")
    workflow.connect(inputnode, "volume_mask", _ds_input_mask(dest, run_plan), "in_file")
    if needs_segmentation(run_plan.card.input):
        ends = {"from_": "T1w", "to": run_plan.template.name, "mode": "image"}
        origin_t1w = {"Sources": [dest.uri(dest.image_key)]}
        ds_affine = sink(
            "ds_input_affine", dest, "input_affine", model=model, **ends, metadata=origin_t1w
        )
        workflow.connect(inputnode, "input_affine", ds_affine, "in_file")
    for kind, sources in (
        *((kind, [dest.uri(dest.input_key, **seen)]) for kind in run_plan.prediction_tables),
        ("qc", [dest.source, *origin]),
    ):
        facts = {"Sources": sources, **run_plan.provenance}
        node = sink(f"ds_{kind}", dest, kind, model=model, metadata=facts)
        workflow.connect(inputnode, kind, node, "in_file")
    return workflow


def init_ds_raw_prediction_wf(dest: Destination, run_plan: RunPlan) -> Workflow:
    """Keep what a network of raw images saw and what it answered.

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
    workflow = Workflow(name="ds_prediction_wf")
    fields = ["volume", *run_plan.prediction_tables]
    inputnode = pe.Node(niu.IdentityInterface(fields=fields), name="inputnode")
    model, seen = run_plan.model_label, run_plan.grid_labels
    facts = {"Sources": [dest.uri(dest.input_key, **seen)], **run_plan.provenance}
    told = {
        "Description": f"Input of model {model}: the raw T1w resampled, cut and scaled.",
        "Resolution": f"{run_plan.card.input['resolution_mm']:g} mm isotropic, about the head",
        "Sources": [dest.source],
    }
    ds_input = sink("ds_input", dest, "input", **seen, metadata=told)
    workflow.connect(inputnode, "volume", ds_input, "in_file")
    for kind in run_plan.prediction_tables:
        node = sink(f"ds_{kind}", dest, kind, model=model, metadata=facts)
        workflow.connect(inputnode, kind, node, "in_file")
    return workflow


def _ds_input_mask(dest: Destination, run_plan: RunPlan) -> pe.Node:
    """Node that keeps the brain in the network's input: its mask, or its regions."""
    described: dict[str, Any] = {
        **_on_grid(run_plan),
        "Sources": [dest.uri(dest.image_key), dest.uri("mask")],
    }
    key, what = "input_mask", "Brain mask"
    if needs_segmentation(run_plan.card.input):
        key, what = "input_regions", "Regions"
        meaning = "; what their indices mean is in the table of the segmentation (dseg.tsv)"
    else:
        described["Type"] = "Brain"
        meaning = ""
    described["Description"] = f"{what} in the input of model {run_plan.model_label}{meaning}."
    return sink(f"ds_{key}", dest, key, **run_plan.grid_labels, metadata=described)


def init_ds_explanation_wf(dest: Destination, run_plan: RunPlan) -> Workflow:
    """Keep the atlas in the subject, the region table and the maps.

    Parameters
    ----------
    dest : Destination
        Output folder and entities of the scan.
    run_plan : RunPlan
        Model, atlas and methods.

    Inputs
    ------
    labels_t1w, map_grid, map_t1w, and the outputs of the methods by their keys
        From the explanation workflow.
    predicted
        From the prediction workflow: what is explained.
    """
    workflow = Workflow(name="ds_explanation_wf")
    inputnode = pe.Node(
        niu.IdentityInterface(fields=[*run_plan.explanation.fields, "predicted"]),
        name="inputnode",
    )
    t1w = dest.uri(dest.image_key)
    model, atlas, grid = run_plan.model_label, run_plan.atlas_entities, run_plan.grid_labels
    table = {"model": model, "space": run_plan.template.name, **atlas}
    seen = [dest.uri(dest.input_key, **grid)]
    in_t1w = {"SpatialReference": t1w}
    in_grid = _on_grid(run_plan)
    quantity = run_plan.card.main_head.quantity
    effect = {
        "Description": quantity.worded("Change of the predicted age when the region is occluded."),
        "Units": quantity.unit,
        "Sources": [dest.uri("table", **table)],
        **run_plan.explained(lookup.method("occlusion")),
    }
    nodes = {
        "labels_t1w": sink(
            "ds_labels", dest, "labels_t1w", **atlas, metadata={**in_t1w, "Sources": [t1w]}
        ),
        "map_grid": sink(
            "ds_map", dest, "map_grid", **grid, **atlas, metadata={**effect, **in_grid}
        ),
        "map_t1w": sink(
            "ds_map_t1w", dest, "map_t1w", model=model, **atlas, metadata={**effect, **in_t1w}
        ),
    }
    for method in run_plan.explanation.methods:
        made = {"Sources": seen, **run_plan.explained(method)}
        for output in method.outputs:
            told = {
                "Description": quantity.worded(output.description),
                "Units": output.units.replace(YEAR, quantity.unit),
                **in_grid,
            }
            facts = made if output.is_table else {**told, **made}
            labels = table if output.is_table else grid
            nodes[output.key] = sink(f"ds_{output.key}", dest, output.key, **labels, metadata=facts)
    for field, node in nodes.items():
        workflow.connect(inputnode, field, node, "in_file")
        if field != "labels_t1w":
            workflow.connect(inputnode, "predicted", node, "predicted")
    return workflow


def _on_grid(run_plan: RunPlan) -> dict[str, str]:
    """What sidecars of images on the network's grid say about it."""
    size, model = run_plan.model_resolution.replace("p", "."), run_plan.model_label
    return {
        "SpatialReference": template_uri(run_plan.template),
        "Resolution": f"{size} mm isotropic, the grid of model {model}",
    }


def template_uri(template: TemplateFiles) -> str:
    """BIDS URI of a template's T1w in the dataset link ``templateflow``."""
    cohort = f"cohort-{template.cohort}/" if template.cohort else ""
    return f"bids:templateflow:tpl-{template.name}/{cohort}{template.t1w.name}"
