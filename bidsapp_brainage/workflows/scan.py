"""One scan through all stages, and everything of it that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nipype.pipeline import engine as pe
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from bidsapp_brainage.bids.names import Destination
from bidsapp_brainage.interfaces.images import Conform, Invert
from bidsapp_brainage.interfaces.reuse import CompareGiven
from bidsapp_brainage.model.inputs.channels import T1W
from bidsapp_brainage.model.specs import needs_segmentation, sees_raw_images
from bidsapp_brainage.workflows.anatomical import (
    given_mask_node,
    init_anat_fit_wf,
    init_brain_mask_wf,
    init_companion_wf,
)
from bidsapp_brainage.workflows.explanation import init_explanation_wf
from bidsapp_brainage.workflows.normalisation import (
    init_norm_apply_wf,
    init_norm_fit_wf,
    init_norm_given_wf,
)
from bidsapp_brainage.workflows.outputs import (
    init_ds_anat_wf,
    init_ds_companion_wf,
    init_ds_explanation_wf,
    init_ds_prediction_wf,
    init_ds_raw_prediction_wf,
    init_ds_segmentation_wf,
    init_ds_std_wf,
    kept,
    sink,
)
from bidsapp_brainage.workflows.precomputed import Precomputed
from bidsapp_brainage.workflows.prediction import (
    init_fast_age_wf,
    init_prediction_wf,
    init_raw_prediction_wf,
)
from bidsapp_brainage.workflows.reportlets import (
    REGIONS,
    init_companion_reportlets_wf,
    init_raw_reportlets_wf,
    init_reportlets_wf,
)
from bidsapp_brainage.workflows.segmentation import init_segmentation_wf

if TYPE_CHECKING:
    from bidsapp_brainage.atlas.templates import TemplateFiles
    from bidsapp_brainage.bids.collect import Companion, Scan
    from bidsapp_brainage.segmentation.card import SegmentationCard
    from bidsapp_brainage.workflows.plan import RunPlan

#: Modalities in which fluid is bright and white matter dark.
INVERTED = ("T2w", "SWI")
#: What transforms of another program to the model's template are used for.
_OF_MODEL = (
    " for images in the space of the template and the regions of the atlas; the predicted age does "
    "not depend on them"
)
#: Parts whose text tells of networks, too, and of what those have learned from.
_OF_NETWORKS = ("prediction", "segmentation")
#: What is explained, and what of the prediction it needs.
_PREDICTED = ("volume", "volume_mask", "ood_flag", "predicted")


def scan_workflow_name(label: str) -> str:
    """Name of the workflow of one scan: only letters, digits and underscores."""
    return label.replace("+", "plus").replace("-", "_") + "_wf"


def init_scan_wf(scan: Scan, run_plan: RunPlan, precomputed: Precomputed) -> Workflow:
    """Wire one scan: anatomical, normalisation, prediction, explanation, outputs, figures.

    Parameters
    ----------
    scan : Scan
        The image and its person.
    run_plan : RunPlan
        Resources and choices.
    precomputed : Precomputed
        What need not be computed.
    """
    if sees_raw_images(run_plan.card.input):
        return _init_raw_scan_wf(scan, run_plan)
    workflow = Workflow(name=scan_workflow_name(scan.label))
    source = f"bids:raw:{scan.relative_path}"
    dest = Destination(run_plan.output_dir, scan.entities, source, scan.modality)
    # Both labels and mask come through the warp.
    warp = run_plan.atlas is not None or precomputed.mask is None or precomputed.has_warp
    anat = init_anat_fit_wf(
        skull_strip=run_plan.skull_strip, label=scan.relative_path, precomputed=precomputed
    )
    anat.inputs.inputnode.t1w = str(scan.path)
    norm = init_norm_fit_wf(
        run_plan.template,
        precomputed=precomputed,
        warp=warp,
        sloppy=run_plan.sloppy,
        seed=run_plan.seed,
        n_threads=run_plan.compute.n_threads,
    )
    mask = init_brain_mask_wf(skull_strip=run_plan.skull_strip, precomputed=precomputed)
    mask.inputs.inputnode.template_mask = str(run_plan.template.mask)
    prediction = init_prediction_wf(scan, run_plan)
    workflow.connect([
        (anat, norm, _between(("stripped",))),
        (anat, mask, _between(("stripped",))),
        (anat, prediction, _between(("t1w_conformed", "t1w_preproc", "facts", "stripped"))),
        (mask, prediction, _between(("mask",))),
        (norm, prediction, _between(("affine",))),
    ])  # fmt:skip
    foreign = precomputed.is_foreign
    spaces = _init_given(run_plan, run_plan.template, precomputed) if foreign else norm
    parts = {"anat": anat, "norm": norm, "mask": mask, "spaces": spaces, "prediction": prediction}
    _connect_like_t1w(workflow, parts, scan.modality)
    if precomputed.mask is None:
        workflow.connect(norm, "outputnode.inverse", mask, "inputnode.inverse_xfm")
    if precomputed.is_compared:
        _connect_comparison(workflow, run_plan, precomputed, parts, warp=warp)
    if run_plan.fast_card is not None and scan.modality == T1W:
        fast_age = init_fast_age_wf(run_plan.fast_card, run_plan.compute)
        workflow.connect([
            (anat, fast_age, [("outputnode.t1w_raw", "inputnode.t1w_conformed")]),
            (fast_age, prediction, _between(("fast_age",))),
        ])  # fmt:skip
    for other in scan.others:
        parts[other.modality] = _connect_companion(workflow, dest, run_plan, other, parts)
    if run_plan.segmentation is not None:
        parts["segmentation"] = _connect_segmentation(
            workflow, run_plan.segmentation, run_plan, parts
        )
    if run_plan.atlas is not None:
        parts["explanation"] = explanation = init_explanation_wf(scan, run_plan)
        # The network's grid lies where its input was made: in aligned tissue, or in the template.
        seen = parts["segmentation"] if needs_segmentation(run_plan.card.input) else norm
        workflow.connect([
            (anat, explanation, _between(("t1w_preproc",))),
            (seen, explanation, _between(("affine",))),
            (spaces, explanation, _between(("inverse",))),
            (prediction, explanation, _between(_PREDICTED)),
        ])  # fmt:skip
        if scan.others:
            workflow.connect(prediction, "outputnode.others", explanation, "inputnode.others")
    parts["std"] = _connect_apply(workflow, run_plan.template, parts, spaces, warp=warp)
    _connect_sinks(workflow, dest, run_plan, parts, precomputed=precomputed, warp=warp)
    _connect_reportlets(workflow, dest, run_plan, parts)
    for template in run_plan.extra_templates:
        _connect_extra_space(workflow, dest, run_plan, template, parts, precomputed)
    _tell_of(parts, scan.modality)
    return workflow


def _tell_of(parts: Mapping[str, Workflow], modality: str) -> None:
    """Name the image in the methods, where it is no T1w."""
    if modality == T1W:
        return
    for name, part in parts.items():
        image = "brain-masked T1w image" if name in _OF_NETWORKS else "T1w image"
        if part.__desc__:
            of_it = part.__desc__.replace("T1-weighted (T1w)", modality)
            part.__desc__ = of_it.replace(image, image.replace(T1W, modality))
    if modality in INVERTED:
        parts[
            "anat"
        ].__desc__ += (
            "For registration and brain mask it was turned over, because fluid is bright in it.\n"
        )


def _connect_like_t1w(workflow: Workflow, parts: Mapping[str, Workflow], modality: str) -> None:
    """Hand on the image that registration, mask and quality look at.

    Where fluid is bright and white matter dark, it is turned over.
    """
    source, field = parts["anat"], "outputnode.t1w_preproc"
    if modality in INVERTED:
        source, field = pe.Node(Invert(), name="invert", mem_gb=0.5), "out_file"
        workflow.connect(parts["anat"], "outputnode.t1w_preproc", source, "in_file")
    workflow.connect([
        (source, parts["norm"], [(field, "inputnode.t1w_preproc")]),
        (source, parts["mask"], [(field, "inputnode.t1w_preproc")]),
        (source, parts["prediction"], [(field, "inputnode.t1w_like")]),
    ])  # fmt:skip
    if parts["spaces"] is not parts["norm"]:
        workflow.connect(source, field, parts["spaces"], "inputnode.t1w_preproc")


def _init_given(
    run_plan: RunPlan, template: TemplateFiles, precomputed: Precomputed, prefix: str = "given_"
) -> Workflow:
    """Transforms of another program to a template."""
    models = template == run_plan.template
    return init_norm_given_wf(
        template,
        precomputed=precomputed,
        cache_dir=run_plan.work_dir / "shared",
        serves=_OF_MODEL if models else " for images in that space",
        sloppy=run_plan.sloppy,
        n_threads=run_plan.compute.n_threads,
        name=f"{prefix}norm_fit_wf",
    )


def _connect_comparison(
    workflow: Workflow,
    run_plan: RunPlan,
    precomputed: Precomputed,
    parts: Mapping[str, Workflow],
    *,
    warp: bool,
) -> None:
    """Compare given mask, tissue and transforms with the app's own, for the quality control."""
    node = pe.Node(
        CompareGiven(template_mask=str(run_plan.template.mask), **precomputed.compared),
        name="compare_given",
        mem_gb=1.5,
    )
    workflow.connect([
        (parts["anat"], node, [("outputnode.t1w_preproc", "t1w"),
                               ("outputnode.stripped", "stripped")]),
        (node, parts["prediction"], [("facts", "inputnode.given")]),
    ])  # fmt:skip
    if precomputed.compared_mask is not None:
        given = given_mask_node(precomputed.compared_mask, precomputed)
        workflow.connect([
            (parts["anat"], given, [("outputnode.t1w_preproc", "t1w")]),
            (given, node, [("out_file", "mask")]),
            (parts["mask"], node, [("outputnode.mask", "own_mask")]),
        ])  # fmt:skip
    elif precomputed.mask is not None:
        workflow.connect(parts["mask"], "outputnode.mask", node, "mask")
        if warp:
            workflow.connect(parts["norm"], "outputnode.inverse", node, "inverse_xfm")
    if precomputed.is_foreign:
        for part, name in (("spaces", "given_xfm"), ("norm", "own_xfm")):
            workflow.connect(parts[part], "outputnode.forward", node, name)


