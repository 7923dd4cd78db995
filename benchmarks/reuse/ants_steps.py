"""Anatomy of a head by steps of ANTs, in the order in which sMRIPrep takes them.

fMRIPrep itself needs programs of FSL and ANTs and a download of templates. These steps are of ANTs
too (antspyx, which only this benchmark needs: ``pip install antspyx``): N4, a brain mask by
registration to a template and a segmentation inside it, tissue in three classes, SyN with local
correlation. Other than in sMRIPrep, brain extraction starts from the mask of MNI152NLin2009cAsym
instead of OASIS, Atropos replaces FSL's FAST, all works at 2 mm, and SyN ends at 3 mm.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from .layout import Anatomy

COARSE_MM, FINE_MM, WORK_MM = 4.0, 3.0, 2.0
BIDS_ORDER = {"GM": 2, "WM": 3, "CSF": 1}  # classes of Atropos, darkest first


def anatomy(t1w: Path, template: Path, template_mask: Path, raw: str) -> Anatomy:
    """All that :class:`.layout.Anatomy` holds, of one T1w image.

    Parameters
    ----------
    t1w : Path
        Whole head.
    template, template_mask : Path
        Brain of the template and its mask.
    raw : str
        Path of the image in its dataset.
    """
    import ants

    image = nib.as_closest_canonical(nib.load(t1w))
    fixed, inside = ants.image_read(str(template)), ants.image_read(str(template_mask))
    with TemporaryDirectory() as name:
        start = Path(name) / "t1w.nii.gz"
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj, np.float32), image.affine), start)
        head = ants.iMath(ants.image_read(str(start)), "TruncateIntensity", 0.01, 0.999, 256)
        coarse = _at(ants, head, WORK_MM)
        steps = {"iters": [50, 50, 50, 50], "tol": 1e-6}
        field = ants.n4_bias_field_correction(coarse, convergence=steps, return_bias_field=True)
        native = _like(ants, field, head)
        native[native <= 0] = 1.0  # voxels at the border, outside of the coarse grid
        head, coarse = head / native, coarse / field
        mask = _brain_mask(ants, coarse, fixed, inside)
        found = ants.atropos(a=coarse, x=mask, i="kmeans[3]", m="[0.1,1x1x1]", c="[5,0]")
        files = _normalise(ants, coarse * mask, fixed, inside, Path(name))
        kept = {key: Path(f"{t1w.name}.{key}.h5").absolute() for key in files}
        for key, path in files.items():
            path.rename(kept[key])
    tissues = {
        name: _nifti(_like(ants, found["probabilityimages"][number - 1], head), image)
        for name, number in BIDS_ORDER.items()
    }
    classes = np.rint(_like(ants, found["segmentation"], head, "nearestNeighbor").numpy())
    order = np.array([0, 3, 1, 2], dtype=np.uint8)  # CSF, GM, WM of Atropos -> 3, 1, 2 of BIDS
    inner = _like(ants, mask, head).numpy() >= 0.5
    return Anatomy(
        t1w=_nifti(head, image),
        mask=nib.Nifti1Image(inner.astype(np.uint8), image.affine),
        dseg=nib.Nifti1Image(order[classes.astype(int)], image.affine),
        tissues=tissues,
        to_template=kept["forward"],
        to_t1w=kept["inverse"],
        raw=(raw,),
    )


def _at(ants: Any, image: Any, spacing: float, *, labels: bool = False) -> Any:
    return ants.resample_image(image, (spacing,) * 3, use_voxels=False, interp_type=int(labels))


def _like(ants: Any, image: Any, target: Any, interpolation: str = "linear") -> Any:
    return ants.resample_image_to_target(image, target, interp_type=interpolation)


def _brain_mask(ants: Any, head: Any, fixed: Any, inside: Any) -> Any:
    """The template's mask, and inside it grown by 2 voxels what Atropos calls grey or white."""
    coarse, coarse_mask = _at(ants, fixed, COARSE_MM), _at(ants, inside, COARSE_MM, labels=True)
    found = ants.registration(
        coarse, head, "SyN", mask=coarse_mask, aff_iterations=(500, 250, 0, 0),
        reg_iterations=(40, 20, 0), random_seed=1,
    )  # fmt: skip
    moved = ants.apply_transforms(head, inside, found["invtransforms"], "nearestNeighbor",
                                  whichtoinvert=[True, False])  # fmt: skip
    wide = ants.iMath(moved, "MD", 2)
    classes = ants.atropos(a=head, x=wide, i="kmeans[3]", m="[0.1,1x1x1]", c="[3,0]")
    tissue = np.asarray(classes["segmentation"].numpy()) >= 2
    opened = ndimage.binary_opening(tissue, iterations=2)
    parts, _ = ndimage.label(opened)
    largest = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    together = largest | (np.asarray(ants.iMath(moved, "ME", 5).numpy()) > 0)
    closed = ndimage.binary_closing(np.pad(together, 8), iterations=5)[8:-8, 8:-8, 8:-8]
    return head.new_image_like(ndimage.binary_fill_holes(closed).astype(np.float32))


def _normalise(ants: Any, brain: Any, fixed: Any, inside: Any, folder: Path) -> dict[str, Path]:
    """SyN with cross-correlation; both composite transforms as antsRegistration writes them."""
    target, target_mask = _at(ants, fixed, FINE_MM), _at(ants, inside, FINE_MM, labels=True)
    found = ants.registration(
        target, brain, "SyN", mask=target_mask, syn_metric="CC", syn_sampling=4,
        aff_iterations=(500, 250, 100, 0), reg_iterations=(40, 20, 5), random_seed=1,
        outprefix=f"{folder}/norm_", write_composite_transform=True,
    )  # fmt: skip
    return {"forward": Path(found["fwdtransforms"]), "inverse": Path(found["invtransforms"])}


def _nifti(image: Any, like: nib.Nifti1Image, dtype: type = np.float32) -> nib.Nifti1Image:
    return nib.Nifti1Image(np.asarray(image.numpy()).astype(dtype), like.affine)
