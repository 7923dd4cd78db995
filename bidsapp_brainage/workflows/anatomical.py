"""Conforming, bias correction and brain mask of one T1w image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from bidsapp_brainage.interfaces.images import (
    Conform,
    CorrectBias,
    DetectStripped,
    ExtractBrain,
    Resample,
)
from bidsapp_brainage.interfaces.registration import FitRigid
from bidsapp_brainage.interfaces.reuse import GivenMask
from bidsapp_brainage.settings import SkullStrip

if TYPE_CHECKING:
    from pathlib import Path

    from bidsapp_brainage.workflows.precomputed import Precomputed

_SKULL_STRIP_TEXT = {
    "auto": "In images that were skull-stripped before, which were recognised, emptied fluid "
    "around the brain was given the intensity of fluid",
    "skip": "The images were skull-stripped before; emptied fluid around the brain was given the "
    "intensity of fluid",
    "force": "All images were treated as whole heads",
}


def init_anat_fit_wf(
    *,
    skull_strip: SkullStrip = "auto",
    label: str = "",
    precomputed: Precomputed,
) -> Workflow:
    """Bring one T1w image to a common form and correct its intensities.

    Parameters
    ----------
    skull_strip : {"auto", "skip", "force"}
        How to tell whether the image shows only the brain.
    label : str
        How messages call the image.
    precomputed : Precomputed
        With a bias-corrected T1w from ``--derivatives`` N4 is not run.

    Inputs
    ------
    t1w
        Raw T1w image.

    Outputs
    -------
    t1w_conformed
        3D RAS float32 image; a given one is the same as `t1w_preproc`, whose grid may be another
        than that of the raw image.
    t1w_raw
        The raw image in that form, whatever is given.
    t1w_preproc
        The same as `t1w_conformed`, bias-corrected.
    facts
        Geometry and defects of the raw image.
    stripped
        Whether the image shows only the brain.
    """
    workflow = Workflow(name="anat_fit_wf")
    workflow.__desc__ = """\
The T1-weighted (T1w) image was brought to RAS orientation, without resampling, and corrected for
intensity non-uniformity with N4 [@n4] as implemented in SimpleITK [@simpleitk].
"""
    inputnode = pe.Node(niu.IdentityInterface(fields=["t1w"]), name="inputnode")
    outputnode = pe.Node(
        niu.IdentityInterface(
            fields=["t1w_conformed", "t1w_raw", "t1w_preproc", "facts", "stripped"]
        ),
        name="outputnode",
    )
    t1w_buffer = pe.Node(niu.IdentityInterface(fields=["t1w_preproc"]), name="t1w_buffer")
    conform = pe.Node(Conform(label=label), name="conform", mem_gb=1.0)
    stripped = pe.Node(DetectStripped(mode=skull_strip), name="stripped", mem_gb=0.5)
    workflow.connect([
        (t1w_buffer, stripped, [("t1w_preproc", "in_file")]),
        (conform, outputnode, [("out_file", "t1w_raw"), ("facts", "facts")]),
        (stripped, outputnode, [("stripped", "stripped")]),
        (t1w_buffer, outputnode, [("t1w_preproc", "t1w_preproc")]),
    ])  # fmt:skip
    workflow.connect(inputnode, "t1w", conform, "in_file")
    if precomputed.t1w is None:
        n4 = pe.Node(CorrectBias(), name="n4", mem_gb=1.0)
        workflow.connect([
            (conform, n4, [("out_file", "in_file")]),
            (conform, outputnode, [("out_file", "t1w_conformed")]),
            (n4, t1w_buffer, [("out_file", "t1w_preproc")]),
        ])  # fmt:skip
    else:
        reuse = pe.Node(Conform(in_file=str(precomputed.t1w)), name="conform_given", mem_gb=1.0)
        workflow.connect([
            (reuse, t1w_buffer, [("out_file", "t1w_preproc")]),
            (reuse, outputnode, [("out_file", "t1w_conformed")]),
        ])  # fmt:skip
        workflow.__desc__ = (
            f"A T1-weighted (T1w) image that was preprocessed before{precomputed.by} was used.\n"
        )
    return workflow


def init_companion_wf(modality: str, *, label: str = "") -> Workflow:
    """Bring an image of another modality of the session to the space of the T1w.

    Parameters
    ----------
    modality : str
        ``T2w``, ``FLAIR`` ...
    label : str
        How messages call the image.

    Inputs
    ------
    image
        Raw image.
    t1w_preproc, mask
        Bias-corrected T1w, and brain mask on its grid.

    Outputs
    -------
    affine
        Text matrix from the T1w's to the image's RAS mm.
    image
        Bias-corrected, on the grid of the T1w.
    """
    workflow = Workflow(name=f"{modality}_wf")
    workflow.__desc__ = f"""\
