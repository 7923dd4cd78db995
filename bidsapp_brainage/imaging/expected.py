"""What measures of quality are expected to be: limits of the checks, and values of other people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Lower and upper limit; None where there is none.
Limits = tuple[float | None, float | None]

# Affinely aligned scans of healthy adults correlate with the template at 0.44 to 0.66 inside its
# brain mask (141 of IXI; ds000011 lies within); noise and wrong organs stay near zero. Good masks
# and the first weights of muse2mm agree at 0.961 to 0.979 (25 scans of IXI, ds000011, ds002748);
# masks cut or grown by 4 to 10 mm at 0.917 to 0.954, half a mask at 0.89.
# Masks by steps of ANTs lie 1.2 to 2.0 mm inside the app's own (7 people of ds000011), and their
# transforms 2.4 to 2.7 mm from its (2 of them, benchmarks.reuse): limits leave as much again.
# Half a millimetre of the edge of a mask moves ages by one to two years (benchmarks.reuse.masks).
#: Beyond these the quality checks warn.
WARN: Mapping[str, Limits] = MappingProxyType(
    {
        "template_correlation": (0.45, None),
        "mask_overlap_dice": (0.88, None),
        "dice_mask_segmentation": (0.95, None),
        "mask_edge_mm": (-0.5, 0.5),
        "given_mask_edge_mm": (-3.5, 2.0),
        "given_xfm_mm": (None, 6.0),
        "tissues_found": (3, None),
        "fov_clipped_fraction": (None, 0.02),
        "resolution_mm": (None, 3.0),
        "n_nan": (None, 0),
        "n_orientations": (1, None),
        "sform_qform_mm": (None, 1.0),
    }
)
#: Beyond these they fail.
FAIL: Mapping[str, Limits] = MappingProxyType(
    {
        "template_correlation": (0.30, None),
        "mask_overlap_dice": (0.75, None),
        "dice_mask_segmentation": (0.50, None),
    }
)


@dataclass(frozen=True)
class Norm:
    """Logarithm of the brain volume (ml): value from 12 to 25 years, slopes before and after, SD.

    The slopes are by year.
    """

    level: float
    childhood: float
    adulthood: float
    sd: float

    def mean(self, ages: ArrayLike) -> NDArray[np.float64]:
        """Mean logarithm of the volume (ml) at ages (years), shape (n_ages,)."""
        return shape_of_ages(ages) @ np.array([self.level, self.childhood, self.adulthood])


#: By sex. Fitted to MaskVol of FreeSurfer (whole brain with the fluid in it) of 2,166 people of 48
#: datasets of OpenNeuroDerivatives (CC0, PDDL) by `python -m scripts.expected_quality volumes`; the
#: app's masks of 163 people of IXI, ds002748 and ds000011 lie around it (`masks`).
NORMS: Mapping[str, Norm] = MappingProxyType(
    {
        "F": Norm(7.24341, 0.00989, -0.00198, 0.07884),
        "M": Norm(7.35585, 0.02098, -0.00113, 0.08040),
    }
)
_OLDEST, _YOUNGEST = 90.0, 3.0  # years
_WIDE = 4.0  # SD: one of those people is so far off


def shape_of_ages(ages: ArrayLike) -> NDArray[np.float64]:
    """Columns of the design of :class:`Norm` for ages (years): one, childhood, adulthood."""
    years = np.minimum(np.atleast_1d(np.asarray(ages, dtype=float)), _OLDEST)
    return np.column_stack(
        [np.ones(len(years)), np.minimum(years - 12, 0), np.maximum(years - 25, 0)]
    )


def brain_volume_limits(age: float | None, sex: str) -> Limits:
    """Smallest and largest brain volume (ml) to be expected.

    Parameters
    ----------
    age : float or None
        Years. Where it is not known the limits are those of all ages from 3 to 90; of younger
        children nothing is known, and there are none.
    sex : str
        ``F`` or ``M``; with anything else the limits of both hold.
    """
    if age is not None and age < _YOUNGEST:
        return None, None
    ages = [_YOUNGEST, 12.0, _OLDEST] if age is None else [age]
    wanted = [NORMS[sex]] if sex in NORMS else list(NORMS.values())
    low = min(norm.mean(ages).min() - _WIDE * norm.sd for norm in wanted)
    high = max(norm.mean(ages).max() + _WIDE * norm.sd for norm in wanted)
    return float(np.exp(low)), float(np.exp(high))


#: Columns of the limits of the brain volume.
VOLUME_LIMITS = ("brain_volume_min_ml", "brain_volume_max_ml")
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
#: These quantiles in people whose scans were good. They are no limits: another scanner has other
#: values. 7 people of ds000011 (voxels of 1.3 mm), 16 of ds002748 (1 mm) and 18 of IXI (2 mm), by
#: `python -m scripts.expected_quality ranges`.
REFERENCE_PEOPLE = "41 adults, three scanners"
REFERENCE: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "cnr": (5.008, 5.15, 5.327, 5.511, 5.702, 6.003, 6.071),
        "snr": (14.29, 14.5, 15.17, 15.83, 17.41, 18.65, 19.49),
        "efc": (0.2595, 0.2643, 0.2792, 0.4969, 0.5498, 0.5863, 0.6013),
        "fber": (221.6, 348, 508.1, 1065, 1562, 1759, 1893),
        "wm2max": (0.5117, 0.5286, 0.5695, 0.6069, 0.8061, 0.832, 0.8426),
        "inhomogeneity": (0.03375, 0.04085, 0.04884, 0.06544, 0.08874, 0.09956, 0.1035),
        "mask_overlap_dice": (0.9209, 0.9224, 0.935, 0.9483, 0.9531, 0.9627, 0.9644),
        "template_correlation": (0.3901, 0.5499, 0.581, 0.5996, 0.6236, 0.6467, 0.6826),
        "registration_mi": (1.016, 1.031, 1.034, 1.038, 1.041, 1.045, 1.053),
    }
)


def reference_percentile(name: str, value: float) -> float | None:
    """Where a value lies among the reference people, from 0 to 100; None for other measures."""
    if name not in REFERENCE:
        return None
    return float(np.interp(value, REFERENCE[name], 100 * np.array(QUANTILES)))


def expected(row: Mapping[str, object], name: str) -> Limits:
    """Limits between which the quality checks say nothing; None where nothing is checked.

    `row` is that of ``*_qc.tsv``, in which the limits of the brain volume stand themselves.
    """
    if name != "brain_volume_ml":
        return WARN.get(name, (None, None))
    low, high = (row.get(end) for end in VOLUME_LIMITS)
    return _number(low), _number(high)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value == value else None


def outside(value: float, limits: Limits) -> bool:
    """Whether a value lies beyond its limits."""
    low, high = limits
    return (low is not None and value < low) or (high is not None and value > high)
