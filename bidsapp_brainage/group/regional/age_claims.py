"""What He et al. 2025 say of single ages, and what this sample shows in their age groups.

The paper gives its numbers in figures; what is compared are the statements of its abstract. It
names stages of life without their limits: development is taken as its youngest age group, ageing
as those from 60 years on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bidsapp_brainage.catalogue.levels import is_mean_level
from bidsapp_brainage.group.regional.claims import ALPHA, HE, MIN_PEOPLE, structure_facts
from bidsapp_brainage.group.regional.levels import Level, scaled_importance
from bidsapp_brainage.stats import lifespan
from bidsapp_brainage.stats.regional import regions

_CONTRIBUTION = "absolute mean contribution"
_DEVELOPMENT, _AGEING = ("8-20",), ("60-70", "70-80")
#: Networks of which the paper reports a shape over the lifespan: how their names begin.
NETWORKS = {
    "frontoparietal": ("frontoparietal", "cont"),
    "default-mode": ("default",),
}
SHAPE = "inverted U"
_SCALED = "published importance, scaled from 0 to 1 over the networks of a person"


@dataclass(frozen=True)
class _Claim:
    """Regions that matter in some age groups, as patterns of their names or their lobe."""

    text: str
    ages: tuple[str, ...]
    pattern: str
    lobe: str = "(?!)"  # matches nothing

    def chosen(self, labels: pd.DataFrame) -> pd.Series:
        """Which regions they are, not counting white matter."""
        name = labels["name"].astype(str)
        found = name.str.contains(self.pattern, case=False, regex=True)
        if "lobe" in labels:
            lobe = labels["lobe"].astype(object).fillna("").astype(str)
            found |= lobe.str.contains(self.lobe, case=False, regex=True)
        return found & ~name.str.contains("white matter", case=False)


_FRONTAL = (r"frontal|^(?:SFG|MFG|IFG|OrG)_", r"^frontal")
_CLAIMS = (
    _Claim("regions of the frontal lobe essential in development", _DEVELOPMENT, *_FRONTAL),
    _Claim("regions of the frontal lobe essential in ageing", _AGEING, *_FRONTAL),
    _Claim(
        "thalamus among the most important, stable throughout the lifespan",
        lifespan.age_group_names(),
        r"thalam|\bTha_",
    ),
)
_TEMPORAL = _Claim(
    "lateral and medial temporal regions gradually become involved in ageing",
    (),
    r"temporal|heschl|fusiform|hippocamp|entorhinal|amygdala|"
    r"^(?:STG|MTG|ITG|FuG|PhG|pSTS|Hipp|Amyg)_",
    r"^temporal",
)


def age_claims(levels: Mapping[str, Level], ages: pd.Series) -> list[dict[str, object]]:
    """Rows of ``literature``, one per claim, measure and age group that has people.

    Parameters
    ----------
    levels : mapping of str to Level
        Contributions with the main baseline; ``region`` is among them, networks may be.
    ages : Series
        Years, by participant.
    """
    region = levels["region"]
    measures = {_CONTRIBUTION: region.matrix}
    importance = regions.person_matrix(region.rows, region.name, "nosa_importance")
    importance = importance.reindex(columns=region.matrix.columns).dropna(how="all")
    if len(importance):
        measures["published NOSA importance"] = importance
    labels = region.labels.set_index(region.matrix.columns)
    rows = [
        row
        for claim in _CLAIMS
        for measure, matrix in measures.items()
        for row in _by_group(claim, measure, matrix, region, ages)
    ]
    rows += (_growing(measure, matrix, labels, ages) for measure, matrix in measures.items())
    return [*rows, *_shapes(levels.get("network"), ages)]


def _by_group(
    claim: _Claim, measure: str, matrix: pd.DataFrame, region: Level, ages: pd.Series
) -> Iterator[dict[str, object]]:
    labels = region.labels.set_index(region.matrix.columns)
    groups = lifespan.age_group(ages).reindex(matrix.index)
    for name in claim.ages:
        people = matrix[groups == name]
        size = people.mean().abs().dropna()
        if len(size):
            facts = {"study": HE, "claim": claim.text, "measure": measure, "age_group": name}
            chosen = claim.chosen(labels).reindex(size.index)
            stable = _stable(region, people.index) if measure == _CONTRIBUTION else None
            yield facts | structure_facts(
                size, chosen, labels["name"].astype(str), len(people), stable=stable
            )


def _stable(region: Level, people: pd.Index) -> pd.Series:
    """Whether the mean of these people has the same sign with every baseline, by region."""
    return region.stable(lambda matrix: matrix.reindex(people).mean())


def _growing(
    measure: str, matrix: pd.DataFrame, labels: pd.DataFrame, ages: pd.Series
) -> dict[str, object]:
    """Whether temporal regions rank higher in older people: a percentile for each person."""
    chosen = _TEMPORAL.chosen(labels)
    row: dict[str, object] = {
        "study": HE,
        "claim": _TEMPORAL.text,
        "regions": "; ".join(labels.loc[chosen, "name"].astype(str)) or None,
        "n_regions": int(chosen.sum()),
        "measure": f"Spearman correlation of their mean percentile with age, by {measure}",
        "verdict": "cannot tell",
    }
    share = 100 * matrix.abs().rank(axis="columns", pct=True)
    table = pd.DataFrame(
        {"age": ages.reindex(matrix.index), "share": share.loc[:, chosen].mean(axis="columns")}
    )
    return row | _correlation(table.dropna())


def _correlation(table: pd.DataFrame) -> dict[str, object]:
    if len(table) < MIN_PEOPLE or table.nunique().min() < 2:
        return {}
    found = stats.spearmanr(table["age"], table["share"])
    facts: dict[str, object] = {"value": float(found.statistic)}
    if found.pvalue < ALPHA:
        facts["verdict"] = "agrees" if found.statistic > 0 else "differs"
    return facts


def _shapes(network: Level | None, ages: pd.Series) -> Iterable[dict[str, object]]:
    """Curves over age of the published measure, of networks occluded as one if there are any."""
    if network is None:
        return
    scaled = scaled_importance(network).dropna(how="all")
    age = ages.reindex(scaled.index).to_numpy(dtype=np.float64)
    for words, beginnings in NETWORKS.items():
        names = scaled.columns.astype(str).str.casefold()
        for name in scaled.columns[[text.startswith(beginnings) for text in names]]:
            row: dict[str, object] = {
                "study": HE,
                "claim": f"{words} contribution follows an {SHAPE} over the lifespan",
                "regions": str(name),
                "n_regions": 1,
                "measure": f"{_SCALED}{_how(network)}: p of curvature, as value",
                "verdict": "cannot tell",
            }
            curve = lifespan.curve(age, scaled[name].to_numpy(dtype=np.float64))
            if curve is not None:
                row["value"] = curve.p_nonlinear
                if curve.p_nonlinear < ALPHA:
                    row["verdict"] = "agrees" if curve.concave else "differs"
            yield row


def _how(network: Level) -> str:
    """Said where nobody's networks were occluded as one."""
    return ", mean over their regions" if is_mean_level(network.name) else ""


def reported_shape(network: object) -> str:
    """What the abstract reports of a network's contribution over the lifespan; may be empty.

    Examples
    --------
    >>> reported_shape("Frontoparietal"), reported_shape("Visual")
    ('inverted U', '')
    """
    name = str(network).casefold()
    return SHAPE if any(name.startswith(beginnings) for beginnings in NETWORKS.values()) else ""