The {modality} image of the session was corrected for intensity non-uniformity in the same way and
registered rigidly to the T1w image, by mutual information in and around the brain [@mattes].
"""
    fields = ["image", "t1w_preproc", "mask"]
    inputnode = pe.Node(niu.IdentityInterface(fields=fields), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface(fields=["affine", "image"]), name="outputnode")
    conform = pe.Node(Conform(label=label), name="conform", mem_gb=1.0)
    n4 = pe.Node(CorrectBias(), name="n4", mem_gb=1.0)
    rigid = pe.Node(FitRigid(), name="rigid", mem_gb=1.0)
    resample = pe.Node(
        Resample(interpolation="linear", out_name=f"{modality}.nii.gz"), name="resample", mem_gb=1.0
    )
    workflow.connect([
        (inputnode, conform, [("image", "in_file")]),
        (conform, n4, [("out_file", "in_file")]),
        (n4, rigid, [("out_file", "in_file")]),
        (inputnode, rigid, [("t1w_preproc", "fixed"), ("mask", "mask")]),
        (n4, resample, [("out_file", "in_file")]),
        (inputnode, resample, [("t1w_preproc", "reference")]),
        (rigid, resample, [("affine", "transforms")]),
        (rigid, outputnode, [("affine", "affine")]),
        (resample, outputnode, [("out_file", "image")]),
    ])  # fmt:skip
    return workflow


def init_brain_mask_wf(
    *,
    skull_strip: SkullStrip = "auto",
    precomputed: Precomputed,
) -> Workflow:
    """Make the brain mask of one T1w image.

    Parameters
    ----------
    skull_strip : {"auto", "skip", "force"}
        For the methods text.
    precomputed : Precomputed
        With a brain mask from ``--derivatives`` none is made.

    Inputs
    ------
    t1w_preproc
        Bias-corrected T1w.
    stripped
        Whether it shows only the brain.
    template_mask
        Brain mask of the template.
    inverse_xfm
        Transform from the template to the T1w.

    Outputs
    -------
    mask
        Brain mask on the grid of the T1w.
    """
    workflow = Workflow(name="brain_mask_wf")
    inputnode = pe.Node(
        niu.IdentityInterface(fields=["t1w_preproc", "stripped", "template_mask", "inverse_xfm"]),
        name="inputnode",
    )
    outputnode = pe.Node(niu.IdentityInterface(fields=["mask"]), name="outputnode")
    mask_buffer = pe.Node(niu.IdentityInterface(fields=["mask"]), name="mask_buffer")
    workflow.connect(mask_buffer, "mask", outputnode, "mask")
    if precomputed.mask is not None:
        workflow.__desc__ = f"A brain mask that was made before{precomputed.by} was used.\n"
        given = given_mask_node(precomputed.mask, precomputed)
        workflow.connect([
            (inputnode, given, [("t1w_preproc", "t1w")]),
            (given, mask_buffer, [("out_file", "mask")]),
        ])  # fmt:skip
        return workflow
    workflow.__desc__ = f"""\
The brain mask is the template's, brought to the image by the inverse of the nonlinear registration
and adapted at its edge to the intensities of the image. {_SKULL_STRIP_TEXT[skull_strip]}.
"""
    extract = pe.Node(ExtractBrain(), name="extract", mem_gb=1.5)
    workflow.connect([
        (inputnode, extract, [
            ("t1w_preproc", "in_file"),
            ("stripped", "stripped"),
            ("template_mask", "template_mask"),
            ("inverse_xfm", "inverse_xfm"),
        ]),
        (extract, mask_buffer, [("out_file", "mask")]),
    ])  # fmt:skip
    return workflow


def given_mask_node(mask: Path, precomputed: Precomputed) -> pe.Node:
    """Node that brings a mask of other derivatives to the grid of the T1w."""
    given = pe.Node(GivenMask(mask=str(mask)), name="given_mask")
    if precomputed.reference is not None:
        given.inputs.same_grid = str(precomputed.reference)
    if precomputed.orig is not None:
        given.inputs.orig = str(precomputed.orig)
    return given
