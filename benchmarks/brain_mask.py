"""Dice overlap of the app's brain masks with reference label maps or reference brains.

``python benchmarks/brain_mask.py OUTPUT_DIR REFERENCE_DIR``: every NIfTI of REFERENCE_DIR whose
name begins with the participant's label is a reference (brain = value above zero). The reference is
closed by 4 mm and its holes are filled, because label maps leave sulci and ventricles out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bidsapp_brainage.segmentation.overlap import dice

CLOSING_MM = 4.1


def filled(mask: np.ndarray, zooms: np.ndarray) -> np.ndarray:
    """Close a mask by :data:`CLOSING_MM` and fill its holes."""
    margin = int(np.ceil(CLOSING_MM / zooms.min())) + 2
    padded = np.pad(mask, margin)
    wide = ndimage.distance_transform_edt(~padded, sampling=zooms) <= CLOSING_MM
    closed = ndimage.distance_transform_edt(wide, sampling=zooms) > CLOSING_MM
    inner = (slice(margin, -margin),) * 3
    return np.asarray(ndimage.binary_fill_holes(closed)[inner] | mask)


def overlap(mask_path: Path, reference_path: Path) -> float:
    """Return the overlap of one mask with one reference on the same grid (up to flips)."""
    mask = np.asarray(nib.load(mask_path).dataobj) > 0
    reference = nib.as_closest_canonical(nib.load(reference_path))
    zooms = np.linalg.norm(reference.affine[:3, :3], axis=0)
    hull = filled(np.asarray(reference.dataobj) > 0, zooms)
    return dice(mask, hull)


def main() -> None:
    """Print one line per person, then the mean, median and range."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("reference_dir", type=Path)
    args = parser.parse_args()
    scores = []
    for reference in sorted(args.reference_dir.glob("*.nii.gz")):
        label = reference.name.split("_")[0]
        masks = sorted(args.output_dir.glob(f"{label}/**/anat/{label}_desc-brain_mask.nii.gz"))
        if masks:
            scores.append(overlap(masks[0], reference))
            print(f"{label}\t{scores[-1]:.4f}")
    if not scores:
        parser.error("no brain mask of a referenced participant")
    print(
        f"n = {len(scores)}, mean {np.mean(scores):.4f}, median {np.median(scores):.4f}, "
        f"range {min(scores):.4f} to {max(scores):.4f}"
    )


if __name__ == "__main__":
    main()
