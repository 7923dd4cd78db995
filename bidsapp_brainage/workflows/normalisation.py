"""Registration of one T1w image to a template, and what is resampled with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from bidsapp_brainage.interfaces.images import Resample
from bidsapp_brainage.interfaces.registration import FitAffine, FitWarp
from bidsapp_brainage.interfaces.reuse import GivenTransforms

if TYPE_CHECKING:
    from bidsapp_brainage.atlas.templates import TemplateFiles
    from bidsapp_brainage.workflows.precomputed import Precomputed

_WARP_TEXT = "and then nonlinearly with greedy's diffeomorphic algorithm [@greedy]"


def init_norm_fit_wf(
    template: TemplateFiles,
    *,
    precomputed: Precomputed,
    warp: bool = True,
    sloppy: bool = False,
    seed: int = 0,
    n_threads: int = 1,
    name: str = "norm_fit_wf",
) -> Workflow:
    """Register one T1w image to a template.

    Parameters
    ----------
    template : TemplateFiles
        Where to register to.
    precomputed : Precomputed
        Transforms of the app from ``--derivatives``; what is there is not computed.
    warp : bool
        Whether the nonlinear part is needed.
    sloppy : bool
        Coarse registration, for testing only.
    seed : int
        ``--random-seed``.
    n_threads : int
        Threads of each registration.
    name : str
        Name of the workflow.

    Inputs
    ------
    t1w_preproc
        Bias-corrected T1w.
    stripped
        Whether it shows only the brain.

    Outputs
    -------
    affine
        Text matrix from the template's to the T1w's RAS mm.
    forward, inverse
        Transforms that resample the T1w onto the template and back; undefined without `warp`.
    """
    workflow = Workflow(name=name)
    workflow.__desc__ = _methods_text(template.label, precomputed, warp=warp)
    inputnode = pe.Node(niu.IdentityInterface(fields=["t1w_preproc", "stripped"]), name="inputnode")
    outputnode = pe.Node(
        niu.IdentityInterface(fields=["affine", "forward", "inverse"]), name="outputnode"
    )
    images = {
        "template": str(template.t1w),
        "template_mask": str(template.mask),
        "sloppy": sloppy,
        "seed": seed,
        "n_threads": n_threads,
    }
    workflow.add_nodes([inputnode])  # nothing else hangs on it where all is precomputed
    affine = _add_affine(workflow, images, precomputed)
    workflow.connect(affine, "affine", outputnode, "affine")
    if warp or precomputed.has_warp:
        both = _add_warp(workflow, images, precomputed)
        workflow.connect([(both, outputnode, [("forward", "forward"), ("inverse", "inverse")])])
    return workflow


def init_norm_given_wf(
    template: TemplateFiles,
    *,
    precomputed: Precomputed,
    cache_dir: Path,
    serves: str,
    sloppy: bool = False,
    n_threads: int = 1,
    name: str = "given_norm_fit_wf",
) -> Workflow:
    """Take transforms to a template that another program made.

    Parameters
    ----------
    template : TemplateFiles
        Which one is wanted.
    precomputed : Precomputed
        With a pair of transforms to it, or to another that is then registered to it.
    cache_dir : Path
        Where transforms between templates are kept.
    serves : str
        What they are used for, in the methods text.
    sloppy, n_threads, name
        As for :func:`init_norm_fit_wf`.

    Inputs
    ------
    t1w_preproc
        Bias-corrected T1w.

    Outputs
    -------
    forward, inverse
        Transforms that resample the T1w onto the template and back.
    """
    workflow = Workflow(name=name)
    workflow.__desc__ = _given_text(template.label, precomputed, serves)
    inputnode = pe.Node(niu.IdentityInterface(fields=["t1w_preproc"]), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface(fields=["forward", "inverse"]), name="outputnode")
    own = precomputed.own_template
    more: dict[str, Any] = {}
    if precomputed.orig is not None:
        more["orig"] = str(precomputed.orig)
    if own is not None:
        more |= {"own_template": str(own.t1w), "own_template_mask": str(own.mask)}
    if precomputed.joint:
        more["joint"] = [str(path) for path in precomputed.joint]
    interface = GivenTransforms(
        template=str(template.t1w),
        template_mask=str(template.mask),
        forward=str(precomputed.forward),
        inverse=str(precomputed.inverse),
        own_name=precomputed.template,
        cache_dir=str(cache_dir),
        sloppy=sloppy,
        n_threads=n_threads,
        **more,
    )
    given = pe.Node(interface, name="given", mem_gb=2.5, n_procs=n_threads)
    workflow.connect([
        (inputnode, given, [("t1w_preproc", "t1w")]),
        (given, outputnode, [("forward", "forward"), ("inverse", "inverse")]),
    ])  # fmt:skip
    return workflow


def _methods_text(template: str, precomputed: Precomputed, *, warp: bool) -> str:
    """What was done, or taken over."""
    if precomputed.has_warp and not precomputed.is_foreign:
        return _given_text(template, precomputed)
    nonlinear = ", " + _WARP_TEXT if warp or precomputed.has_warp else ""
    return f"""\