def _init_raw_scan_wf(scan: Scan, run_plan: RunPlan) -> Workflow:
    """Wire one scan of a model of raw images: conform, prediction, outputs, figures."""
    workflow = Workflow(name=scan_workflow_name(scan.label))
    dest = Destination(run_plan.output_dir, scan.entities, f"bids:raw:{scan.relative_path}")
    conform = Conform(in_file=str(scan.path), label=scan.relative_path)
    conformed = pe.Node(conform, name="conform", mem_gb=1.0)
    prediction = init_raw_prediction_wf(scan, run_plan)
    workflow.connect(conformed, "out_file", prediction, "inputnode.t1w_conformed")
    answered = ("volume", *run_plan.prediction_tables)
    sinks, reportlets = (
        init_ds_raw_prediction_wf(dest, run_plan), init_raw_reportlets_wf(dest, run_plan),
    )  # fmt: skip
    kept = (*answered, "volume_mask") if needs_segmentation(run_plan.card.input) else answered
    workflow.connect([
        (prediction, sinks, _between(kept)), (prediction, reportlets, _between(answered)),
    ])  # fmt:skip
    return workflow


def _connect_companion(
    workflow: Workflow,
    dest: Destination,
    run_plan: RunPlan,
    other: Companion,
    parts: Mapping[str, Workflow],
) -> Workflow:
    """Bring an image of another modality to the T1w, hand it to the prediction, and keep it."""
    modality = other.modality
    companion = init_companion_wf(modality, label=other.relative_path)
    companion.inputs.inputnode.image = str(other.path)
    kept = init_ds_companion_wf(dest, run_plan, modality, source=other.relative_path)
    drawn = init_companion_reportlets_wf(dest, run_plan, modality)
    workflow.connect([
        (parts["anat"], companion, _between(("t1w_preproc",))),
        (parts["mask"], companion, _between(("mask",))),
        (companion, parts["prediction"], [("outputnode.image", f"inputnode.image_{modality}")]),
        (companion, kept, _between(("image", "affine"))),
        (companion, drawn, _between(("image",))),
        (parts["mask"], drawn, _between(("mask",))),
        *((parts["prediction"], each, [(f"outputnode.volume_{modality}", "inputnode.volume")])
          for each in (kept, drawn)),
    ])  # fmt:skip
    return companion


