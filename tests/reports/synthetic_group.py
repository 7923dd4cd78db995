"""Synthetic tables of the group level, with the columns that its dictionaries promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bidsapp_brainage.catalogue.lookup import output
from tests.derivatives import NETWORKS as FOUR
from tests.derivatives import write_table

NETWORKS = (*FOUR, "Somatomotor")
CI = {"ci95_lower": -1.5, "ci95_upper": 2.5}
VERDICTS = {"agrees": 80, "partly": 60, "differs": 20, "cannot tell": None}
WARNING = "97 % of these people were probably in the training cohort of the model."


def write_group_results(
    root: Path, *, label: str, atlas: dict[str, str], text: str = ""
) -> dict[str, Path]:
    """Write all further tables of one model and one atlas; `text` goes into free texts."""
    return {
        key: write_table(
            root, key, rows, atlas if "atlas" in output(key).required else {}, model=label
        )
        for key, rows in {**_model_tables(text), **_atlas_tables(text)}.items()
    }


def _fit(term: str, **more: Any) -> dict[str, Any]:
    return {
        **more, "term": term, "estimate": 0.5, "se": 0.2, "statistic": 2.5, "df": 100, "p": 0.0004,
        "beta": 0.2, "beta_ci95_lower": 0.1, "beta_ci95_upper": 0.3, "hedges_g": None,
        "method": "OLS_HC3", "formula": "gap ~ age", "n_participants": 141, **CI,
    }  # fmt: skip


def _icc(**more: Any) -> dict[str, Any]:
    return {
        **more, "n_participants": 12, "n_sessions": 2, "within_sd": 1.2, "icc21": 0.93,
        "icc21_ci95_lower": 0.8, "icc21_ci95_upper": 0.98, "icc31": 0.95,
        "icc31_ci95_lower": 0.85, "icc31_ci95_upper": 0.99, "smallest_detectable_change": 3.3,
    }  # fmt: skip


def _model_tables(text: str) -> dict[str, list[dict[str, Any]]]:
    sample = {"n_participants": 141, "n_scans": 150, "n_known_age": 140, "n_female": 80,
              "n_male": 60, "age_mean": 47.4, "age_sd": 16.8, "age_min": 20.1, "age_max": 81.9,
              "n_sites": 1, "n_flagged_scans": 2, "n_excluded": 3}  # fmt: skip
    gap = {
        "subset": "all",
        "n_participants": 141,
        "mean_gap": -1.2,
        "sd_gap": 5.1,
        "age_slope": -0.2,
        "age_slope_ci95_lower": -0.3,
        "age_slope_ci95_upper": -0.1,
        **CI,
    }
    pair = {"group_a": "control" + text, "group_b": "patient" + text}
    return {
        "notes": [
            {"topic": "leakage", "severity": "warning", "sentence": WARNING + text},
            {"topic": "reliability", "severity": "note", "sentence": "No repeats." + text},
        ],
        "sample": [{"subset": "all" + text, **sample}, {"subset": "sex=F", **sample}],
        "gaps": [
            {"correction": "raw", "source": None, "warning": None, **gap},
            {"correction": "kfold", "source": "K-fold" + text, "warning": "narrow range", **gap},
        ],
        "gapmodel": [_fit("age", outcome="gap"), _fit("group_patient" + text, outcome="gap")],
        "reliability": [_icc(measure="gap")],
        "pace": [{"term": "pace", "group": group, "estimate": 0.4, "p": 0.01, **CI}
                 for group in (None, "patient" + text)],
        "pacepower": [{"years": 2, "n_scans": 3, "floor_of_one": 0.8, "difference": 0.5,
                       "n_per_group": 40}],
        "grouppairs": [{**pair, "n_a": 60, "n_b": 20, "difference": -2.5, "p_holm": 0.01,
                        "hedges_g": -0.4, **CI}],
        "groupseparation": [{**pair, "predictors": "gap", "auc": 0.7, **CI}],
        "grouproc": [{**pair, "predictors": "gap" + text, "false_positive_rate": rate,
                      "true_positive_rate": rate**0.5} for rate in (0.0, 0.5, 1.0)],
        "factors": [
            {"factor": "bmi" + text, "kind": "number", "effect": 0.3, "effect_ci95_lower": 0.1,
             "effect_ci95_upper": 0.5, "estimate": 1.1, "p": 0.001, "q": 0.01, **CI},
            {"factor": "smoker", "kind": "category", "effect": 0.2, "p": 0.2, "q": 0.3},
            {"factor": "label", "kind": "category", "remark": "more than 20" + text},
        ],
        "change": [{"participant_id": "sub-01" + text, "first_scan": "a", "last_scan": "b",
                    "age_first": 50.0, "age_last": 52.0, "predicted_age_change": 1.5,
                    "gap_change": -0.5, "gap_per_year": -0.25}],
        "sensitivity": [{"analysis": "unflagged", "atlas": None, "measure": "mae", "main": 5.1,
                         "value": 5.0, "difference": -0.1, "unit": "year"}],
    }  # fmt: skip


def _atlas_tables(text: str) -> dict[str, list[dict[str, Any]]]:
    ages = np.linspace(20, 80, 13)
    curve = [
        {"level": "network", "name": name + text, "age": age,
         "fitted_delta_age": np.sin(age / 20 + i), "ci95_lower": np.sin(age / 20 + i) - 0.4,
         "ci95_upper": np.sin(age / 20 + i) + 0.4}
        for i, name in enumerate(NETWORKS)
        for age in ages
    ]  # fmt: skip
    decades = [
        {"level": "network", "name": name + text, "age_group": f"{start}-{start + 10}",
         "n_participants": 20 - i, "mean_delta_age": np.cos(start + i) if start < 70 else None}
        for i, name in enumerate(NETWORKS)
        for start in range(20, 80, 10)
    ]  # fmt: skip
    pairs = [
        {"pair": f"Region {i}{text}", "index_left": 2 * i - 1, "index_right": 2 * i,
         "mean_left": np.sin(i), "mean_right": np.sin(i) + 0.3 * np.cos(i),
         "mean_difference": -0.3 * np.cos(i), "mean_asymmetry": 0.1, "effect_size": 0.3,
         "q": 0.01 * i, "p_maxt": 0.02 * i, "brain_part": 0.1, "model_part": 0.05, **CI}
        for i in range(1, 7)
    ]  # fmt: skip
    return {
        "lifespan": curve,
        "lifespanstats": [
            {"level": "network", "name": name + text, "slope_per_decade": 0.1, "q_age": 1e-5,
             "q_nonlinear": 0.4, "spearman_age": 0.3, "peak_age": 60.0, "n_participants": 141}
            for name in NETWORKS
        ],
        "agegroups": decades,
        "asymmetry": pairs,
        "stability": [{"level": "region", "measure": "split_half_spearman", "value": 0.9,
                       "n_repeats": 500, "n_regions": 11, **CI}],
        "agreementstats": [{"explanation_a": "occlusion_background", "explanation_b": "lrp",
                            "measure": "spearman", "mean": 0.2, "sd": 0.1, "n_participants": 20}],
        "literature": [
            {"study": "He 2025", "claim": "frontal" + text, "regions": "Region 1", "percentile": p,
             "best_rank": 4, "n_ranked": 11, "verdict": verdict}
            for verdict, p in VERDICTS.items()
        ],
        "occlusionmodel": [
            _fit(term, level="region", name=f"Region {i}{text}", q=0.01, p_maxt=0.02)
            for i in range(1, 20)
            for term in ("age", "age_squared")
        ],
        "occlusionreliability": [_icc(level="region", name="Region 1" + text)],
    }  # fmt: skip
