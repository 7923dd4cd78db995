"""Which columns of the group's tables the page shows, and under which headings."""

from __future__ import annotations

from dataclasses import dataclass

from bidsapp_brainage.reports.html import Cell, is_missing, text_cell
from bidsapp_brainage.reports.tables import INTERVAL, PEOPLE, Show

FEW = 4  # regions of a published claim


@dataclass(frozen=True)
class Result:
    """How one kind of table, by the key of its card, is shown.

    Rows are sorted by the column `order`, smallest first; empty keeps the order of the file.
    """

    key: str
    heading: str
    text: str
    columns: tuple[Show, ...]
    order: str = ""


def _terms(*more: Show) -> tuple[Show, ...]:
    """Columns of a fitted model, one row per term."""
    return (
        Show("term", kind="term"),
        Show("estimate", kind="signed", digits=3),
        Show("ci95", "95 % interval", "interval", 3),
        Show("p", "p", "p"),
        *more,
        Show("beta", "Standardised", "signed"),
        Show("beta_ci95", "95 % interval", "interval"),
        Show("hedges_g", kind="signed"),
        PEOPLE,
    )


def few_regions(names: object) -> Cell:
    """The first regions of a long list, which stands whole in the file."""
    if is_missing(names):
        return text_cell(None)
    first = str(names).split("; ")
    more = f" and {len(first) - FEW} more" if len(first) > FEW else ""
    return Cell("; ".join(first[:FEW]) + more)