def _connect_segmentation(
    workflow: Workflow,
    card: SegmentationCard,
    run_plan: RunPlan,
    parts: Mapping[str, Workflow],
) -> Workflow:
    """Add the segmentation between mask and prediction."""
    segmentation = init_segmentation_wf(
        card, images=run_plan.segmentation_images, n_threads=run_plan.compute.n_threads
    )
    workflow.connect([
        (parts["anat"], segmentation, _between(("t1w_preproc",))),
        (parts["mask"], segmentation, _between(("mask",))),
        (parts["norm"], segmentation, _between(("affine",))),
        (segmentation, parts["prediction"], _between(("units", "regions", "volumes"))),
        (segmentation, parts["prediction"], [
            ("outputnode.affine", "inputnode.aligned"),
            ("outputnode.facts", "inputnode.segmentation"),
        ]),
    ])  # fmt:skip
    return segmentation


def _between(fields: Sequence[str]) -> list[tuple[str, str]]:
    """Connections from one workflow's output node to another's input node, same names."""
    return [(f"outputnode.{field}", f"inputnode.{field}") for field in fields]


def _connect_sinks(
    workflow: Workflow,
    dest: Destination,
    run_plan: RunPlan,
    parts: Mapping[str, Workflow],
    *,
    precomputed: Precomputed,
    warp: bool,
) -> None:
    """Add everything that writes derivatives in the model's spaces."""
    anat, norm, mask = parts["anat"], parts["norm"], parts["mask"]
    ds_anat = init_ds_anat_wf(
        dest,
        template=run_plan.template.name,
        sources=precomputed.uris(precomputed.t1w) or [dest.source],
        warp_sources=precomputed.uris(precomputed.forward, precomputed.inverse),
        warp=warp,
    )
    ds_prediction = init_ds_prediction_wf(dest, run_plan)
    answered = ("volume", "volume_mask", "qc", *run_plan.prediction_tables)
    workflow.connect([
        (anat, ds_anat, _between(("t1w_preproc", "stripped"))),
        (mask, ds_anat, _between(("mask",))),
        (norm, ds_anat, _between(("affine",))),
        (parts["prediction"], ds_prediction, _between(answered)),
    ])  # fmt:skip
    if needs_segmentation(run_plan.card.input):
        aligned = [("outputnode.affine", "inputnode.input_affine")]
        workflow.connect([(parts["segmentation"], ds_prediction, aligned)])
    if warp:
        workflow.connect([(parts["spaces"], ds_anat, _between(("forward", "inverse")))])
        _connect_std(workflow, dest, run_plan.template, parts, parts["std"])
    if "segmentation" in parts:
        ds_segmentation = init_ds_segmentation_wf(dest, run_plan)
        found = _between(("volumes", *run_plan.segmentation_fields))
        workflow.connect([(parts["segmentation"], ds_segmentation, found)])
    if "explanation" in parts:
        ds_explanation = init_ds_explanation_wf(dest, run_plan)
        kept = _between(run_plan.explanation.fields)
        workflow.connect([
            (parts["explanation"], ds_explanation, kept),
            (parts["prediction"], ds_explanation, _between(("predicted",))),
        ])  # fmt:skip


