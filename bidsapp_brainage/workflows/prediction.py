"""From the bias-corrected T1w image to a predicted age."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from bidsapp_brainage.bids.citation import bibliography
from bidsapp_brainage.bids.names import identity
from bidsapp_brainage.interfaces.prediction import FastAge, HeadInput, ModelInput, Predict
from bidsapp_brainage.interfaces.quality import MeasureQuality
from bidsapp_brainage.model.description import (
    input_text,
    interval_text,
    network_text,
    targets_text,
    training_text,
)
from bidsapp_brainage.model.specs import needs_segmentation

if TYPE_CHECKING:
    from bidsapp_brainage.bids.collect import Scan
    from bidsapp_brainage.model.cards import ModelCard
    from bidsapp_brainage.workflows.plan import Compute, RunPlan

_GPU_MEMORY_GB = 2.0
#: What comes from the segmentation: aligned tissue, where it lies, opinion on the mask, volumes.
SEGMENTED = ("units", "regions", "aligned", "segmentation", "volumes")


def init_prediction_wf(scan: Scan, run_plan: RunPlan) -> Workflow:
    """Make the network's input and predict the age.

    Parameters
    ----------
    scan : Scan
        Whose age and identity enter the table.
    run_plan : RunPlan
        The model, its template, and how it is run.

    Inputs
    ------
    t1w_conformed, t1w_preproc, facts, stripped, mask, affine
        From the anatomical and normalisation workflows.
    t1w_like
        The T1w again, or what looks like one where the image is another.
    image_<modality>
        Images of other modalities, on the grid of the T1w.
    and those of :data:`SEGMENTED`
        From the segmentation, where there is one.
    given
        Columns of the quality table about files of other programs, where such are used.
    fast_age
        What the model of raw images says (years).

    Outputs
    -------
    volume, volume_<modality>, volume_mask
        What the network sees, and the brain mask on that grid.
    brainage, agedist, predictions, modalities, qc
        Tables; agedist is undefined where the network gives no distribution of ages, predictions
        where it gives nothing but an age, modalities where it sees but one image.
    ood_flag, predicted
        Out-of-distribution flag of the prediction, and what is explained (an age in years).
    """
    workflow = Workflow(name="prediction_wf")
    workflow.__desc__ = _describe(run_plan.card)
    others = [other.modality for other in scan.others]
    anatomy = ["t1w_conformed", "t1w_preproc", "t1w_like", "facts", "stripped", "mask", "affine"]
    given = ["given", "fast_age", *(f"image_{modality}" for modality in others)]
    seen = [*anatomy, *SEGMENTED, *given]
    answered = ["ood_flag", "predicted", *run_plan.prediction_tables]
    volumes = ["volume", "volume_mask", "others", *(f"volume_{modality}" for modality in others)]
    made = [*volumes, "qc", *answered]
    inputnode = pe.Node(niu.IdentityInterface(fields=seen), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface(fields=made), name="outputnode")
    model_input = _input_node(run_plan, "model_input", scan.modality)
    quality = _quality_node(scan, run_plan)
    predict = _predict_node(scan, run_plan)
    workflow.connect([
        (inputnode, model_input, [("t1w_preproc", "t1w"), ("mask", "mask")]),
        (inputnode, quality, [
            ("t1w_conformed", "conformed"),
            ("t1w_like", "corrected"),
            *((name, name) for name in ("given", "mask", "affine", "facts")),
        ]),
        (inputnode, predict, [("stripped", "stripped"), ("fast_age", "fast_age")]),
        (model_input, predict, [("volume", "volume")]),
        (quality, predict, [("table", "qc_table")]),
        (model_input, outputnode, [("volume", "volume"), ("mask", "volume_mask")]),
        (quality, outputnode, [("table", "qc")]),
        (predict, outputnode, [(name, name) for name in answered]),
    ])  # fmt:skip
    if run_plan.segmentation is not None:
        workflow.connect(inputnode, "segmentation", quality, "segmentation")
        workflow.connect(inputnode, "volumes", predict, "volumes")
    asks = needs_segmentation(run_plan.card.input)
    _connect_input(workflow, model_input, asks=asks)
    if asks:
        workflow.connect(model_input, "mask", predict, "mask")
    if others:
        _connect_others(workflow, run_plan, others, asks=asks)
    return workflow


def init_raw_prediction_wf(scan: Scan, run_plan: RunPlan) -> Workflow:
    """Make the input of a model of raw images and predict the age.

    Parameters
    ----------
    scan : Scan
        Whose age and identity enter the table.
    run_plan : RunPlan
        The model, and how it is run.

    Inputs
    ------
    t1w_conformed
        3D RAS float32 image.

    Outputs
    -------
    volume, volume_mask, and those of :attr:`.plan.RunPlan.prediction_tables`
        What the network sees, with its regions, and what it answers.
    """
    workflow = Workflow(name="prediction_wf")
    workflow.__desc__ = _describe(run_plan.card)
    made = ["volume", "volume_mask", *run_plan.prediction_tables]
    inputnode = pe.Node(niu.IdentityInterface(fields=["t1w_conformed"]), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface(fields=made), name="outputnode")
    threads = run_plan.compute.n_threads
    model_input = pe.Node(
        HeadInput(card=str(run_plan.card_path), n_threads=threads),
        name="model_input",
        mem_gb=1.0,
        n_procs=threads,
    )
    predict = _predict_node(scan, run_plan)
    workflow.connect([
        (inputnode, model_input, [("t1w_conformed", "t1w")]),
        (model_input, predict, [("volume", "volume"), ("mask", "mask")]),
        (model_input, outputnode, [("volume", "volume"), ("mask", "volume_mask")]),
        (predict, outputnode, [(name, name) for name in run_plan.prediction_tables]),
    ])  # fmt:skip
    return workflow


def init_fast_age_wf(card: ModelCard, compute: Compute) -> Workflow:
    """Ask the model of raw images, too: a check of everything between image and prediction.

    Parameters
    ----------
    card : ModelCard
        Of the model of raw images.
    compute : Compute
        How networks are run.

    Inputs
    ------
    t1w_conformed
        From the anatomical workflow.

    Outputs
    -------
    fast_age
        In years.
    """
    workflow = Workflow(name="fast_age_wf")
    workflow.__desc__ = (
        f"As a check, the model *{card.name}* predicted an age from the raw image, too.\n"
    )
    inputnode = pe.Node(niu.IdentityInterface(fields=["t1w_conformed"]), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface(fields=["fast_age"]), name="outputnode")
    predict = pe.Node(
        FastAge(
            card=str(card.path),
            weights=[str(weight.path) for weight in card.weights],
            n_threads=compute.n_threads,
        ),
        name="fast_age",
        mem_gb=1.0,
    )
    workflow.connect([
        (inputnode, predict, [("t1w_conformed", "t1w")]),
        (predict, outputnode, [("fast_age", "fast_age")]),
    ])  # fmt:skip
    return workflow


def _predict_node(scan: Scan, run_plan: RunPlan) -> pe.Node:
    predict = Predict(
        **network_inputs(scan, run_plan),
        identity=identity(scan.entities),
        age_source=scan.age.source,
        truths=truths(scan, run_plan.card),
        label=scan.relative_path,
        bias_correction=run_plan.bias_correction,
    )
    n_procs = run_plan.compute.n_procs
    return pe.Node(predict, name="predict", mem_gb=_GPU_MEMORY_GB, n_procs=n_procs)


def _quality_node(scan: Scan, run_plan: RunPlan) -> pe.Node:
    template = run_plan.template
    measure = MeasureQuality(
        template=str(template.t1w),
        template_mask=str(template.mask),
        age=scan.age.value,
        sex=scan.sex,
    )
    return pe.Node(measure, name="quality", mem_gb=1.5)


def _input_node(run_plan: RunPlan, name: str, modality: str) -> pe.Node:
    interface = ModelInput(card=str(run_plan.card_path), modality=modality)
    return pe.Node(interface, name=name, mem_gb=1.0)


def _connect_input(workflow: Workflow, model_input: pe.Node, *, asks: bool) -> None:
    """Where the network's input lies: in the template, or, if it asks for them, with regions."""
    place = [("affine", "affine")]
    if asks:
        place = [("aligned", "affine"), ("units", "units"), ("regions", "regions")]
    workflow.connect([(workflow.get_node("inputnode"), model_input, place)])


