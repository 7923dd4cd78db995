"""Which flags a result gets, each with its reason in plain words.

What the flags mean stands in :mod:`bidsapp_brainage.catalogue.flags`; here is one check for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bidsapp_brainage.catalogue.flags import FLAGS
from bidsapp_brainage.model.bias_correction import GAP_LIMIT_SD, BiasCorrection, correct_gap
from bidsapp_brainage.model.cards import AgeCard
from bidsapp_brainage.model.plausibility.reference import Distance

EDGE_MASS = 0.2  # more than this in the first or last bin: the true age may lie outside the bins


@dataclass(frozen=True)
class Raised:
    """A flag and why it was raised."""

    key: str
    reason: str


@dataclass(frozen=True)
class Findings:
    """What the checks look at; None where something is not known.

    Attributes
    ----------
    card : AgeCard
    predicted : float or None
        Years; None of a model that predicts no age.
    edge_mass : float
        Larger probability of the first and the last age bin.
    disagreement : float or None
        SD (years) over the networks that answer together.
    distance : Distance or None
        From the training people.
    stripped_source : bool
        The image was skull-stripped before it was processed.
    interval : tuple of two floats, or None
        95 % interval (years).
    age : float or None
        Chronological age (years).
    correction : BiasCorrection or None
        Line and spread of the predictions for reference people.
    mask_doubt : str
        How brain mask and segmentation disagree; empty if they do not.
    fast_age : float or None
        What a model of raw images says (years).
    missing : str
        Regions that the model sees and that are not known; empty if there are none.
    """

    card: AgeCard
    predicted: float | None
    edge_mass: float = 0.0
    disagreement: float | None = None
    distance: Distance | None = None
    stripped_source: bool = False
    interval: tuple[float, float] | None = None
    age: float | None = None
    correction: BiasCorrection | None = None
    mask_doubt: str = ""
    fast_age: float | None = None
    missing: str = ""


def raised(findings: Findings) -> tuple[Raised, ...]:
    """Flags of a result in the order of the catalogue."""
    found = ((card.key, CHECKS[card.key](findings)) for card in FLAGS)
    return tuple(Raised(key, reason) for key, reason in found if reason)


def _stripped_source(findings: Findings) -> str:
    knows = findings.card.input.get("stripped_sources", True)
    return "skull-stripped before the app" if findings.stripped_source and not knows else ""


def _out_of_range(findings: Findings) -> str:
    if findings.predicted is None:
        return ""
    return _outside("predicted age", findings.predicted, findings.card)


def _edge_mass(findings: Findings) -> str:
    if findings.edge_mass <= EDGE_MASS:
        return ""
    return f"{100 * findings.edge_mass:.0f} % of the probability in the first or last age bin"


def _member_disagreement(findings: Findings) -> str:
    limit = findings.card.calibration.get("member_sd_limit")
    if limit is None or findings.disagreement is None or findings.disagreement <= limit:
        return ""
    return (
        f"ages of members differ by an SD of {findings.disagreement:.1f} years, limit {limit:.1f}"
    )


def _unlike_training(findings: Findings) -> str:
    if findings.distance is None or findings.distance.value <= 1:
        return ""
    far, unusual = findings.distance.value, findings.distance.unusual
    most = f" (most of all {', '.join(unusual)})" if unusual else ""
    return f"{far:.2f} times as far from the training people as allowed{most}"


def _missing_regions(findings: Findings) -> str:
    return f"not known: {findings.missing}" if findings.missing else ""


def _age_out_of_range(findings: Findings) -> str:
    if findings.age is None:
        return ""
    return _outside("chronological age", findings.age, findings.card)


def _implausible_gap(findings: Findings) -> str:
    line = findings.correction
    if findings.predicted is None or findings.age is None:
        return ""
    if line is None or not line.residual_sd:
        return ""
    gap = correct_gap(findings.predicted, findings.age, line)
    assert gap is not None
    if abs(gap) <= GAP_LIMIT_SD * line.residual_sd:
        return ""
    return (
        f"predicted {abs(gap):.1f} years {'above' if gap > 0 else 'below'} what is expected at "
        f"{findings.age:.1f} years, {abs(gap) / line.residual_sd:.1f} SD of reference people"
    )


def _age_outside_interval(findings: Findings) -> str:
    if findings.age is None or findings.interval is None:
        return ""
    low, high = findings.interval
    if low <= findings.age <= high:
        return ""
    return f"chronological age {findings.age:.1f}, interval {low:.1f} to {high:.1f}"


def _mask_disagreement(findings: Findings) -> str:
    return findings.mask_doubt


def _fast_disagreement(findings: Findings) -> str:
    limit, raw = findings.card.calibration.get("fast_age_limit"), findings.fast_age
    if limit is None or raw is None or findings.predicted is None:
        return ""
    away = abs(findings.predicted - raw)
    if away <= limit:
        return ""
    return f"the raw image looks {raw:.1f} years old, {away:.1f} away, limit {limit:.1f}"


def _outside(what: str, age: float, card: AgeCard) -> str:
    low, high = card.age_range
    return "" if low <= age <= high else f"{what} {age:.1f}, model {low:g} to {high:g} years"


#: The reason of every flag, empty where it does not apply.
CHECKS: Mapping[str, Callable[[Findings], str]] = MappingProxyType(
    {
        "stripped_source": _stripped_source,
        "out_of_range": _out_of_range,
        "edge_mass": _edge_mass,
        "member_disagreement": _member_disagreement,
        "unlike_training": _unlike_training,
        "missing_regions": _missing_regions,
        "age_out_of_range": _age_out_of_range,
        "implausible_gap": _implausible_gap,
        "age_outside_interval": _age_outside_interval,
        "mask_disagreement": _mask_disagreement,
        "fast_disagreement": _fast_disagreement,
    }
)
