"""What is kept: sinks that write derivatives and figures under their BIDS names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from bidsapp_brainage.bids.dictionaries import sidecar
from bidsapp_brainage.bids.names import image_key, input_key, resolution_label, standard_key
from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.catalogue.quantity import YEAR
from bidsapp_brainage.interfaces.sinks import DerivativeSink, Kept
from bidsapp_brainage.model.specs import needs_segmentation

if TYPE_CHECKING:
    from bidsapp_brainage.atlas.templates import TemplateFiles
    from bidsapp_brainage.bids.names import Destination
    from bidsapp_brainage.workflows.plan import RunPlan


def kept(
    key: str,
    labels: Mapping[str, object] | None = None,
    *,
    metadata: dict[str, Any] | None = None,
    told: tuple[str, ...] = (),
) -> Kept:
    """How a file is kept.

    Parameters
    ----------
    key : str
        Of the output's card, which knows the end of the name and the columns of a table.
    labels : mapping of str to object, optional
        ``model``, and entities that are not the scan's; None means absent.
    metadata : dict, optional
        Content of the sidecar.
    told : tuple of str
        Inputs of the sink that the sidecar tells, too.
    """
    named = {name: str(value) for name, value in (labels or {}).items() if value is not None}
    return Kept(key, named, metadata or {}, told)


def sink(name: str, dest: Destination, outputs: Mapping[str, Kept]) -> pe.Node:
    """Node that keeps files which one step makes, so that they succeed or fail together.

    Parameters
    ----------
    name : str
        Name of the node.
    dest : Destination
        Output folder and entities of the scan.
    outputs : mapping of str to Kept
        By the names of the node's inputs that take the files.
    """
    interface = DerivativeSink(
        outputs,
        output_dir=str(dest.output_dir),
        entities=[tuple(pair) for pair in dest.entities],
    )
    return pe.Node(interface, name=name, run_without_submitting=True)


def keep(workflow: Workflow, name: str, dest: Destination, outputs: Mapping[str, Kept]) -> None:
    """Add a :func:`sink` of files that the input node of a workflow has by the same names."""
    told = {field for output in outputs.values() for field in output.told}
    fields = [(field, field) for field in (*outputs, *sorted(told))]
    node = sink(name, dest, outputs)
    workflow.connect([(workflow.get_node("inputnode"), node, fields)])


def _input_wf(name: str, fields: Sequence[str]) -> Workflow:
    """Make a workflow with an input node alone."""
    workflow = Workflow(name=name)
    workflow.add_nodes([pe.Node(niu.IdentityInterface(fields=list(fields)), name="inputnode")])
    return workflow


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
    fields = ["t1w_preproc", "stripped", "mask", "affine", "forward", "inverse"]
    workflow = _input_wf("ds_anat_wf", fields)
    t1w = dest.uri(dest.image_key)
    forward = {"from_": "T1w", "to": template, "mode": "image"}
    inverse = {"from_": template, "to": "T1w", "mode": "image"}
    origin = {"Sources": [t1w]}
    image = kept(dest.image_key, metadata={"Sources": sources}, told=("stripped",))
    brain = kept("mask", metadata={"Type": "Brain", "SpatialReference": t1w, **origin})
    keep(workflow, "ds_t1w", dest, {"t1w_preproc": image})
    keep(workflow, "ds_mask", dest, {"mask": brain})
    keep(workflow, "ds_affine", dest, {"affine": kept("affine", forward, metadata=origin)})
    if warp:
        made = {"Sources": [t1w, *warp_sources]}
        transforms = {
            "forward": kept("transform", forward, metadata=made),
            "inverse": kept("transform", inverse, metadata=made),
        }
        keep(workflow, "ds_transforms", dest, transforms)
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
    workflow = _input_wf(f"ds_{modality}_wf", ["image", "affine", "volume"])
    raw, t1w = f"bids:raw:{source}", dest.uri(dest.image_key)
    motion = {"from_": "T1w", "to": modality, "mode": "image"}
    seen = {
        **_on_grid(run_plan),
        "Description": f"Input of model {run_plan.model_label}: {modality} resampled and scaled as "
        "its card says.",
        "Sources": [dest.uri(image_key(modality), space="T1w"), dest.uri("mask")],
    }
    made = {"Sources": [raw, t1w]}
    aligned = {
        "image": kept(
            image_key(modality), {"space": "T1w"}, metadata={"SpatialReference": t1w, **made}
        ),
        "affine": kept(f"affine_{modality}", motion, metadata=made),
    }
    volume = kept(input_key(modality), run_plan.grid_labels, metadata=seen)
    keep(workflow, "ds_image", dest, aligned)
    keep(workflow, "ds_input", dest, {"volume": volume})
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
    workflow = _input_wf(name, ["t1w_std", "mask_std", "stripped"])
    spacing = template.spacing_mm
    space = {"space": template.label, "res": resolution_label(spacing)}
    metadata = {
        "Resolution": f"{spacing:g} mm isotropic, the template's grid",
        "SpatialReference": template_uri(template),
        "Sources": [dest.uri(dest.image_key)],
    }
    normalised = {
        "t1w_std": kept(standard_key(dest.modality), space, metadata=metadata, told=("stripped",)),
        "mask_std": kept("mask_std", space, metadata={"Type": "Brain", **metadata}),
    }
    keep(workflow, "ds_std", dest, normalised)
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
    fields = ["volumes", *run_plan.segmentation_fields]
    workflow = _input_wf("ds_segmentation_wf", fields)
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
    outputs = {
        "volumes": kept("volumes", metadata=facts),
        "dseg_table": kept("dseg_table", metadata=facts),
        "dseg": kept("dseg", metadata=meanings),
        **{
            f"probseg_{tissue}": kept("probseg", {"label": tissue.upper()}, metadata=facts)
            for tissue in ("gm", "wm", "csf")
        },
    }
    keep(workflow, "ds_segmentation", dest, {field: outputs[field] for field in fields})
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
    fields = ["volume", "volume_mask", "input_affine", "qc", *run_plan.prediction_tables]
    workflow = _input_wf("ds_prediction_wf", fields)
    model, seen = run_plan.model_label, run_plan.grid_labels
    on_grid = _on_grid(run_plan)
    origin = [dest.uri(dest.image_key), dest.uri("mask")]
    description = f"Input of model {model}: {dest.modality} resampled and scaled as its card says."
    told = {
        "Description": description,
        "SkullStripped": bool(run_plan.card.input.get("skull_stripped", True)),
        "Resolution": on_grid["Resolution"],
        "SpatialReference": on_grid["SpatialReference"],
        "Sources": origin,
    }
    inputs = {
        "volume": kept(dest.input_key, seen, metadata=told),
        "volume_mask": _input_mask(dest, run_plan, origin),
    }
    if needs_segmentation(run_plan.card.input):
        ends = {"from_": "T1w", "to": run_plan.template.name, "mode": "image"}
        from_t1w = {"Sources": [dest.uri(dest.image_key)]}
        inputs["input_affine"] = kept("input_affine", {"model": model, **ends}, metadata=from_t1w)
    measured = {"Sources": [dest.source, *origin], **run_plan.provenance}
    keep(workflow, "ds_input", dest, inputs)
    keep(workflow, "ds_qc", dest, {"qc": kept("qc", {"model": model}, metadata=measured)})
    keep(workflow, "ds_tables", dest, _tables(dest, run_plan))
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
    volume, volume_mask, and those of :attr:`.plan.RunPlan.prediction_tables`
        From the prediction workflow; volume_mask where the model asks for regions.
    """
    fields = ["volume", "volume_mask", *run_plan.prediction_tables]
    workflow = _input_wf("ds_prediction_wf", fields)
    segmented = needs_segmentation(run_plan.card.input)
    told = {
        "Description": f"Input of model {run_plan.model_label}: the raw T1w resampled, cut and "
        "scaled.",
        "Resolution": f"{run_plan.card.input['resolution_mm']:g} mm isotropic"
        + (", on a coarse affine" if segmented else ", about the head"),
        "Sources": [dest.source],
    }
    inputs = {"volume": kept("input", run_plan.grid_labels, metadata=told)}
    if segmented:
        inputs["volume_mask"] = _input_mask(dest, run_plan, [dest.source])
    keep(workflow, "ds_input", dest, inputs)
    keep(workflow, "ds_tables", dest, _tables(dest, run_plan))
    return workflow


