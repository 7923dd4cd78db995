"""Affine and nonlinear registration of a T1w image to a template with greedy.

Greedy (Yushkevich 2016) comes as a wheel, samples every voxel (its noise is seeded) and was both
the most accurate and among the fastest tools on synthetic heads with a known deformation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from bidsapp_brainage.errors import DataError

from .conversion import (
    RAS_LPS,
    affine_from_sitk,
    affine_to_sitk,
    from_sitk,
    to_sitk,
)
from .distance import within
from .fitting.greedy import greedy
from .fitting.initialisation import best_poses
from .fitting.local_correlation import cut_to, refined
from .transforms import blurred_to, chained, points_through

GRID_MM = 2.0
AROUND_VOXELS = 2  # of the grid, left around the mask of the warp
ALIGN_MM = 5.0  # finer detail tells two brains apart
MASK_DILATION_MM = 8.0
RIM_MM = 6.0
MANY_VOXELS = 4_000_000
SEARCH_MM = 8.0  # voxels of the grid on which poses are refined
# Poses whose correlation comes this close to the best one are all refined.
AMBIGUOUS = 0.08
MIN_CORRELATION = 0.25
_OUTLINE: Mapping[int, float] = MappingProxyType({4: 4.0, 2: 2.0})  # 8 and 4 mm
_CHECKED = 2000
INVERSE_MM = 2.0  # those of ANTs and greedy miss by a tenth of it

# The scalp moves with the head, the jaw and the neck do not.
AROUND_BRAIN_MM = 10.0

# How far, in mm, a brain that lies nearly right may still be moved.
FAR_MM = 20.0

# Greedy adds a little noise to constant regions for its correlation metric and would seed it by
# the clock; with a seed the same images give the same bytes.
SEED = 20250101


@dataclass(frozen=True)
class Warp:
    """Displacements in LPS millimetres on the template's grid at 2 mm, after the affine.

    ``forward`` (X, Y, Z, 3) carries template points to affinely aligned T1w points;
    ``inverse`` undoes it.
    """

    forward: nib.Nifti1Image
    inverse: nib.Nifti1Image


def fit_affine(
    t1w: nib.Nifti1Image,
    template: nib.Nifti1Image,
    template_mask: nib.Nifti1Image,
    *,
    stripped: bool,
    n_threads: int = 1,
    sloppy: bool = False,
    seed: int = SEED,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Find the affine from a template to a T1w image.

    The metric is the correlation around every voxel of the template's brain, so that neck, face
    and scalp do not pull. Starts from the best of many poses, refined at 8 mm, unless one is given.

    Parameters
    ----------
    t1w : nibabel.Nifti1Image
        Bias-corrected 3D T1w, whole head or brain only.
    template, template_mask : nibabel.Nifti1Image
        Template T1w (brain only is enough) and brain mask on one grid.
    stripped : bool
        The T1w holds the brain only; then the mask is widened to use the brain's outline.
    n_threads : int
        Threads of greedy; the result does not depend on it beyond rounding.
    sloppy : bool
        Coarse and quick, for testing only.
    seed : int
        Seeds the little noise that greedy adds to constant regions.
    start : numpy.ndarray, optional
        4 x 4, nearly right already: no poses are tried.

    Returns
    -------
    numpy.ndarray
        4 x 4, maps template RAS mm to T1w RAS mm.

    Raises
    ------
    DataError
        No pose makes the image look like a brain.
    """
    fixed, wide, brain = _fixed(template, template_mask, (RIM_MM, 0.0))
    mask = wide if stripped else brain
    moving = _coarse(t1w)
    if start is None:
        start = _searched(fixed, wide, moving)
        if stripped:
            # The outline of a stripped brain weighs more in the correlation of all voxels than
            # around every voxel, and the embedded model learned from stripped brains that lie so.
            start = by_correlation(fixed, wide, moving, start, _OUTLINE, (8.0, 0.1), 100)
    schedule = "40x10x0" if sloppy else "100x40x10"
    finer = _greedy_affine(fixed, mask, moving, start, schedule, n_threads, seed)
    # Greedy's line search can fail and leave a start as it was, or worse.
    affine = max((start, finer), key=lambda fit: similarity(fixed, mask, moving, fit))
    score = similarity(fixed, mask, moving, affine)
    if not score >= MIN_CORRELATION:
        raise DataError(
            f"Nothing in the image resembles a brain (correlation with the template {score:.2f}, "
            f"at least {MIN_CORRELATION:.2f} needed). Look at the image: it may be noise, another "
            "body part or another contrast than T1w."
        )
    return affine


