"""A simulated second modality of real people, as inputs to learn from.

There is no T2w of the people that the embedded model was trained on. Their reference label maps
give a T2w-like image each: one level of intensity per region, an uneven field, blur and noise, and
nothing of the real T1w. It lies beside the inputs that were made from the real T1w::

    python -m benchmarks.second_modality PACKED INPUTS OUT --name both2mm

PACKED is what ``brainage-model segmentation train`` packs (label maps and where they lie), INPUTS
holds inputs with their regions (``*_desc-sfcn2mminput_T1w.nii.gz`` and ``_dseg``), which become
links in OUT under another name. People without a label map have no second modality.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bidsapp_brainage.imaging.registration import refine_affine
from bidsapp_brainage.io import load_nifti, save_nifti
from bidsapp_brainage.model.intensity import scale_intensity
from bidsapp_brainage.segmentation.card import find_segmentation, load_mean_tissue
from bidsapp_brainage.training.data.cohort import regions_path
from bidsapp_brainage.training.segmentation.subjects import load_subject
from bidsapp_brainage.training.segmentation.synthesis import Subject, from_labels

T2W_LEVELS = ((0.85, 1.0), (0.5, 0.65), (0.3, 0.45))  # fluid, grey and white matter
SEED = 15


def t2w_like(
    subject: Subject, regions: nib.Nifti1Image, key: str
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """A T2w-like image of a person on the grid of the aligned inputs, and the label map there.

    The label map is aligned to the mean tissue of many people, as the app aligns what it segments.
    """
    card = find_segmentation("muse2mm")
    labels = card.labels
    rng = np.random.default_rng([SEED, zlib.crc32(key.encode())])
    levels = tuple(rng.uniform(*bounds) for bounds in T2W_LEVELS)
    own = labels.classes(subject.label_map)
    image = from_labels(own, labels, levels, rng)  # type: ignore[arg-type]
    grid = regions.affine
    before = _placed(own, subject.to_label_map, regions.shape, order=0)
    units = np.clip(labels.tissues[before], 0, None).astype(np.float32)
    moved = refine_affine(nib.Nifti1Image(units, grid), load_mean_tissue(card))
    matrix = subject.to_label_map @ np.linalg.inv(grid) @ moved @ grid
    shown = _placed(image, matrix, regions.shape, order=1)
    there = labels.indices[_placed(own, matrix, regions.shape, order=0)].astype(np.int16)
    return nib.Nifti1Image(shown, grid), nib.Nifti1Image(there, grid)


def main(arguments: list[str] | None = None) -> int:
    """Write the inputs of everybody."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("packed", type=Path)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", default="both2mm")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th person")
    options = parser.parse_args(arguments)
    found = sorted(options.inputs.glob("sub-*/anat/*_desc-sfcn2mminput_T1w.nii.gz"))
    for source in found[:: options.every]:
        name = source.name.replace("sfcn2mm", options.name)
        first = options.out / source.parent.relative_to(options.inputs) / name
        first.parent.mkdir(parents=True, exist_ok=True)
        for link, target in ((first, source), (regions_path(first), regions_path(source))):
            if not link.is_symlink():
                link.symlink_to(target.resolve())
        person = source.name.split("_")[0]
        kept = options.packed / f"{person}.npz"
        second = first.with_name(first.name.replace("_T1w.nii.gz", "_T2w.nii.gz"))
        if not kept.is_file() or second.is_file():
            continue
        regions = load_nifti(regions_path(first))
        image, there = t2w_like(load_subject(kept), regions, person)
        inside = np.asarray(regions.dataobj) > 0
        scaling = {"scaling": "brain_zscore", "clip": [-5.0, 5.0]}
        volume = scale_intensity(np.asarray(image.dataobj), inside, scaling)  # type: ignore[arg-type]
        save_nifti(nib.Nifti1Image(volume, regions.affine), second)
        same = np.asarray(there.dataobj) == np.asarray(regions.dataobj)
        print(f"{person}: {same[inside].mean():.2f} of the brain in the region of its T1w")
    return 0


def _placed(
    volume: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...], *, order: int
) -> np.ndarray:
    """A volume sampled at the voxels of another grid, whose places in it the matrix tells."""
    return np.asarray(
        ndimage.affine_transform(volume, matrix[:3, :3], matrix[:3, 3], shape, order=order)
    )


if __name__ == "__main__":
    sys.exit(main())
