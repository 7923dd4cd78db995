"""The input of any model from an image, its mask and its registration."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from bidsapp_brainage.imaging.network_input import Tissue, head_input, model_input
from bidsapp_brainage.model.specs import InputSpec, needs_segmentation, sees_raw_images

from .alignment import aligned
from .card import EMBEDDED, find_segmentation, load_mean_tissue, load_network
from .segment import segment


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

    Of models of raw images the second result says where the image shows anything.

    Parameters, results and errors are those of
    :func:`bidsapp_brainage.imaging.network_input.model_input`.
    """
    if sees_raw_images(input_spec):
        volume = head_input(t1w, input_spec)
        shown = (np.asarray(volume.dataobj) > 0).astype(np.uint8)
        return volume, nib.Nifti1Image(shown, volume.affine)
    tissue: Tissue | None = None
    if needs_segmentation(input_spec):
        card = find_segmentation(segmentation_name(input_spec))
        found = segment(t1w, mask, affine, load_network(card), card, n_threads=n_threads)
        tissue, affine = aligned(found, load_mean_tissue(card))
    return model_input(t1w, mask, affine, input_spec, tissue=tissue)
