"""What published studies found, and what this sample shows: by rules fixed beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bidsapp_brainage.catalogue.levels import group_level, mean_level
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.group.notes import Findings, findings
from bidsapp_brainage.group.regional.age_claims import age_claims
from bidsapp_brainage.group.regional.attributions import EVERYBODY
from bidsapp_brainage.group.regional.claims import ALPHA, HE, MIN_PEOPLE, structure_facts
from bidsapp_brainage.group.regional.levels import Level

HOFMANN = "Hofmann et al. 2022, NeuroImage 261:119504 (preprint 2021)"
BINTSI = "Bintsi et al. 2021, iMIMIC at MICCAI"
_PUBLISHED = "mean_nosa_importance"
#: How strong a region is: column of occlusionstats and whether its sign counts.
MEASURES = {
    "absolute mean contribution": "mean_delta_age",
    "published NOSA importance": _PUBLISHED,
    "absolute mean contribution per mL": "mean_delta_age_per_ml",
    "absolute z against parcels of the same size": "mean_z_null",
}
#: The studies' own methods: method of ``attributionstats``, its column, words.
OWN_METHODS = {
    HOFMANN: ("lrp", "mean_importance", "mean relevance"),
    BINTSI: ("noise", "mean_importance_per_ml", "mean importance by learned noise, per mL"),
}
COLUMNS = tuple(columns_of("literature"))


@dataclass(frozen=True)
class _Claim:
    """A structure that a study names among the most important ones, as a pattern of names."""

    study: str
    text: str
    pattern: str


_STRUCTURES = (
    _Claim(
        HE,
        "dorsolateral and dorsomedial frontal cortex among the most important",
        r"^(?!.*orbital).*(?:superior frontal|middle frontal)|^(?:SFG|MFG)|PFC(?:d|l)",
    ),
    _Claim(
        HE,
        "anterior cingulate among the most important",
        r"anterior cingul|cingul.*anterior|\bACC\b",
    ),
    _Claim(HE, "thalamus among the most important", r"thalam|\bTha\b"),
    _Claim(HOFMANN, "ventricles among the most important", r"ventricle"),
    _Claim(
        HOFMANN,
        "subarachnoid spaces among the most important",
        r"subarachnoid|sulcal (?:cerebrospinal )?fluid|sulcal csf",
    ),
    _Claim(HOFMANN, "hippocampus among the most important", r"(?<!para)hippocamp"),
    _Claim(BINTSI, "ventricles among the most important", r"ventricle"),
    _Claim(BINTSI, "hippocampus among the most important", r"(?<!para)hippocamp"),
)
_NETWORKS = (
    (
        "frontoparietal contribution follows an inverted U over the lifespan",
        ("frontoparietal", "cont"),
    ),
    ("default-mode contribution follows an inverted U over the lifespan", ("default",)),
)


def published_claims(
    occlusionstats: pd.DataFrame,
    lifespanstats: pd.DataFrame | None,
    attributionstats: pd.DataFrame | None,
    levels: Sequence[Level],
    ages: pd.Series,
) -> Findings:
    """Compare published claims with a sample; nothing without contributions of regions.

    Parameters
    ----------
    occlusionstats, lifespanstats : DataFrame
        Mean contributions, of which those with the main baseline count; tests of the curves.
    attributionstats : DataFrame or None
        Means of other methods.
    levels : sequence of Level
        Contributions with the main baseline.
    ages : Series
        Years, by participant.
    """
    by_name = {group_level(level.name): level for level in levels}
    if "region" not in by_name:
        return Findings({})
    main = by_name["region"].rows["baseline"].iloc[0]
    sides = None
    if "hemisphere" in by_name:
        sides = hemisphere_differences(by_name["hemisphere"].matrix, ages)
    chosen = occlusionstats[occlusionstats["baseline"].isin([main])]
    table = literature_table(
        chosen,
        lifespanstats,
        sides,
        attributions=attributionstats,
        by_age=age_claims(by_name, ages),
    )
    return findings("literature", table)


def literature_table(
    contributions: pd.DataFrame,
    lifespan: pd.DataFrame | None,
    hemispheres: pd.DataFrame | None,
    *,
    attributions: pd.DataFrame | None = None,
    by_age: Iterable[Mapping[str, object]] = (),
) -> pd.DataFrame:
    """Compare published claims with a sample, as the columns ``COLUMNS``.

    Parameters
    ----------
    contributions : DataFrame
        Rows of ``occlusionstats`` with the main baseline. Structures are compared by the mean
        percentile of their regions, by each of ``MEASURES`` that is known.
    lifespan : DataFrame or None
        ``lifespanstats``.
    hemispheres : DataFrame or None
        From :func:`hemisphere_differences`.
    attributions : DataFrame or None
        ``attributionstats``, so that a study's own method takes part.
    by_age : iterable of mapping
        Rows of :func:`.age_claims.age_claims`.
    """
    table = contributions[contributions["level"] == "region"]
    rows: list[Mapping[str, object]] = []
    for claim in _STRUCTURES:
        rows += _structure_rows(claim, table, MEASURES)
        rows += _own_method_rows(claim, attributions)
    rows += _network_rows(lifespan)
    rows.append(_hemisphere_row(hemispheres))
    rows += by_age
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _own_method_rows(
    claim: _Claim, attributions: pd.DataFrame | None
) -> Iterable[dict[str, object]]:
    """The claim by the method of its study, where the participant level used it."""
    if attributions is None or claim.study not in OWN_METHODS:
        return []
    method, column, words = OWN_METHODS[claim.study]
    of_method = attributions["method"].eq(method) & attributions["age_group"].eq(EVERYBODY)
    return _structure_rows(claim, attributions[of_method], {words: column})


def _structure_rows(
    claim: _Claim, table: pd.DataFrame, measures: Mapping[str, str]
) -> Iterable[dict[str, object]]:
    table = table[table["n_participants"] > 0]
    chosen = table["name"].astype(str).str.contains(claim.pattern, case=False, regex=True)
    people = table["n_participants"].max() if len(table) else 0
    for measure, column in measures.items():
        size = table[column].abs().dropna()
        if len(size):
            facts = {"study": claim.study, "claim": claim.text, "measure": measure}
            names = table["name"].astype(str)
            # the published importance has no sign, and is compared as it was published
            stable = None if column == _PUBLISHED else table.get("stable")
            yield facts | structure_facts(
                size, chosen.reindex(size.index), names, people, stable=stable
            )


def _network_rows(lifespan: pd.DataFrame | None) -> Iterable[dict[str, object]]:
    for claim, words in _NETWORKS:
        row: dict[str, object] = {
            "study": HE,
            "claim": claim,
            "measure": "curvature of the spline: q, as value",
            "verdict": "cannot tell",
        }
        if lifespan is not None:
            networks = lifespan[lifespan["level"].isin(["network", mean_level("network")])]
            name = networks["name"].astype(str).str.casefold()
            named = networks[name.str.startswith(words)]
            if len(named):
                row |= _shape_facts(named)
        yield row


def _shape_facts(networks: pd.DataFrame) -> dict[str, object]:
    inverted = networks["shape"] == "inverted_u"
    sure = networks["q_nonlinear"] < ALPHA
    verdict = "cannot tell"
    if sure.any():
        agrees = inverted[sure]
        verdict = "agrees" if agrees.all() else "partly" if agrees.any() else "differs"
    return {
        "regions": "; ".join(networks["name"].astype(str)),
        "value": float(networks["q_nonlinear"].max()),
        "n_regions": len(networks),
        "verdict": verdict,
    }


def _hemisphere_row(hemispheres: pd.DataFrame | None) -> dict[str, object]:
    row: dict[str, object] = {
        "study": HE,
        "claim": "the contributions of the hemispheres diverge with age",
        "regions": "left; right hemisphere",
        "measure": "Spearman correlation of |left - right| with age",
        "verdict": "cannot tell",
    }
    if hemispheres is None or len(hemispheres) < MIN_PEOPLE or np.ptp(hemispheres["age"]) == 0:
        return row
    correlation = stats.spearmanr(hemispheres["age"], hemispheres["difference"])
    row["value"] = float(correlation.statistic)
    if correlation.pvalue < ALPHA:
        row["verdict"] = "agrees" if correlation.statistic > 0 else "differs"
    return row


def hemisphere_differences(matrix: pd.DataFrame, ages: pd.Series) -> pd.DataFrame | None:
    """Absolute difference between the hemispheres of each participant, with the age."""
    if not {"L", "R"} <= set(matrix.columns):
        return None
    difference = (matrix["L"] - matrix["R"]).abs()
    table = pd.DataFrame({"age": ages.reindex(matrix.index), "difference": difference})
    return table.dropna()