The T1w image was registered to the template {template}, first affinely by maximising the
normalised cross-correlation inside the template's brain mask from many initial poses{nonlinear}.
"""


def _given_text(template: str, precomputed: Precomputed, serves: str = "") -> str:
    """Which transforms were taken over, and what for."""
    joined = ""
    if precomputed.template not in ("", template):
        joined = f", joined with a registration of that template to {template},"
    return (
        f"Transforms of the T1w image to the template {precomputed.template or template} that were "
        f"computed before{precomputed.by}{joined} were used{serves}.\n"
    )


def _add_affine(workflow: Workflow, images: dict[str, Any], precomputed: Precomputed) -> pe.Node:
    """Node with the affine matrix, computed or taken."""
    buffer = pe.Node(niu.IdentityInterface(fields=["affine"]), name="affine_buffer")
    if precomputed.affine is not None:
        buffer.inputs.affine = str(precomputed.affine)
        return buffer
    affine = pe.Node(FitAffine(**images), name="affine", mem_gb=1.0, n_procs=images["n_threads"])
    inputnode = workflow.get_node("inputnode")
    workflow.connect([
        (inputnode, affine, [("t1w_preproc", "in_file"), ("stripped", "stripped")]),
        (affine, buffer, [("affine", "affine")]),
    ])  # fmt:skip
    return buffer


def _add_warp(workflow: Workflow, images: dict[str, Any], precomputed: Precomputed) -> pe.Node:
    """Node with both directions of the nonlinear transform, computed or taken."""
    buffer = pe.Node(niu.IdentityInterface(fields=["forward", "inverse"]), name="warp_buffer")
    if precomputed.has_warp and not precomputed.is_foreign:
        buffer.inputs.forward = str(precomputed.forward)
        buffer.inputs.inverse = str(precomputed.inverse)
        return buffer
    warp = pe.Node(FitWarp(**images), name="warp", mem_gb=2.0, n_procs=images["n_threads"])
    workflow.connect([
        (workflow.get_node("inputnode"), warp, [("t1w_preproc", "in_file")]),
        (workflow.get_node("affine_buffer"), warp, [("affine", "affine")]),
        (warp, buffer, [("forward", "forward"), ("inverse", "inverse")]),
    ])  # fmt:skip
    return buffer


def init_norm_apply_wf(template: Path, *, name: str = "norm_apply_wf") -> Workflow:
    """Resample a T1w image and its mask onto a template.

    Parameters
    ----------
    template : Path
        Image whose grid is wanted.
    name : str
        Name of the workflow.

    Inputs
    ------
    t1w_preproc, mask
        Image and brain mask on the T1w's grid.
    xfm
        Transform, nonlinear or affine.

    Outputs
    -------
    t1w_std, mask_std
        Both on the template's grid.
    """
    workflow = Workflow(name=name)
    inputnode = pe.Node(
        niu.IdentityInterface(fields=["t1w_preproc", "mask", "xfm"]), name="inputnode"
    )
    outputnode = pe.Node(niu.IdentityInterface(fields=["t1w_std", "mask_std"]), name="outputnode")
    image = pe.Node(
        Resample(reference=str(template), standard=True, out_name="t1w_std.nii.gz"),
        name="t1w_std",
        mem_gb=1.0,
    )
    mask = pe.Node(
        Resample(
            reference=str(template),
            interpolation="nearest",
            dtype="uint8",
            standard=True,
            out_name="mask_std.nii.gz",
        ),
        name="mask_std",
        mem_gb=1.0,
    )
    workflow.connect([
        (inputnode, image, [("t1w_preproc", "in_file"), ("xfm", "transforms")]),
        (inputnode, mask, [("mask", "in_file"), ("xfm", "transforms")]),
        (image, outputnode, [("out_file", "t1w_std")]),
        (mask, outputnode, [("out_file", "mask_std")]),
    ])  # fmt:skip
    return workflow