def _searched(fixed: sitk.Image, wide: sitk.Image, moving: sitk.Image) -> np.ndarray:
    """The best affine at 8 mm, from whatever pose."""
    poses = best_poses(*(from_sitk(image) for image in (moving, fixed, wide)))
    starts = [pose.matrix for pose in poses if pose.score > poses[0].score - AMBIGUOUS]
    return refined(fixed, wide, moving, starts, SEARCH_MM)


def fit_rigid(moving: nib.Nifti1Image, fixed: nib.Nifti1Image, mask: nib.Nifti1Image) -> np.ndarray:
    """Find the rigid motion from one image of a head to another, of any two contrasts.

    Mattes' mutual information (2003, IEEE TMI 22:120) of the voxels within 10 mm of the brain, at
    8 and 4 mm, from the scanner's coordinates and from centres of mass laid on each other,
    whichever ends with more information.

    Parameters
    ----------
    moving : nibabel.Nifti1Image
        3D image that is to be resampled, bias-corrected.
    fixed, mask : nibabel.Nifti1Image
        3D image, bias-corrected, and brain mask on its grid.

    Returns
    -------
    numpy.ndarray
        4 x 4, maps RAS mm of `fixed` to RAS mm of `moving`.

    Raises
    ------
    DataError
        The images do not overlap.
    """
    zooms = np.linalg.norm(mask.affine[:3, :3], axis=0)
    near = within(np.asarray(mask.dataobj) > 0, zooms, AROUND_BRAIN_MM)
    target, image = (_coarse(one) for one in (fixed, moving))
    where = sitk.Resample(
        to_sitk(nib.Nifti1Image(near.astype(np.uint8), mask.affine), np.uint8),
        target, sitk.Transform(), sitk.sitkNearestNeighbor, 0,
    )  # fmt: skip
    fits = [_rigid(target, where, image, centred=centred) for centred in (False, True)]
    found = [fit for fit in fits if fit is not None]
    if not found:
        raise DataError(
            "The image does not overlap with the T1w of this session in the scanner's coordinates, "
            "nor if both are centred: look at the headers of both."
        )
    return min(found, key=lambda fit: fit[0])[1]


