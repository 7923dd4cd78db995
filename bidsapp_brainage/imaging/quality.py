"""Whether a scan and its registration are good enough to believe the predicted age.

Image measures follow MRIQC (Esteban 2017, PLoS ONE 12:e0184661); they are computed from three
intensity classes inside the brain mask and from the air around the head.
"""

from __future__ import annotations

from typing import Any, TypedDict

import nibabel as nib
import numpy as np
from scipy import ndimage

from bidsapp_brainage.errors import DataError

from .conform import ImageFacts

# Affinely aligned scans of healthy adults correlate with the template at 0.44 to 0.66 inside its
# brain mask (141 of IXI; ds000011 lies within); noise and wrong organs stay near zero.
FAIL_CORRELATION = 0.30
WARN_CORRELATION = 0.45
FAIL_DICE = 0.75
WARN_DICE = 0.88
WARN_VOLUME_ML = (900.0, 2100.0)
WARN_CLIPPED = 0.02
WARN_RESOLUTION_MM = 3.0
# Good masks and the first weights of muse2mm agree at 0.961 to 0.979 (25 scans of IXI, ds000011,
# ds002748); masks cut or grown by 4 to 10 mm at 0.917 to 0.954, half a mask at 0.89.
FAIL_SEGMENTATION_DICE = 0.50
WARN_SEGMENTATION_DICE = 0.95
TISSUES = 3


class SegmentationFacts(TypedDict):
    """Second opinion on the brain mask; see :class:`bidsapp_brainage.segmentation.segment`."""

    dice_mask_segmentation: float
    tissues_found: int


def quality_metrics(
    conformed: nib.Nifti1Image,
    corrected: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    facts: ImageFacts,
    registration: dict[str, float],
    segmentation: SegmentationFacts | None = None,
) -> dict[str, Any]:
    """Return the columns of ``*_qc.tsv``.

    `conformed` and `corrected` are the T1w before and after bias correction, `mask` the brain mask
    on the same grid, `facts` from :func:`~.conform.conform_t1w` and `registration` from
    :func:`~.registration.registration_quality`, `segmentation` the second opinion on
    the mask, where there is one. A metric is None where it cannot be computed, such as noise
    measures of a stripped image; ``decision`` is ``pass``, ``warn`` or ``fail``.
    """
    raw = np.asarray(conformed.dataobj, dtype=np.float32)
    data = np.asarray(corrected.dataobj, dtype=np.float32)
    inside = np.asarray(mask.dataobj) > 0
    voxel_ml = float(abs(np.linalg.det(mask.affine[:3, :3]))) / 1000.0
    row: dict[str, Any] = {
        **_noise_metrics(data, inside),
        "inhomogeneity": _inhomogeneity(raw, data, inside),
        "brain_volume_ml": float(inside.sum()) * voxel_ml,
        **{key: registration[key] for key in _REGISTRATION_KEYS},
        "input_intensity_p1": float(np.percentile(raw[inside], 1)),
        "p50": float(np.percentile(raw[inside], 50)),
        "p99": float(np.percentile(raw[inside], 99)),
        "dice_mask_segmentation": None,
        "tissues_found": None,
        **(segmentation or {}),
        "edge_contact": _edge_contact(inside),
        "n_nan": facts["n_nan"],
        "resolution_mm": max(facts["resolution_mm"]),
    }
    row["decision"], row["decision_reason"] = decide(row)
    return row


_REGISTRATION_KEYS = (
    "mask_overlap_dice",
    "template_correlation",
    "registration_mi",
    "fov_clipped_fraction",
)