def _connect_apply(
    workflow: Workflow,
    template: TemplateFiles,
    parts: Mapping[str, Workflow],
    norm: Workflow,
    *,
    warp: bool = True,
) -> Workflow:
    """Resample image and mask onto a template, through the warp of `norm` or its affine alone."""
    apply_wf = init_norm_apply_wf(template.t1w, name=f"{norm.name.removesuffix('fit_wf')}apply_wf")
    xfm = "forward" if warp else "affine"
    workflow.connect([
        (parts["anat"], apply_wf, _between(("t1w_preproc",))),
        (parts["mask"], apply_wf, _between(("mask",))),
        (norm, apply_wf, [(f"outputnode.{xfm}", "inputnode.xfm")]),
    ])  # fmt:skip
    return apply_wf


def _connect_std(
    workflow: Workflow,
    dest: Destination,
    template: TemplateFiles,
    parts: Mapping[str, Workflow],
    apply_wf: Workflow,
) -> None:
    """Keep image and mask on the grid of a template."""
    ds_std = init_ds_std_wf(dest, template, name=f"{apply_wf.name.removesuffix('apply_wf')}ds_wf")
    workflow.connect([
        (parts["anat"], ds_std, _between(("stripped",))),
        (apply_wf, ds_std, _between(("t1w_std", "mask_std"))),
    ])  # fmt:skip