def _connect_others(
    workflow: Workflow, run_plan: RunPlan, others: Sequence[str], *, asks: bool
) -> None:
    """Make the inputs of other modalities, which share registration and brain mask."""
    inputnode, outputnode, predict = (
        workflow.get_node(name) for name in ("inputnode", "outputnode", "predict")
    )
    together = pe.Node(niu.Merge(len(others)), name="others", run_without_submitting=True)
    for number, modality in enumerate(others, start=1):
        node = _input_node(run_plan, f"model_input_{modality}", modality)
        workflow.connect([
            (inputnode, node, [(f"image_{modality}", "t1w"), ("mask", "mask")]),
            (node, outputnode, [("volume", f"volume_{modality}")]),
            (node, together, [("volume", f"in{number}")]),
        ])  # fmt:skip
        _connect_input(workflow, node, asks=asks)
    workflow.connect([
        (together, predict, [("out", "others")]), (together, outputnode, [("out", "others")]),
    ])  # fmt:skip


def network_inputs(scan: Scan, run_plan: RunPlan) -> dict[str, object]:
    """Inputs that every interface running the network takes."""
    compute = run_plan.compute
    return {
        "card": str(run_plan.card_path),
        "weights": [str(weight.path) for weight in run_plan.card.weights],
        "device": compute.device,
        "use_gpu": compute.use_gpu,
        "n_threads": compute.n_threads,
        "age": scan.age.value,
        "modality": scan.modality,
        "other_modalities": [other.modality for other in scan.others],
    }


def truths(scan: Scan, card: ModelCard) -> dict[str, str]:
    """What ``participants.tsv`` says of the person about the targets of a model."""
    known = dict(scan.facts)
    return {head.name: known[head.name] for head in card.heads if head.name in known}


def _describe(card: ModelCard) -> str:
    """Methods text about a model."""
    form = (
        " The network answers with a probability distribution over age bins, whose mean is the "
        "predicted age."
        if card.has_age_distribution
        else ""
    )
    gap = (
        " The brain-age gap is the predicted minus the chronological age."
        if card.main_head.quantity.is_age
        else ""
    )
    references = bibliography()
    cited = [references[key].fields.get("doi", key) for key in card.citation_keys]
    how = interval_text(card)
    interval = f" Its 95 % interval is {how}." if how else ""
    others = [text.rstrip(".") for text in card.citation if not any(doi in text for doi in cited)]
    asks = f" The model asks for citation of: {'; '.join(others)}." if others else ""
    return f"""\
For the prediction, {input_text(card)}. {targets_text(card)} with the model *{card.name}*
(version {card.version}), {network_text(card)}.{form}{interval} {training_text(card)}{gap}{asks}
"""
