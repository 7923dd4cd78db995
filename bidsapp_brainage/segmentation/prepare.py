"""The input of any model from an image, its mask and its registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from bidsapp_brainage.imaging.network_input import Tissue, head_input, model_input
from bidsapp_brainage.model.specs import InputSpec, needs_segmentation, sees_raw_images

from .alignment import aligned
from .card import EMBEDDED, find_segmentation, load_mean_tissue, load_network
from .quick import quick_brain
from .segment import segment

if TYPE_CHECKING:
    from bidsapp_brainage.model.cards import ModelCard
    from bidsapp_brainage.model.prediction import Prediction


def segmentation_name(input_spec: InputSpec) -> str:
    """Name of the segmentation that a model was made with; else the embedded one."""
    return input_spec.get("segmentation", EMBEDDED)


def prepared_input(
    t1w: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    affine: np.ndarray,
    input_spec: InputSpec,
    *,
    n_threads: int | None = None,
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Make what a network sees, with a segmentation where the model asks for one.

    Models of raw images use neither mask nor affine (:func:`raw_input`). Parameters, results and
    errors are those of :func:`bidsapp_brainage.imaging.network_input.model_input`.
    """
    if sees_raw_images(input_spec):
        return raw_input(t1w, input_spec, n_threads=n_threads)
    tissue: Tissue | None = None
    if needs_segmentation(input_spec):
        card = find_segmentation(segmentation_name(input_spec))
        found = segment(t1w, mask, affine, load_network(card), card, n_threads=n_threads)
        tissue, affine = aligned(found, load_mean_tissue(card))
    return model_input(t1w, mask, affine, input_spec, tissue=tissue)


def raw_input(
    t1w: nib.Nifti1Image, input_spec: InputSpec, *, n_threads: int | None = None
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Make what a model of raw images sees.

    Parameters
    ----------
    t1w : nibabel.Nifti1Image
        From :func:`bidsapp_brainage.imaging.conform.conform_t1w`.
    input_spec : dict
        The card's ``input``; its ``registration`` is ``quick`` or ``none``.
    n_threads : int, optional
        CPU threads of the segmentation; None leaves torch's setting alone.

    Returns
    -------
    volume, inside : nibabel.Nifti1Image
        The network's input, float32; on its grid the regions of the segmentation, or where the
        image shows anything.

    Raises
    ------
    DataError
        The image shows no brain, or nothing.
    """
    if not needs_segmentation(input_spec):
        volume = head_input(t1w, input_spec)
        shown = (np.asarray(volume.dataobj) > 0).astype(np.uint8)
        return volume, nib.Nifti1Image(shown, volume.affine)
    card = find_segmentation(segmentation_name(input_spec))
    found = quick_brain(t1w, load_network(card), card, load_mean_tissue(card), n_threads=n_threads)
    brain = found.segmentation.brain.astype(np.uint8)
    mask = nib.Nifti1Image(brain, found.t1w.affine)
    return model_input(found.t1w, mask, np.eye(4), input_spec, tissue=found.segmentation.tissue)


def raw_prediction(
    t1w: nib.Nifti1Image, card: ModelCard, *, n_threads: int | None = None
) -> Prediction:
    """Predict from a conformed T1w by a model of raw images; errors are those of `raw_input`."""
    from bidsapp_brainage.model.networks.regional import for_brain
    from bidsapp_brainage.model.prediction import predict
    from bidsapp_brainage.model.weights.loading import load_members

    volume, inside = raw_input(t1w, card.input, n_threads=n_threads)
    members = for_brain(load_members(card), np.asarray(inside.dataobj).astype(np.int16))
    return predict(members, np.asarray(volume.dataobj), card, n_threads=n_threads)