def decide(row: dict[str, Any]) -> tuple[str, str]:
    """Return ``pass``, ``warn`` or ``fail`` with the reasons in plain words (``n/a`` if none)."""
    low, high = WARN_VOLUME_ML
    dice, tissues = row["dice_mask_segmentation"], row["tissues_found"]
    failures = {
        "does not resemble the template": row["template_correlation"] < FAIL_CORRELATION,
        "brain mask does not overlap the template's": row["mask_overlap_dice"] < FAIL_DICE,
        "no brain inside the brain mask": dice is not None and dice < FAIL_SEGMENTATION_DICE,
    }
    warnings = {
        "weak resemblance to the template": row["template_correlation"] < WARN_CORRELATION,
        "brain mask overlaps the template's poorly": row["mask_overlap_dice"] < WARN_DICE,
        "brain mask and segmentation disagree": dice is not None and dice < WARN_SEGMENTATION_DICE,
        "grey matter, white matter or fluid not found": tissues is not None and tissues < TISSUES,
        "unusual brain volume": not low <= row["brain_volume_ml"] <= high,
        "brain cut by the field of view": row["fov_clipped_fraction"] > WARN_CLIPPED,
        "coarse voxels": row["resolution_mm"] > WARN_RESOLUTION_MM,
        "NaN or infinite voxels set to zero": row["n_nan"] > 0,
    }
    for decision, reasons in (("fail", failures), ("warn", warnings)):
        if any(reasons.values()):
            return decision, "; ".join(reason for reason, applies in reasons.items() if applies)
    return "pass", "n/a"


def mask_doubt(dice: float | None) -> str:
    """How brain mask and segmentation disagree, in words; empty if they do not.

    `dice` is the column ``dice_mask_segmentation``; None without a segmentation.
    """
    if dice is None or not dice < WARN_SEGMENTATION_DICE:
        return ""
    return f"overlap (Dice) {dice:.2f}, expected at least {WARN_SEGMENTATION_DICE:.2f}"


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


def _noise_metrics(data: np.ndarray, inside: np.ndarray) -> dict[str, float | None]:
    brain = data[inside]
    white = float(np.percentile(brain, 80))
    gray_mask = (brain > 0.45 * white) & (brain < 0.8 * white)
    white_mask = (brain > 0.9 * white) & (brain < 1.15 * white)
    spread = float(np.std(brain[white_mask])) if white_mask.any() else 0.0
    gray = float(np.mean(brain[gray_mask])) if gray_mask.any() else float("nan")
    air = _air(data, inside)
    noise = float(np.std(data[air])) if air.any() else 0.0
    maximum = float(np.percentile(data, 99.95))
    energy = float(np.mean(data[air] ** 2)) if air.any() else 0.0
    return {
        "cnr": _ratio(abs(white - gray), float(np.hypot(spread, noise))),
        "snr": _ratio(float(np.mean(brain[white_mask])) if white_mask.any() else 0.0, spread),
        "efc": _entropy_focus(data),
        "fber": _ratio(float(np.mean(brain**2)), energy),
        "wm2max": _ratio(white, maximum),
    }


def _ratio(a: float, b: float) -> float | None:
    return float(a / b) if b > 0 and np.isfinite(a) else None


def _air(data: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return air around the head: outside the foreground, and not an exact zero fill."""
    threshold = 0.1 * float(np.percentile(data[inside], 50))
    head = ndimage.binary_fill_holes(ndimage.binary_dilation(data > threshold, iterations=2))
    return np.asarray(~head & (data > 0))


def _entropy_focus(data: np.ndarray) -> float | None:
    total = float(np.sqrt(np.sum(data.astype(np.float64) ** 2)))
    if total <= 0:
        return None
    share = data[data > 0].astype(np.float64) / total
    largest = np.sqrt(data.size) * np.log(1.0 / np.sqrt(data.size))
    return float(np.sum(share * np.log(share + 1e-16)) / largest)


def _inhomogeneity(raw: np.ndarray, data: np.ndarray, inside: np.ndarray) -> float | None:
    usable = inside & (raw > 0) & (data > 0)
    if not usable.any():
        return None
    field = raw[usable] / data[usable]
    return float(np.std(field) / np.mean(field))


def _edge_contact(inside: np.ndarray) -> float:
    """Return the fraction of the six faces of the image that the mask touches."""
    faces = [inside.take(i, axis=axis).any() for axis in range(3) for i in (0, -1)]
    return float(np.mean(faces))