def _tables(dest: Destination, run_plan: RunPlan) -> dict[str, Kept]:
    """How tables of the prediction are kept."""
    sources = [dest.uri(dest.input_key, **run_plan.grid_labels)]
    facts = {"Sources": sources, **run_plan.provenance}
    model = run_plan.model_label
    return {
        kind: kept(kind, {"model": model}, metadata=facts) for kind in run_plan.prediction_tables
    }


def _input_mask(dest: Destination, run_plan: RunPlan, sources: Sequence[str]) -> Kept:
    """How the brain in the network's input is kept: its mask, or its regions."""
    described: dict[str, Any] = {**_on_grid(run_plan), "Sources": list(sources)}
    key, what = "input_mask", "Brain mask"
    if needs_segmentation(run_plan.card.input):
        key, what = "input_regions", "Regions"
        meaning = "; what their indices mean is in the table of the segmentation (dseg.tsv)"
        if run_plan.segmentation is None:  # nothing but this is kept of it
            meaning = (
                f"; indices are those of the segmentation {run_plan.card.input['segmentation']}"
            )
    else:
        described["Type"] = "Brain"
        meaning = ""
    described["Description"] = f"{what} in the input of model {run_plan.model_label}{meaning}."
    return kept(key, run_plan.grid_labels, metadata=described)


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
    workflow = _input_wf("ds_explanation_wf", [*run_plan.explanation.fields, "predicted"])
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
    labels = kept("labels_t1w", atlas, metadata={**in_t1w, "Sources": [t1w]})
    told = ("predicted",)
    maps = {
        "map_grid": kept("map_grid", {**grid, **atlas}, metadata={**effect, **in_grid}, told=told),
        "map_t1w": kept(
            "map_t1w", {"model": model, **atlas}, metadata={**effect, **in_t1w}, told=told
        ),
    }
    keep(workflow, "ds_labels", dest, {"labels_t1w": labels})
    keep(workflow, "ds_maps", dest, maps)
    for method in run_plan.explanation.methods:
        made = {"Sources": seen, **run_plan.explained(method)}
        outputs = {}
        for output in method.outputs:
            described = {
                "Description": quantity.worded(output.description),
                "Units": output.units.replace(YEAR, quantity.unit),
                **in_grid,
            }
            facts = made if output.is_table else {**described, **made}
            named = table if output.is_table else grid
            outputs[output.key] = kept(output.key, named, metadata=facts, told=told)
        keep(workflow, f"ds_{method.key}", dest, outputs)
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