def _connect_extra_space(
    workflow: Workflow,
    dest: Destination,
    run_plan: RunPlan,
    template: TemplateFiles,
    parts: Mapping[str, Workflow],
    precomputed: Precomputed,
) -> None:
    """Register to one more template, unless that was done; keep image, mask and transforms."""
    prefix = f"{template.name}{template.cohort}_"
    given = precomputed.to(template.label)
    if given is not None:
        norm = _init_given(run_plan, template, given, prefix)
    else:
        norm = init_norm_fit_wf(
            template,
            precomputed=Precomputed(),
            sloppy=run_plan.sloppy,
            seed=run_plan.seed,
            n_threads=run_plan.compute.n_threads,
            name=f"{prefix}norm_fit_wf",
        )
        workflow.connect([(parts["anat"], norm, _between(("stripped",)))])
    workflow.connect([(parts["anat"], norm, _between(("t1w_preproc",)))])
    apply_wf = _connect_apply(workflow, template, parts, norm)
    _connect_std(workflow, dest, template, parts, apply_wf)
    taken = [] if given is None else given.uris(given.forward, given.inverse)
    metadata = {"Sources": [dest.uri(dest.image_key), *taken]}
    ends = {"forward": ("T1w", template.label), "inverse": (template.label, "T1w")}
    transforms = {
        field: kept("transform", {"from_": start, "to": end, "mode": "image"}, metadata=metadata)
        for field, (start, end) in ends.items()
    }
    node = sink(f"{prefix}norm_ds_transforms", dest, transforms)
    workflow.connect([(norm, node, [(f"outputnode.{field}", field) for field in transforms])])


def _connect_reportlets(
    workflow: Workflow,
    dest: Destination,
    run_plan: RunPlan,
    parts: Mapping[str, Workflow],
) -> None:
    """Add the figures of the report."""
    explained = "explanation" in parts
    drawn = [output for output in run_plan.explanation.outputs if explained and output.drawn]
    reportlets = init_reportlets_wf(dest, run_plan, drawn)
    workflow.connect([
        (parts["anat"], reportlets, _between(("t1w_preproc",))),
        (parts["mask"], reportlets, _between(("mask",))),
        (parts["std"], reportlets, _between(("t1w_std", "mask_std"))),
        (parts["prediction"], reportlets, _between(("volume", *run_plan.prediction_tables))),
    ])  # fmt:skip
    if run_plan.segmentation_fields:
        drawn_regions = _between(("dseg", "dseg_table"))
        workflow.connect([(parts["segmentation"], reportlets, drawn_regions)])
    if explained:
        maps = (*REGIONS, *(output.key for output in drawn))
        workflow.connect([(parts["explanation"], reportlets, _between(maps))])
