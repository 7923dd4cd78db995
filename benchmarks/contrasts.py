"""Versions of T1w images of other contrast, noise, position or resolution, of the same people.

``python -m benchmarks.contrasts BIDS_DIR OUT --masks FOLDER``: writes one BIDS dataset per version
to ``OUT/KIND``, on which the app is run with ``--explain none``; then ``brainage-model evaluate
MODEL original=DERIVATIVES --robustness KIND DERIVATIVES_OF_KIND ...`` prints how much predictions
change, and the slope on true age. FOLDER holds, anywhere below, ``*_desc-brain_mask.nii.gz`` of
the app or label maps ``*_dseg.nii.gz`` in the image's space. The same input gives the same output.

:func:`contrast_version` changes arrays that are aligned already: hundreds of versions cost no
registration.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to, resample_to_output
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.tissue import three_levels

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]

RATIOS = {"ratio70": 0.70, "ratio775": 0.775, "ratio85": 0.85}  # grey over white matter
GAMMAS = {"gamma07": 0.7, "gamma14": 1.4}
NOISE = 0.04  # SD of Rician noise, as a part of white matter
TILT_DEGREES = 20.0
BIAS = 0.25  # SD of the logarithm of the field inside the brain
KINDS = (*RATIOS, *GAMMAS, "noise4", "bias", "stripped", "tilt20", "resampled")
_COARSE_MM = 1.5  # images with larger voxels are made finer, others coarser
_FINE, _COARSE = 1.0, 2.0  # mm, of resampled images


def contrast_version(t1w: Volume, mask: Mask, kind: str, rng: np.random.Generator) -> Volume:
    """Return another version of a T1w array, shape (D, H, W) as the input.

    Parameters
    ----------
    t1w : ndarray
        Intensities from 0, white matter brighter than grey, grey brighter than fluid.
    mask : ndarray of bool
        Brain mask on the same grid.
    kind : str
        One of ``KINDS``. ``tilt20`` and ``resampled`` turn or shift the grid and bring it back:
        what interpolation leaves of them after a perfect registration.
    rng : numpy.random.Generator
        Source of the noise and of the bias field.

    Raises
    ------
    DataError
        Unknown kind, empty mask, or a brain of one intensity.
    """
    if kind in ("tilt20", "resampled"):
        change = _half_voxel_shift if kind == "resampled" else tilted
        there = change(t1w, 1.0)
        return change(there, -1.0)
    return changed_intensities(t1w, mask, kind, rng)


def changed_intensities(t1w: Volume, mask: Mask, kind: str, rng: np.random.Generator) -> Volume:
    """Change intensities alone; parameters as of :func:`contrast_version`."""
    if not mask.any():
        raise DataError("The brain mask is empty: there is nothing to read the contrast from.")
    values = np.maximum(np.asarray(t1w, dtype=np.float32), 0)
    if kind == "stripped":
        return np.where(mask, values, np.float32(0))
    fluid, grey, white = three_levels(values[mask])
    if kind in RATIOS:
        return grey_white_curve((fluid, grey, white), RATIOS[kind])(values)
    if kind in GAMMAS:
        return np.asarray(white * (values / white) ** GAMMAS[kind], dtype=np.float32)
    if kind == "noise4":
        real, imaginary = NOISE * white * rng.standard_normal((2, *values.shape))
        return np.hypot(values + real, imaginary).astype(np.float32)
    if kind == "bias":
        return (values * _bias_field(mask, rng)).astype(np.float32)
    raise DataError(f"There is no version {kind}: choose from {', '.join(KINDS)}.")


def grey_white_curve(
    levels: tuple[float, float, float], ratio: float
) -> Callable[[NDArray[np.floating]], Volume]:
    """Smooth rising curve that makes grey matter ``ratio`` times as bright as white matter.

    Fluid and white matter stay where they are, and so does what is much darker or brighter. Voxels
    with a part of two tissues move by about their part of grey matter.
    """
    fluid, grey, white = levels
    target = ratio * white
    if not fluid < target < white:
        raise DataError(f"Fluid is brighter than {ratio} of white matter: the image is no T1w.")
    outside = (white - fluid) / 4
    x = [fluid - outside, fluid, grey, white, white + outside]
    curve = PchipInterpolator(x, [x[0], fluid, target, white, x[-1]], extrapolate=False)

    def bend(values: NDArray[np.floating]) -> Volume:
        bent = curve(np.asarray(values, dtype=np.float64))
        return np.where(np.isfinite(bent), bent, values).astype(np.float32)

    return bend


def tilted(
    t1w: NDArray[np.floating], sign: float = 1.0, zooms: Sequence[float] = (1, 1, 1)
) -> Volume:
    """Nod the head by ``TILT_DEGREES`` about the middle of the grid (first axis: left-right)."""
    angle = np.radians(sign * TILT_DEGREES)
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix = np.diag(1 / np.asarray(zooms)) @ turn @ np.diag(zooms)
    middle = (np.array(t1w.shape) - 1) / 2
    moved = ndimage.affine_transform(
        np.asarray(t1w, dtype=np.float32), matrix, middle - matrix @ middle, order=3
    )
    return np.asarray(np.maximum(moved, 0), dtype=np.float32)


def image_version(
    image: nib.Nifti1Image, mask: Mask, kind: str, rng: np.random.Generator
) -> nib.Nifti1Image:
    """Another version of a whole image in RAS; the mask is on its grid."""
    values = np.asarray(image.dataobj, dtype=np.float32)
    zooms = np.linalg.norm(image.affine[:3, :3], axis=0)
    if kind == "resampled":
        return _resampled(nib.Nifti1Image(np.maximum(values, 0), image.affine), zooms)
    if kind == "tilt20":
        return nib.Nifti1Image(tilted(values, 1.0, zooms.tolist()), image.affine)
    return nib.Nifti1Image(changed_intensities(values, mask, kind, rng), image.affine)


def write_versions(
    dataset: Path, out: Path, masks: Path, kinds: Sequence[str] = KINDS, people: int = 0
) -> list[Path]:
    """Write a BIDS dataset per version of (the first ``people`` people of) a dataset.

    Raises
    ------
    DataError
        No T1w image, or no mask of a person.
    """
    paths = sorted(dataset.glob("sub-*/**/*_T1w.nii*"))
    if not paths:
        raise DataError(f"{dataset} has no T1w image.")
    labels = sorted({path.name.split("_")[0] for path in paths})[: people or None]
    written = []
    for path in (path for path in paths if path.name.split("_")[0] in labels):
        image = nib.as_closest_canonical(io.load_nifti(path))
        mask = _mask_for(path, image, masks)
        for kind in kinds:
            # the seed depends on person and version alone, not on what else is written
            rng = np.random.default_rng(zlib.crc32(f"{path.name} {kind}".encode()))
            target = out / kind / path.relative_to(dataset)
            io.save_nifti(image_version(image, mask, kind, rng), target)
            written.append(target)
    for kind in kinds:
        facts = {"Name": f"{dataset.name}, {kind}", "BIDSVersion": "1.9.0", "DatasetType": "raw"}
        io.write_json(out / kind / "dataset_description.json", facts)
        if (dataset / "participants.tsv").is_file():
            table = io.read_tsv(dataset / "participants.tsv")
            table = table[table["participant_id"].isin(labels)]
            io.write_tsv(out / kind / "participants.tsv", table)
    return written


def _mask_for(path: Path, image: nib.Nifti1Image, masks: Path) -> Mask:
    """Mask of a T1w image on its grid; of its own scan where the names tell."""
    person = path.name.split("_")[0]
    found = [
        other
        for pattern in ("*_desc-brain_mask.nii.gz", "*_dseg.nii.gz")
        for other in sorted(masks.rglob(f"{person}_{pattern}"))
        if "space-MNI" not in other.name
    ]
    if not found:
        raise DataError(f"{masks} has no brain mask or label map of {person}.")
    scan = path.name.split(".")[0].removesuffix("_T1w")
    own = [other for other in found if other.name.startswith(f"{scan}_")]
    mask = nib.as_closest_canonical(io.load_nifti((own or found)[0]))
    binary = nib.Nifti1Image((np.asarray(mask.dataobj) > 0).astype(np.uint8), mask.affine)
    on_grid = resample_from_to(binary, image, order=0)
    return np.asarray(on_grid.dataobj) > 0


def _resampled(image: nib.Nifti1Image, zooms: NDArray[np.floating]) -> nib.Nifti1Image:
    """Coarse voxels made fine by interpolation, or fine ones coarse by averaging."""
    if zooms.max() > _COARSE_MM:
        finer = resample_to_output(image, _FINE, order=3)
    else:
        sigma = np.sqrt(np.maximum(_COARSE**2 - zooms**2, 0)) / (2.355 * zooms)
        smooth = ndimage.gaussian_filter(np.asarray(image.dataobj), sigma)
        finer = resample_to_output(nib.Nifti1Image(smooth, image.affine), _COARSE, order=1)
    values = np.maximum(np.asarray(finer.dataobj, dtype=np.float32), 0)
    return nib.Nifti1Image(values, finer.affine)


def _half_voxel_shift(t1w: NDArray[np.floating], sign: float) -> Volume:
    shift = [0.5 * sign] * 3
    return np.asarray(ndimage.shift(np.asarray(t1w, dtype=np.float32), shift, order=1))


def _bias_field(mask: Mask, rng: np.random.Generator) -> Volume:
    """Smooth field of mean 1 inside the mask: a random polynomial of degree 2 in every axis."""
    axes = [np.linspace(-1, 1, size, dtype=np.float32) for size in mask.shape]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    weights = rng.standard_normal(9)
    terms = (x, y, z, x * y, y * z, x * z, x**2, y**2, z**2)
    field = np.zeros(mask.shape, np.float32)
    for weight, term in zip(weights, terms, strict=True):
        field = field + np.float32(weight) * term
    field = BIAS * (field - field[mask].mean()) / field[mask].std()
    field = np.exp(np.clip(field, -1.0, 1.0))
    return np.asarray(field / field[mask].mean(), dtype=np.float32)


def main(arguments: list[str] | None = None) -> int:
    """Write the versions and print where they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--people", type=int, default=0, help="only the first so many")
    args = parser.parse_args(arguments)
    written = write_versions(args.bids_dir, args.out, args.masks, args.kinds, args.people)
    print(f"{len(written)} images below {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
