"""Whether a scan and its registration are good enough to believe the predicted age.

Image measures follow MRIQC (Esteban 2017, PLoS ONE 12:e0184661); they are computed from three
intensity classes inside the brain mask and from the air around the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import nibabel as nib
import numpy as np

from bidsapp_brainage.catalogue.flags import QUALITY_CHECKS, QualityCheck
from bidsapp_brainage.errors import DataError

from .conform import ImageFacts
from .distance import box_around, filled, grown
from .expected import FAIL, VOLUME_LIMITS, WARN, brain_volume_limits, expected, outside


class Opinions(TypedDict, total=False):
    """Columns from other sources; None where there are none.

    The first two are those of :func:`bidsapp_brainage.segmentation.segment.segment`, the others of
    files of other programs (:class:`bidsapp_brainage.interfaces.reuse.CompareGiven`).
    """

    dice_mask_segmentation: float | None
    tissues_found: int | None
    mask_edge_mm: float | None
    given_mask_edge_mm: float | None
    given_xfm_mm: float | None
    given_gm_ml: float | None
    given_wm_ml: float | None
    given_csf_ml: float | None


def quality_metrics(
    conformed: nib.Nifti1Image,
    corrected: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    facts: ImageFacts,
    registration: dict[str, float],
    opinions: Opinions | None = None,
    *,
    age: float | None = None,
    sex: str = "n/a",
) -> dict[str, Any]:
    """Return the columns of ``*_qc.tsv``.

    `conformed` and `corrected` are the T1w before and after bias correction, `mask` the brain mask
    on the same grid, `facts` from :func:`~.conform.conform_t1w` and `registration` from
    :func:`~.registration.registration_quality`, `opinions` on the mask and on files of other
    programs, where there are some. Limits of the brain volume depend on `age` (years) and `sex`
    (``F`` or ``M``), as far as they are known. A metric is None where it cannot be computed, such
    as noise measures of a stripped image; ``decision`` is ``pass``, ``warn`` or ``fail``.
    """
    # No measure depends on the order of the axes: as the voxels lie in memory is fastest by far.
    data = np.asarray(corrected.dataobj, dtype=np.float32).T
    inside = np.asarray(mask.dataobj).T > 0
    box = box_around(inside, np.zeros(3, dtype=int))
    raw_brain = np.asarray(conformed.dataobj, dtype=np.float32).T[box][inside[box]]
    brain = data[box][inside[box]]
    voxel_ml = float(abs(np.linalg.det(mask.affine[:3, :3]))) / 1000.0
    row: dict[str, Any] = {
        **_noise_metrics(data, brain),
        "inhomogeneity": _inhomogeneity(raw_brain, brain),
        "brain_volume_ml": float(brain.size) * voxel_ml,
        **dict(zip(VOLUME_LIMITS, brain_volume_limits(age, sex), strict=True)),
        **{key: registration[key] for key in _REGISTRATION_KEYS},
        **dict(zip(_LEVELS, np.percentile(raw_brain, (1, 50, 99)).tolist(), strict=True)),
        **dict.fromkeys(Opinions.__annotations__),
        **(opinions or {}),
        "edge_contact": _edge_contact(inside),
        "n_nan": facts["n_nan"],
        "resolution_mm": max(facts["resolution_mm"]),
        "sform_code": facts["sform_code"],
        "qform_code": facts["qform_code"],
        "n_orientations": facts["n_orientations"],
        "sform_qform_mm": facts["sform_qform_mm"],
    }
    row["decision"], row["decision_reason"] = decide(row)
    return row


def tissue_volumes(tissues: Mapping[str, nib.Nifti1Image]) -> dict[str, float]:
    """Volumes (ml) of tissues from their probabilities, or masks, by name."""
    return {
        name: float(np.asarray(image.dataobj, dtype=np.float64).sum())
        * float(abs(np.linalg.det(image.affine[:3, :3])))
        / 1000.0
        for name, image in tissues.items()
    }


def tissues_of_classes(dseg: nib.Nifti1Image, t1w: nib.Nifti1Image) -> dict[str, nib.Nifti1Image]:
    """Masks of fluid, grey and white matter in a segmentation with three classes.

    The number of a class differs between programs and their versions, so they are told apart by
    their mean intensity in a T1w on the same grid: fluid is darkest, white matter brightest.

    Raises
    ------
    DataError
        There are not three classes, or the grids differ.
    """
    classes, data = np.asarray(dseg.dataobj).astype(int), np.asarray(t1w.dataobj, dtype=np.float32)
    found = [int(value) for value in np.unique(classes) if value > 0]
    if len(found) != 3 or classes.shape != data.shape:
        raise DataError(
            f"a segmentation into three tissues on the grid of the T1w was expected, not "
            f"{len(found)} classes in {' x '.join(map(str, classes.shape))} voxels"
        )
    found.sort(key=lambda value: float(data[classes == value].mean()))
    return {
        name: nib.Nifti1Image((classes == value).astype(np.uint8), dseg.affine)
        for name, value in zip(("CSF", "GM", "WM"), found, strict=True)
    }


_LEVELS = ("input_intensity_p1", "p50", "p99")
_REGISTRATION_KEYS = (
    "mask_overlap_dice",
    "template_correlation",
    "registration_mi",
    "fov_clipped_fraction",
)


def decide(row: dict[str, Any]) -> tuple[str, str]:
    """Return ``pass``, ``warn`` or ``fail`` with the reasons in plain words (``n/a`` if none)."""
    for decision in ("fail", "warn"):
        checks = [check for check in QUALITY_CHECKS if check.decision == decision]
        reasons = [check.reason for check in checks if _beyond(row, check)]
        if reasons:
            return decision, "; ".join(reasons)
    return "pass", "n/a"


def _beyond(row: Mapping[str, Any], check: QualityCheck) -> bool:
    name, value = check.column, row[check.column]
    limits = FAIL[name] if check.decision == "fail" else expected(row, name)
    return value is not None and outside(value, limits)


def mask_doubt(dice: float | None) -> str:
    """How brain mask and segmentation disagree, in words; empty if they do not.

    `dice` is the column ``dice_mask_segmentation``; None without a segmentation.
    """
    limits = WARN["dice_mask_segmentation"]
    if dice is None or not outside(dice, limits):
        return ""
    return f"overlap (Dice) {dice:.2f}, expected at least {limits[0]:.2f}"


def usable_quality(decision: str, reason: str, label: str) -> str:
    """Return the decision (of :func:`decide`) on an image, called `label`, that may get an age.

    Raises
    ------
    DataError
        The image failed.
    """
    if decision == "fail":
        raise DataError(
            f"{label}: the quality control failed ({reason}), so no age is predicted. Look at "
            "brain mask and registration in the report; if the image is no T1w of a whole brain, "
            "exclude it, else give `skull_strip` or `derivatives`."
        )
    return str(decision)


def _noise_metrics(data: np.ndarray, brain: np.ndarray) -> dict[str, float | None]:
    """Measures of noise and contrast; `brain` are the values of the image in the brain mask."""
    white = float(np.percentile(brain, 80))
    gray_values = brain[(brain > 0.45 * white) & (brain < 0.8 * white)]
    white_values = brain[(brain > 0.9 * white) & (brain < 1.15 * white)]
    spread = float(np.std(white_values)) if white_values.size else 0.0
    gray = float(np.mean(gray_values)) if gray_values.size else float("nan")
    air = _air(data, 0.1 * float(np.percentile(brain, 50)))
    noise = float(np.std(air)) if air.size else 0.0
    maximum = float(np.percentile(data.ravel(order="K"), 99.95))
    energy = float(np.mean(air**2)) if air.size else 0.0
    return {
        "cnr": _ratio(abs(white - gray), float(np.hypot(spread, noise))),
        "snr": _ratio(float(np.mean(white_values)) if white_values.size else 0.0, spread),
        "efc": _entropy_focus(data),
        "fber": _ratio(float(np.mean(brain**2)), energy),
        "wm2max": _ratio(white, maximum),
    }


def _ratio(a: float, b: float) -> float | None:
    return float(a / b) if b > 0 and np.isfinite(a) else None


def _air(data: np.ndarray, threshold: float) -> np.ndarray:
    """Return values of air around the head: outside of what is brighter, and no exact zero fill."""
    head = filled(grown(data > threshold, 2))
    return np.asarray(data[~head & (data > 0)])


def _entropy_focus(data: np.ndarray) -> float | None:
    """Entropy focus criterion (Atkinson 1997, IEEE TMI 16:903), relative to the largest one."""
    power, information, amount = 0.0, 0.0, 0.0
    for part in data:  # slices, because an image of logarithms would leave the cache
        values = part[part > 0]
        power += float(np.dot(values, values))
        information += float(np.dot(values, np.log(values)))
        amount += float(values.sum())
    if power <= 0:
        return None
    total = np.sqrt(power)
    largest = np.sqrt(data.size) * np.log(1.0 / np.sqrt(data.size))
    return float((information - amount * np.log(total)) / total / largest)


def _inhomogeneity(raw: np.ndarray, corrected: np.ndarray) -> float | None:
    """Relative SD of the bias field in the brain, from its values before and after correction."""
    usable = (raw > 0) & (corrected > 0)
    if not usable.any() or np.array_equal(raw, corrected):  # corrected by another program
        return None
    field = raw[usable] / corrected[usable]
    return float(np.std(field) / np.mean(field))


def _edge_contact(inside: np.ndarray) -> float:
    """Return the fraction of the six faces of the image that the mask touches."""
    faces = [np.moveaxis(inside, axis, 0)[i].any() for axis in range(3) for i in (0, -1)]
    return float(np.mean(faces))
