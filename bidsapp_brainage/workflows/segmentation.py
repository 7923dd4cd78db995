"""Tissue and regions of one T1w image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from bidsapp_brainage.interfaces.segmentation import Segment

if TYPE_CHECKING:
    from bidsapp_brainage.segmentation.card import SegmentationCard

_MADE = ("units", "regions", "affine", "facts", "volumes", "dseg_table")
_IMAGES = ("dseg", "probseg_gm", "probseg_wm", "probseg_csf")


def init_segmentation_wf(
    card: SegmentationCard, *, images: bool = True, n_threads: int = 1
) -> Workflow:
    """Segment the brain of one T1w image.

    It runs on the CPU: the network is small, and a GPU is better kept for the explanation.

    Parameters
    ----------
    card : SegmentationCard
        The network.
    images : bool
        Whether images in T1w space are made.
    n_threads : int
        Threads of the network.

    Inputs
    ------
    t1w_preproc, mask, affine
        From the anatomical and normalisation workflows.

    Outputs
    -------
    units, regions, affine
        Aligned tissue units and the regions that they come from, on the card's grid, and the
        affine from there to the T1w.
    facts
        Second opinion on the brain mask, for the quality control.
    volumes, dseg_table
        Tables.
    dseg, probseg_gm, probseg_wm, probseg_csf
        Regions and tissue in T1w space; undefined without `images`.
    """
    workflow = Workflow(name="segmentation_wf")
    workflow.__desc__ = segmentation_text(card)
    inputnode = pe.Node(
        niu.IdentityInterface(fields=["t1w_preproc", "mask", "affine"]), name="inputnode"
    )
    made = [*_MADE, *_IMAGES] if images else list(_MADE)
    outputnode = pe.Node(niu.IdentityInterface(fields=made), name="outputnode")
    segment = pe.Node(
        Segment(
            card=str(card.path),
            weights=str(card.weights[0].path),
            images=images,
            n_threads=n_threads,
        ),
        name="segment",
        mem_gb=2.0,
        n_procs=n_threads,
    )
    workflow.connect([
        (inputnode, segment, [("t1w_preproc", "t1w"), ("mask", "mask"), ("affine", "affine")]),
        (segment, outputnode, [(name, name) for name in made]),
    ])  # fmt:skip
    return workflow


def segmentation_text(card: SegmentationCard) -> str:
    """Methods text about the segmentation."""
    cited = f" [{'; '.join(f'@{key}' for key in card.citation_keys)}]" if card.citation_keys else ""
    size = f"{float(card.grid['resolution_mm']):g}"
    return f"""\
Tissue and {card.labels.n_classes - 1} regions were segmented by the network *{card.name}*
(version {card.version}){cited} on the brain-masked image, affinely registered at {size} mm.
{card.raw["training"]["text"]} Volumes are sums of posterior probabilities in the person's own
space. Tissue was aligned once more to the mean tissue of those people, by the affine with the least
squared difference.
"""