def _rigid(
    fixed: sitk.Image, mask: sitk.Image, moving: sitk.Image, *, centred: bool
) -> tuple[float, np.ndarray] | None:
    """Metric and matrix of one attempt; None if the images do not overlap."""
    transform = sitk.Euler3DTransform()
    inside = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0).mean(axis=0)[::-1]
    transform.SetCenter(mask.TransformContinuousIndexToPhysicalPoint(inside.tolist()))
    if centred:
        moments = sitk.CenteredTransformInitializerFilter.MOMENTS
        transform = sitk.Euler3DTransform(
            sitk.CenteredTransformInitializer(fixed, moving, transform, moments)
        )
    method = _whole_image_method(mask)
    method.SetMetricAsMattesMutualInformation(32)
    # information changes little per millimetre: the optimiser's own tolerance ends it at once
    method.SetOptimizerAsRegularStepGradientDescent(4.0, 0.02, 100, 0.7, 1e-8)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([4, 2])
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
    method.SetInitialTransform(transform, True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # too few voxels map into the moving image
        return None
    parts = transform.GetMatrix(), transform.GetTranslation(), transform.GetCenter()
    return method.GetMetricValue(), affine_from_sitk(sitk.AffineTransform(*parts))


def refine_affine(moving: nib.Nifti1Image, fixed: nib.Nifti1Image) -> np.ndarray:
    """Find the affine that is left between two images with the same values, by least squares.

    Parameters
    ----------
    moving, fixed : nibabel.Nifti1Image
        On one grid, nearly aligned, 0 outside the brain.

    Returns
    -------
    numpy.ndarray
        4 x 4, maps RAS mm of `fixed` to RAS mm of `moving`; the identity where nothing fits better
        than it, or where a part of the brain would be moved by more than :data:`FAR_MM`.
    """
    inside = ndimage.binary_dilation(np.asarray(fixed.dataobj) > 0, iterations=2)
    mask = to_sitk(nib.Nifti1Image(inside.astype(np.uint8), fixed.affine), np.uint8)
    target, image = (_smoothed(to_sitk(one), ALIGN_MM) for one in (fixed, moving))
    method = _whole_image_method(mask)
    method.SetMetricAsMeanSquares()
    method.SetOptimizerAsConjugateGradientLineSearch(1.0, 100, 1e-6, 8)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([max(1, round(ALIGN_MM / min(target.GetSpacing())))])
    method.SetSmoothingSigmasPerLevel([0])
    center = nib.affines.apply_affine(fixed.affine, (np.array(fixed.shape) - 1) / 2)
    transform = affine_to_sitk(np.eye(4), center=(RAS_LPS[:3, :3] @ center).tolist())
    before = method.MetricEvaluate(target, image)
    method.SetInitialTransform(transform, True)
    try:
        method.Execute(target, image)
    except RuntimeError:  # the optimiser lost the image
        return np.eye(4)
    found = affine_from_sitk(transform)
    points = nib.affines.apply_affine(fixed.affine, np.argwhere(inside))
    far = np.linalg.norm(nib.affines.apply_affine(found, points) - points, axis=1).max()
    return found if far <= FAR_MM and method.GetMetricValue() < before else np.eye(4)


def fit_warp(
    t1w: nib.Nifti1Image,
    template: nib.Nifti1Image,
    template_mask: nib.Nifti1Image,
    affine: np.ndarray,
    *,
    n_threads: int = 1,
    sloppy: bool = False,
    seed: int = SEED,
) -> Warp:
    """Find the nonlinear part of the normalisation (greedy diffeomorphic, local correlation, 2 mm).

    Parameters
    ----------
    t1w, template, template_mask, n_threads, sloppy, seed
        As for :func:`fit_affine`.
    affine : numpy.ndarray
        Its result, 4 x 4.

    Returns
    -------
    Warp
        Displacement fields on the template's grid resampled to 2 mm.
    """
    grid, near = _fixed(template, template_mask, (MASK_DILATION_MM,))
    # Greedy's metric runs over the whole grid: the air around the brain costs as much as the brain.
    fixed, mask = (cut_to(near, image, AROUND_VOXELS) for image in (grid, near))
    moving = _smoothed(to_sitk(robust_range(t1w)), GRID_MM)
    # with fewer steps at 2 mm masks lose a hundredth of their volume, and ages move by years
    schedule = "20x10x0" if sloppy else "50x40x15"
    with greedy(seed, single_precision=True) as (run, folder):
        _write_matrix(folder / "affine.mat", affine)
        run(
            f"-i fixed moving -gm mask -m NCC 2x2x2 -n {schedule} -s 2vox 1vox "
            f"-it {folder}/affine.mat -o forward -threads {n_threads} -V 0",
            fixed=fixed, moving=moving, mask=mask, forward=None,
        )  # fmt: skip
        forward = _widened(run.output("forward"), grid)
    return Warp(forward=from_sitk(forward), inverse=from_sitk(_inverted(forward)))


def _widened(field: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """A field on a larger grid of the same voxels: what it does at its sides goes on outside."""
    first = grid.TransformPhysicalPointToIndex(field.GetOrigin())
    sizes = zip(first, field.GetSize(), grid.GetSize(), strict=True)
    around = [(low, whole - low - size) for low, size, whole in sizes]
    values = np.pad(sitk.GetArrayViewFromImage(field), [*around[::-1], (0, 0)], mode="edge")
    wide = sitk.GetImageFromArray(values.astype(np.float64), isVector=True)
    wide.CopyInformation(grid)
    return wide


def _inverted(field: sitk.Image) -> sitk.Image:
    """Invert a displacement field, to a hundredth of a mm on average."""
    invert = sitk.InvertDisplacementFieldImageFilter()
    invert.SetNumberOfThreads(1)
    invert.SetMaximumNumberOfIterations(12)
    invert.SetMeanErrorToleranceThreshold(0.001)
    invert.SetMaxErrorToleranceThreshold(0.01)
    invert.SetEnforceBoundaryCondition(False)
    return invert.Execute(field)


def nearest_affine(
    forward: sitk.Transform,
    inverse: sitk.Transform,
    template: nib.Nifti1Image,
    template_mask: nib.Nifti1Image,
) -> np.ndarray:
    """Return the affine with the least squared distance from a transform inside a brain.

    Parameters
    ----------
    forward, inverse : SimpleITK.Transform
        From points of the template to points of the T1w, and back (LPS mm, as ITK has them).
    template, template_mask : nibabel.Nifti1Image
        Brain and brain mask of the template on one grid.

    Returns
    -------
    numpy.ndarray
        4 x 4, template RAS mm to T1w RAS mm.

    Raises
    ------
    DataError
        The two are not each other's inverse: inside of the brain they miss by more than
        ``INVERSE_MM`` in the median.
    """
    grid, start, brain = _places(template, template_mask)
    missed = _missed(chained(forward, inverse), start[brain])
    if not missed <= INVERSE_MM:
        raise DataError(
            f"there and back miss by {missed:.1f} mm (median in the brain; at most "
            f"{INVERSE_MM:g}): one is not the inverse of the other"
        )
    known = np.column_stack([start[brain], np.ones(int(brain.sum()))])
    there = points_through(grid, forward)[brain]
    affine = np.eye(4)
    affine[:3] = np.linalg.lstsq(known, there, rcond=None)[0].T
    return affine


def warp_after(
    affine: np.ndarray,
    forward: sitk.Transform,
    inverse: sitk.Transform,
    template: nib.Nifti1Image,
    template_mask: nib.Nifti1Image,
) -> Warp:
    """Write what any pair of transforms does beyond an affine as :func:`fit_warp` does.

    Parameters
    ----------
    affine : numpy.ndarray
        4 x 4, template RAS mm to T1w RAS mm.
    forward, inverse, template, template_mask
        As for :func:`nearest_affine`.

    Returns
    -------
    Warp
        Sampled at 2 mm; with the affine it leads where the pair does.
    """
    grid, start, _ = _places(template, template_mask)
    there = points_through(grid, forward)
    moved = nib.affines.apply_affine(np.linalg.inv(affine), there) - start
    undone = points_through(grid, chained(affine_to_sitk(affine), inverse)) - start
    fields = (nib.Nifti1Image(field @ RAS_LPS[:3, :3], grid.affine) for field in (moved, undone))
    return Warp(*fields)


def distance_between(
    first: sitk.Transform, second: sitk.Transform, template_mask: nib.Nifti1Image
) -> float:
    """Return how far two transforms lead the brain of a template apart: mm, on average.

    Parameters
    ----------
    first, second : SimpleITK.Transform
        From points of the template to points of the T1w (LPS mm).
    template_mask : nibabel.Nifti1Image
        Brain mask of the template.
    """
    grid, _, brain = _places(template_mask, template_mask)
    there, other = (points_through(grid, xfm)[brain] for xfm in (first, second))
    return float(np.linalg.norm(there - other, axis=1).mean())


def _places(
    template: nib.Nifti1Image, template_mask: nib.Nifti1Image
) -> tuple[nib.Nifti1Image, np.ndarray, np.ndarray]:
    """The template at 2 mm, its points (RAS mm), and which of them lie in the brain."""
    fixed, inside = _on_grid(template, template_mask)
    grid = from_sitk(fixed)
    points = nib.affines.apply_affine(grid.affine, np.moveaxis(np.indices(grid.shape), 0, -1))
    return grid, points, sitk.GetArrayViewFromImage(inside).T > 0


def _missed(back_and_forth: sitk.Transform, points: np.ndarray) -> float:
    """Median distance (mm) by which some of the points (RAS mm) do not come back to themselves."""
    some = points[:: max(1, len(points) // _CHECKED)] @ RAS_LPS[:3, :3]
    there = np.array([back_and_forth.TransformPoint(point) for point in some.tolist()])
    return float(np.median(np.linalg.norm(there - some, axis=1)))


def resemblance(
    t1w: nib.Nifti1Image, template: nib.Nifti1Image, template_mask: nib.Nifti1Image,
    affine: np.ndarray,
) -> float:  # fmt: skip
    """Return the correlation of a T1w brought by an affine with a template, inside its brain."""
    fixed, inside = _on_grid(template, template_mask)
    return similarity(fixed, inside, _smoothed(to_sitk(robust_range(t1w)), GRID_MM), affine)


def registration_quality(
    t1w: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    template: nib.Nifti1Image,
    template_mask: nib.Nifti1Image,
    affine: np.ndarray,
) -> dict[str, float]:
    """Measure how well the affinely aligned T1w fits the template (what the network relies on).

    `affine` is the result of :func:`fit_affine`, `mask` the T1w's own brain mask.

    Returns
    -------
    dict
        ``template_correlation`` (Pearson, inside the template's mask), ``registration_mi``
        (normalised mutual information there), ``mask_overlap_dice`` and
        ``fov_clipped_fraction`` (part of the template's brain outside the image).
    """
    fixed, inside_mask = _on_grid(template, template_mask)
    moving = _smoothed(to_sitk(robust_range(t1w)), GRID_MM)
    transform = affine_to_sitk(affine)
    inside = sitk.GetArrayViewFromImage(inside_mask) > 0
    image = _on(fixed, moving, transform, fill=-1.0)[inside]
    clipped = image < 0
    image[clipped] = 0
    brain = nib.Nifti1Image((np.asarray(mask.dataobj) > 0).astype(np.float32), mask.affine)
    own = _on(fixed, to_sitk(brain), transform) >= 0.5
    reference = sitk.GetArrayFromImage(fixed)[inside]
    return {
        "template_correlation": correlation(reference, image),
        "registration_mi": mutual_information(reference, image),
        "mask_overlap_dice": float(2 * (own & inside).sum() / max(1, own.sum() + inside.sum())),
        "fov_clipped_fraction": float(np.mean(clipped)),
    }


def _on(
    grid: sitk.Image, image: sitk.Image, transform: sitk.Transform, fill: float = 0.0
) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.Resample(image, grid, transform, sitk.sitkLinear, fill))


def mutual_information(a: np.ndarray, b: np.ndarray, bins: int = 64) -> float:
    """Return Studholme's normalised mutual information of two samples (1 to 2)."""
    joint = np.histogram2d(a, b, bins=bins)[0]
    joint /= max(joint.sum(), 1.0)

    def entropy(p: np.ndarray) -> float:
        p = p[p > 0]
        return float(-(p * np.log(p)).sum())

    together = entropy(joint)
    return (entropy(joint.sum(0)) + entropy(joint.sum(1))) / together if together > 0 else 1.0


def similarity(
    fixed: sitk.Image, mask: sitk.Image, moving: sitk.Image, affine: np.ndarray
) -> float:
    """Return the correlation of template and affinely resampled image inside ``mask``."""
    inside = sitk.GetArrayViewFromImage(mask) > 0
    resampled = _on(fixed, moving, affine_to_sitk(affine))
    return correlation(sitk.GetArrayViewFromImage(fixed)[inside], resampled[inside])


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's r of two samples, ``-inf`` when one is constant."""
    a = a - a.mean(dtype=np.float64)
    b = b - b.mean(dtype=np.float64)
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else float("-inf")


def robust_range(img: nib.Nifti1Image) -> nib.Nifti1Image:
    """Clip at the 99.5th percentile of the foreground and scale to 0-1 (float32)."""
    data = np.asarray(img.dataobj, dtype=np.float32)
    # a percentile needs no more voxels
    sample = data[::2, ::2, ::2] if data.size > MANY_VOXELS else data
    foreground = sample[sample > 0.02 * data.max()]
    some = foreground.size > 0
    high = float(np.percentile(foreground, 99.5, overwrite_input=True)) if some else 1.0
    scaled = data / high
    return nib.Nifti1Image(np.clip(scaled, 0, 1, out=scaled), img.affine)


def _fixed(
    template: nib.Nifti1Image, template_mask: nib.Nifti1Image, rims_mm: Sequence[float]
) -> list[sitk.Image]:
    """Return template and, for each rim around its brain, a metric mask at 2 mm."""
    image, brain = _on_grid(template, template_mask)
    inside = sitk.GetArrayViewFromImage(brain) > 0
    masks = [image]
    for mm in rims_mm:
        wide = within(inside, np.full(3, GRID_MM), mm).astype(np.float32)
        masks.append(sitk.GetImageFromArray(wide))
        masks[-1].CopyInformation(image)
    return masks


def _on_grid(template: nib.Nifti1Image, *masks: nib.Nifti1Image) -> list[sitk.Image]:
    """Return template and masks (float32, 0 or 1) on the template's grid at 2 mm."""
    image = _smoothed(to_sitk(template), GRID_MM)
    grid = _resized_grid(image, GRID_MM)
    out = [sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0.0)]
    for mask in masks:
        soft = (np.asarray(mask.dataobj) > 0).astype(np.float32)
        found = sitk.Resample(
            to_sitk(nib.Nifti1Image(soft, mask.affine)),
            grid,
            sitk.Transform(),
            sitk.sitkLinear,
            0.0,
        )
        out.append(sitk.Cast(sitk.BinaryThreshold(found, 0.5, 2.0), sitk.sitkFloat32))
    return out


def _resized_grid(image: sitk.Image, spacing: float) -> sitk.Image:
    old = np.array(image.GetSpacing())
    size = np.ceil(np.array(image.GetSize()) * old / spacing).astype(int)
    grid = sitk.Image(size.tolist(), sitk.sitkFloat32)
    grid.SetDirection(image.GetDirection())
    grid.SetOrigin(image.GetOrigin())
    grid.SetSpacing([spacing] * 3)
    return grid


def _coarse(t1w: nib.Nifti1Image) -> sitk.Image:
    """A T1w, 0 to 1, at 2 mm or its own voxel size if larger: twelve parameters need no more."""
    image = _smoothed(to_sitk(robust_range(t1w)), GRID_MM)
    if min(image.GetSpacing()) >= GRID_MM:
        return image
    return sitk.Resample(
        image, _resized_grid(image, GRID_MM), sitk.Transform(), sitk.sitkLinear, 0.0
    )


def _smoothed(image: sitk.Image, spacing: float) -> sitk.Image:
    zooms = np.array(image.GetSpacing())[::-1]
    out = sitk.GetImageFromArray(blurred_to(sitk.GetArrayFromImage(image), zooms, spacing))
    out.CopyInformation(image)
    return out


def by_correlation(
    fixed: sitk.Image,
    mask: sitk.Image,
    moving: sitk.Image,
    start: np.ndarray,
    levels: Mapping[int, float],
    steps_mm: tuple[float, float],
    iterations: int,
) -> np.ndarray:
    """Refine an affine by the correlation of every voxel in a mask.

    Parameters
    ----------
    fixed, mask, moving : SimpleITK.Image
        Fixed image, where on its grid to look, and the image that is laid on it.
    start : numpy.ndarray
        4 x 4, RAS mm of `fixed` to RAS mm of `moving`.
    levels : mapping of int to float
        By how much the grid is coarsened, and the SD (mm) of the smoothing then.
    steps_mm : tuple of float
        First and last step, mm.
    iterations : int
        At most, of each level.

    Returns
    -------
    numpy.ndarray
        As `start`.
    """
    method = _whole_image_method(mask)
    method.SetMetricAsCorrelation()
    method.SetOptimizerAsRegularStepGradientDescent(*steps_mm, iterations, 0.8)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(list(levels))
    method.SetSmoothingSigmasPerLevel(list(levels.values()))
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
    inside = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0).mean(axis=0)[::-1]
    center = fixed.TransformContinuousIndexToPhysicalPoint(inside.tolist())
    transform = affine_to_sitk(start, center=center)
    method.SetInitialTransform(transform, True)
    method.Execute(fixed, moving)
    return affine_from_sitk(transform)


def _whole_image_method(mask: sitk.Image) -> sitk.ImageRegistrationMethod:
    """A registration that looks at every voxel in a mask and gives the same bytes each time."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)  # threaded sums depend on the number of threads
    method.SetMetricFixedMask(sitk.Cast(mask, sitk.sitkUInt8))
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _greedy_affine(
    fixed: sitk.Image,
    mask: sitk.Image,
    moving: sitk.Image,
    start: np.ndarray,
    schedule: str,
    n_threads: int,
    seed: int,
) -> np.ndarray:
    with greedy(seed) as (run, folder):
        _write_matrix(folder / "start.mat", start)
        run(
            f"-i fixed moving -gm mask -a -dof 12 -m NCC 2x2x2 -n {schedule} "
            f"-ia {folder}/start.mat -o {folder}/out.mat -threads {n_threads} -V 0",
            fixed=fixed, moving=moving, mask=mask,
        )  # fmt: skip
        return np.loadtxt(folder / "out.mat")


def _write_matrix(path: Path, matrix: np.ndarray) -> None:
    np.savetxt(path, matrix, fmt="%.12g")