SAMPLE = Result(
    "sample", "The sample and its parts", "",
    (
        Show("subset", "Part", "part"), PEOPLE,
        Show("n_scans", "Scans", "count"), Show("n_flagged_scans", "Flagged scans", "count"),
        Show("n_excluded", "People left out", "count"),
        Show("n_known_age", "People of known age", "count"),
        Show("age_mean", "Mean age", "number", 1), Show("age_sd", "SD", "number", 1),
        Show("age_min", "Youngest", "number", 1), Show("age_max", "Oldest", "number", 1),
        Show("n_female", "Female", "count"), Show("n_male", "Male", "count"),
        Show("n_sites", "Sites", "count"),
    ),
)  # fmt: skip
GAPS = Result(
    "gaps", "The gap, raw and corrected",
    "A correction subtracts the gap that is expected at a person's age. It says nothing about "
    "accuracy: it puts the true age into the prediction. Means over people, each with the mean "
    "over their scans.",
    (
        Show("correction", kind="correction"), Show("subset", "Part", "part"), PEOPLE,
        Show("mean_gap", "Mean gap", "signed"), INTERVAL,
        Show("sd_gap", "SD", "number"), Show("age_slope", "Slope on age", "signed"),
        Show("age_slope_ci95", "95 % interval", "interval"),
        Show("warning", kind="long"),
        Show("line_slope", "Line: slope", "number", 3),
        Show("line_intercept", "Line: intercept", "number"), Show("source", kind="long"),
    ),
)  # fmt: skip
CALIBRATION = Result(
    "sitecalibration", "Calibration of the sites",
    "Line, error and interval of the reference people of each site; every one of them was judged "
    "by the fit on the others. What a calibrated image must beat is the mean age of the reference "
    "people, which the calibration knows.",
    (
        Show("site"), Show("n_reference", "Reference people", "count"),
        Show("reference_age_min", "Youngest", "number", 0),
        Show("reference_age_max", "Oldest", "number", 0),
        Show("offset", kind="signed", digits=1), Show("line_slope", "Slope", "number"),
        Show("line_intercept", "Intercept", "number", 1),
        Show("residual_sd", "Residual SD", "number", 1),
        Show("half_width95", "Half width of the 95 % interval", "number", 1),
        Show("coverage95_before", "Coverage before", "number"),
        Show("coverage95", "after", "number"),
        Show("mae_before", "MAE before", "number", 1), Show("mae_after", "after", "number", 1),
        Show("mae_mean_age", "of the mean age", "number", 1), Show("remark", kind="long"),
    ),
)  # fmt: skip
TARGETS = Result(
    "targets", "Scores of the targets", "",
    (
        Show("target", kind="name"), Show("class", "Class", "name"),
        Show("metric", "Score", "measure"), Show("value", kind="number", digits=3),
        Show("ci95", "95 % interval", "interval", 3), Show("unit", kind="name"), PEOPLE,
    ),
)  # fmt: skip
CONFUSION = Result(
    "confusion", "Scans by true and predicted class",
    "The predicted class is the one with the largest probability.",
    (
        Show("target", kind="name"), Show("true_class", "True class", "name"),
        Show("predicted_class", "Predicted class", "name"), Show("n_scans", "Scans", "count"),
    ),
)  # fmt: skip
HARMONISATION = Result(
    "harmonisation", "What sites do, before and after harmonising",
    "In the reference people, given age and sex. Level and spread of a site are in SDs of all "
    "sites together, over all measures; the share of sites is the part of the variance that they "
    "explain.",
    (
        Show("measure", kind="long"), Show("site"),
        Show("n_reference", "Reference people", "count"),
        Show("offset_before", "Level before", "number"), Show("offset_after", "after", "number"),
        Show("sd_ratio_before", "Spread before", "number"),
        Show("sd_ratio_after", "after", "number"),
        Show("site_share_before", "Share of sites before", "number", 3),
        Show("site_share_after", "after", "number", 3),
        Show("site_share_chance", "by chance", "number", 3),
        Show("age_slope_before", "Slope on age before", "number", 3),
        Show("age_slope_after", "after", "number", 3), Show("remark", kind="long"),
    ),
)  # fmt: skip
GAP_MODEL = Result(
    "gapmodel", "What explains the gap",
    "The gap, raw or calibrated for the site, explained by age and the other columns at once; use "
    "this and not raw gaps to compare groups.",
    _terms(),
)  # fmt: skip
PAIRS = Result(
    "grouppairs", "Groups compared",
    "Every two groups, given age and the other columns; p is corrected over all pairs.",
    (
        Show("group_a", "A", "name"), Show("group_b", "B", "name"),
        Show("n_a", "People of A", "count"), Show("n_b", "of B", "count"),
        Show("difference", "A minus B, adjusted", "signed"), INTERVAL,
        Show("p_holm", kind="p"), Show("hedges_g", kind="signed"),
        Show("hedges_g_ci95", "95 % interval", "interval"),
    ),
)  # fmt: skip
SEPARATION = Result(
    "groupseparation", "Does the gap tell groups apart?",
    "The gap as it is, and logistic regressions that are judged on people left out. An AUC of .5 "
    "is chance. What counts is what the gap adds to age, sex and the other columns, which may tell "
    "groups apart by themselves.",
    (
        Show("group_a", "A", "name"), Show("group_b", "B", "name"),
        Show("predictors", kind="name"), Show("auc", "AUC", "number"), INTERVAL,
        Show("added", kind="signed"), Show("added_ci95", "95 % interval", "interval"),
        Show("n_a", "People of A", "count"), Show("n_b", "of B", "count"),
    ),
)  # fmt: skip
FACTORS = Result(
    "factors", "The gap and other facts",
    "One factor at a time, given age and the other columns. A correlation in one sample is no "
    "cause; q is corrected over all factors.",
    (
        Show("factor", kind="name"), Show("kind", kind="name"), PEOPLE,
        Show("effect", kind="signed"), Show("effect_ci95", "95 % interval", "interval"),
        Show("estimate", kind="signed"), INTERVAL,
        Show("p", "p", "p"), Show("q", "q", "p"), Show("n_levels", kind="count"),
        Show("remark", kind="long"),
    ),
)  # fmt: skip
RELIABILITY = Result(
    "reliability", "Agreement of repeated scans",
    "A change of one person below the smallest detectable change is noise.",
    (
        Show("measure", kind="measure"), PEOPLE,
        Show("n_sessions", "Scans each", "count"), Show("within_sd", kind="number"),
        Show("icc21", "ICC(2,1)", "number"), Show("icc21_ci95", "95 % interval", "interval"),
        Show("icc31", "ICC(3,1)", "number"), Show("icc31_ci95", "95 % interval", "interval"),
        Show("smallest_detectable_change", kind="number"),
        Show("years_between_mean", "Years between", "number", 1),
        Show("change_per_year", "Change per year", "signed"),
        Show("change_per_year_ci95", "95 % interval", "interval"),
    ),
)  # fmt: skip
CHANGE = Result(
    "change", "Change of each person",
    "A gap at one time does not measure the rate of ageing, and a change over a short time is "
    "mostly noise.",
    (
        Show("participant_id", "Participant"), Show("first_scan"), Show("last_scan"),
        Show("age_first", "Age, first", "number", 1), Show("age_last", "Age, last", "number", 1),
        Show("predicted_age_change", "Change of predicted age", "signed", 1),
        Show("gap_change", "Change of gap", "signed", 1),
        Show("gap_per_year", "Gap per year", "signed"),
    ),
)  # fmt: skip
PACE = Result(
    "pace", "Pace of ageing",
    "Change of the predicted age per year within people, by a mixed model. A model sees less than "
    "a year of a year, also between people; compare the pace with that row, not with 1.",
    (
        Show("term", kind="name"), Show("group", kind="name"),
        Show("estimate", kind="signed"), INTERVAL, Show("p", "p", "p"),
        PEOPLE, Show("n_scans", "Scans", "count"),
        Show("sd_of_pace", kind="number"), Show("residual_sd", kind="number"),
    ),
)  # fmt: skip
PACE_POWER = Result(
    "pacepower", "How many people would show a difference of paces",
    "From the noise of this sample, if all else is as here.",
    (
        Show("years", kind="count"), Show("n_scans", "Scans each", "count"),
        Show("floor_of_one", kind="number"), Show("difference", kind="number"),
        Show("n_per_group", kind="count"),
    ),
)  # fmt: skip
SENSITIVITY = Result(
    "sensitivity", "What if it had been done otherwise",
    "The main results again with another choice. Conclusions that change here are not safe.",
    (
        Show("analysis", kind="part"), Show("measure", kind="measure"),
        Show("main", kind="number", digits=3),
        Show("value", "This analysis", "number", 3),
        Show("difference", kind="signed", digits=3), Show("unit", kind="unit"),
        PEOPLE, Show("atlas", kind="name"),
    ),
)  # fmt: skip
RATER_AGREEMENT = Result(
    "rateragreement", "Do raters agree?",
    "Cohen's kappa: 1 is full agreement, 0 that of chance. Look at disputed scans together.",
    (
        Show("rater_a", kind="name"), Show("rater_b", kind="name"), Show("item", kind="judged"),
        Show("weights", kind="weights"), Show("n_scans", "Scans", "count"),
        Show("agreement", kind="number"), Show("kappa", kind="number"), INTERVAL,
    ),
)  # fmt: skip
REGION_MODEL = Result(
    "occlusionmodel", "What explains the contributions",
    "Per region and network: the contribution explained by age and the other columns at once.",
    (Show("name", "Region or network"), Show("level", kind="level"),
     *_terms(Show("q", "q", "p"), Show("p_maxt", "p (max-T)", "p"),
             Show("stable", "Sign", kind="sign"))),
    order="p",
)  # fmt: skip
REGION_RELIABILITY = Result(
    "occlusionreliability", "Agreement of repeated scans", "",
    (
        Show("name", "Region"), Show("level", kind="level"), Show("icc21", "ICC(2,1)", "number"),
        Show("icc21_ci95", "95 % interval", "interval"), Show("within_sd", kind="number", digits=3),
        Show("smallest_detectable_change", kind="number", digits=3),
        PEOPLE,
    ),
)  # fmt: skip
LIFESPAN_TESTS = Result(
    "lifespanstats", "Tests of the curves", "",
    (
        Show("name"), Show("level", kind="level"),
        Show("slope_per_decade", kind="signed", digits=3), Show("stable", "Sign", kind="sign"),
        Show("q_age", "q, any change", "p"), Show("q_nonlinear", "q, not a line", "p"),
        Show("spearman_age", "Rank correlation with age", "signed"),
        Show("peak_age", kind="number", digits=0), PEOPLE,
    ),
    order="q_age",
)  # fmt: skip
ASYMMETRY = Result(
    "asymmetry", "Left and right", "Contributions of homologous regions.",
    (
        Show("pair"), Show("mean_left", "Left", "signed", 3),
        Show("mean_right", "Right", "signed", 3),
        Show("mean_difference", "Difference", "signed", 3),
        Show("ci95", "95 % interval", "interval", 3),
        Show("stable", "Sign", kind="sign"), Show("q", "q", "p"), Show("p_maxt", "p (max-T)", "p"),
        Show("mean_asymmetry", "Asymmetry", "signed"), Show("effect_size", "Mean / SD", "signed"),
        Show("brain_part", kind="signed", digits=3), Show("model_part", kind="signed", digits=3),
    ),
)  # fmt: skip
STABILITY = Result(
    "stability", "Does the ranking repeat?",
    "How much of the ranking is found again in other people.",
    (Show("level", kind="level"), Show("measure", kind="measure"),
     Show("value", kind="number"),
     INTERVAL, Show("n_repeats", kind="count"),
     Show("n_regions", kind="count")),
)  # fmt: skip
AGREEMENT = Result(
    "agreementstats", "Do explanations agree?",
    "Rank correlation over regions between explanations, over participants.",
    (Show("explanation_a", kind="explanation"), Show("explanation_b", kind="explanation"),
     Show("measure", kind="measure"),
     Show("mean", kind="number"), Show("sd", "SD", "number"),
     PEOPLE),
)  # fmt: skip
LITERATURE = Result(
    "literature", "What published studies found",
    "Side by side, not as a test of the studies: other models, other people, other measures.",
    (
        Show("study"), Show("verdict", kind="verdict"), Show("claim", kind="long"),
        Show("age_group", "Ages"), Show("measure", kind="long"),
        Show("percentile", kind="number", digits=0),
        Show("best_rank", kind="count"), Show("n_ranked", "of", "count"),
        Show("n_stable", kind="count"), Show("n_regions", "of", "count"),
        Show("regions", "Regions here", "long", cell=few_regions),
    ),
)  # fmt: skip

SAMPLE_RESULTS = (SAMPLE,)
TARGET_RESULTS = (TARGETS, CONFUSION)
GAP_RESULTS = (CALIBRATION, GAPS, HARMONISATION, GAP_MODEL)
CLINICAL_RESULTS = (PAIRS, SEPARATION, FACTORS)
REPEAT_RESULTS = (RELIABILITY, PACE, PACE_POWER, CHANGE)
ATLAS_RESULTS = (
    LIFESPAN_TESTS, REGION_MODEL, ASYMMETRY, STABILITY, AGREEMENT, LITERATURE, REGION_RELIABILITY,
)  # fmt: skip
