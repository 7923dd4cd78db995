"""Tables of the group about one model, and columns that they share with those of an atlas."""

from __future__ import annotations

from bidsapp_brainage.catalogue import columns as c
from bidsapp_brainage.catalogue import participant
from bidsapp_brainage.catalogue.cards import Column, Output
from bidsapp_brainage.catalogue.ratings import BEST, EXCLUDE


def table(
    suffix: str, text: str, columns: tuple[Column, ...], *, key: str = "", always: bool = True
) -> Output:
    """Card of a table of the group about one model; the key is the suffix unless it is given."""
    return Output(
        key or suffix, suffix, ".tsv", text, level="group", entities=("desc",),
        required=("desc",), desc="{model}", columns=columns, always=always,
    )  # fmt: skip


#: Predictions calibrated for their site by --bias-correction reference.
SITE_VALUES: tuple[Column, ...] = (
    Column("predicted_age_site", "Predicted age, calibrated", "Group table only, with "
        "--bias-correction reference: best guess of the age from the predicted age, by the line "
        "and the ages of the site's reference people; the person's own age is not used.",
        units="year"),
    Column("gap_site", "Gap, calibrated", "Group table only, with --bias-correction reference: "
        "predicted age minus that expected at this age at this site, on the scale of the model's "
        "own line (of years of age if its card has none). Not predicted_age_site minus the age.",
        units="year", derivative=True),
    Column("ci95_lower_site", "Lower end of the calibrated 95 % interval", "Group table only: "
        "predicted_age_site minus the half width of the site.", units="year"),
    Column("ci95_upper_site", "Upper end of the calibrated 95 % interval", "Group table only: "
        "predicted_age_site plus the half width of the site.", units="year"),
    Column("flags_site", "Flags after the calibration", "Group table only: as flags, but "
        "implausible_gap and age_outside_interval by the calibrated values."),
    Column("flag_reasons_site", "Reasons of these flags", "Group table only: as flag_reasons."),
    Column("gap_z_site", "Standardised calibrated gap", "Group table only: gap_site over the SD "
        "of the gaps of the site's reference people.", derivative=True),
)  # fmt: skip

SUBSET = Column("subset", "Subset", "Which scans were used: all; unflagged (without quality or "
    "doubt flag); or one sex, site, group, session or decade of age, as name=value.")  # fmt: skip
UNIT = Column("unit", "Unit", "Unit of value and interval.")
TERM = Column("term", "Term", "The term of the model: age (per decade, from the mean age), "
    "age_squared (decades squared), sex_X or group_X (against the reference), a covariate per SD, "
    "or site_X.")  # fmt: skip
ESTIMATE = Column("estimate", "Estimate", "Coefficient of the term.", units="year")
SE = Column("se", "Standard error", "Robust to unequal variances (HC3); of the mixed model if that "
    "was used.", units="year", minimum=0)  # fmt: skip
STATISTIC = Column("statistic", "Statistic", "Estimate over standard error.")
DF = Column("df", "Degrees of freedom", "Residual degrees of freedom of the t distribution; n/a if "
    "normal.", minimum=1)  # fmt: skip
P = Column("p", "p", "Two-sided p value.", minimum=0, maximum=1)
BETA = Column("beta", "Standardised beta", "Estimate for one SD of the predictor, in SDs of the "
    "outcome; of a two-level term, the difference of the levels in SDs of the "
    "outcome.")  # fmt: skip
BETA_CI95_LOWER = Column("beta_ci95_lower", "Lower end of beta's 95 % interval",
    "2.5 % point.")  # fmt: skip
BETA_CI95_UPPER = Column("beta_ci95_upper", "Upper end of beta's 95 % interval",
    "97.5 % point.")  # fmt: skip
HEDGES_G = Column("hedges_g", "Hedges' g", "Standardised difference of two groups, corrected for "
    "small samples, without covariates; only for group terms.")  # fmt: skip
HEDGES_G_CI95_LOWER = Column("hedges_g_ci95_lower", "Lower end of g's 95 % interval",
    "2.5 % point.")  # fmt: skip
HEDGES_G_CI95_UPPER = Column("hedges_g_ci95_upper", "Upper end of g's 95 % interval",
    "97.5 % point.")  # fmt: skip
FIT_METHOD = Column("method", "Method", "How the model was fitted.", levels={
    "OLS_HC3": "one mean value per participant, least squares, HC3 errors; site as fixed effects "
    "if there are few sites", "mixed_site": "one mean value per participant, random intercept of "
    "the site"})  # fmt: skip
FORMULA = Column("formula", "Formula", "The model.")

#: A linear model, one row per term.
FIT: tuple[Column, ...] = (
    TERM,
    ESTIMATE,
    c.CI95_LOWER,
    c.CI95_UPPER,
    SE,
    STATISTIC,
    DF,
    P,
    BETA,
    BETA_CI95_LOWER,
    BETA_CI95_UPPER,
    HEDGES_G,
    HEDGES_G_CI95_LOWER,
    HEDGES_G_CI95_UPPER,
    c.N_PARTICIPANTS,
    FIT_METHOD,
    FORMULA,
)

N_REPEATS = Column("n_sessions", "Scans per participant", "Scans of each participant that were "
    "used.", minimum=2)  # fmt: skip
WITHIN_SD = Column("within_sd", "Within-person SD", "Square root of the mean within-person "
    "variance.", units="year", minimum=0)  # fmt: skip
ICC21 = Column("icc21", "ICC(2,1)", "Intraclass correlation, two-way random effects, absolute "
    "agreement, single scan (Shrout & Fleiss 1979).")  # fmt: skip
ICC21_CI95_LOWER = Column("icc21_ci95_lower", "Lower end of the 95 % interval of ICC(2,1)",
    "2.5 % point (McGraw & Wong 1996).")  # fmt: skip
ICC21_CI95_UPPER = Column("icc21_ci95_upper", "Upper end of the 95 % interval of ICC(2,1)",
    "97.5 % point.")  # fmt: skip
ICC31 = Column("icc31", "ICC(3,1)", "Intraclass correlation, two-way mixed effects, consistency, "
    "single scan.")  # fmt: skip
ICC31_CI95_LOWER = Column("icc31_ci95_lower", "Lower end of the 95 % interval of ICC(3,1)",
    "2.5 % point.")  # fmt: skip
ICC31_CI95_UPPER = Column("icc31_ci95_upper", "Upper end of the 95 % interval of ICC(3,1)",
    "97.5 % point.")  # fmt: skip
SMALLEST_DETECTABLE_CHANGE = Column("smallest_detectable_change", "Smallest detectable change",
    "1.96 * sqrt(2) * standard error of measurement; the latter is the root of the residual "
    "variance after removal of persons and sessions.", units="year", minimum=0)  # fmt: skip

#: Repeated scans.
ICC: tuple[Column, ...] = (
    c.N_PARTICIPANTS,
    N_REPEATS,
    WITHIN_SD,
    ICC21,
    ICC21_CI95_LOWER,
    ICC21_CI95_UPPER,
    ICC31,
    ICC31_CI95_LOWER,
    ICC31_CI95_UPPER,
    SMALLEST_DETECTABLE_CHANGE,
)

_SAMPLE = (
    SUBSET,
    c.N_PARTICIPANTS,
    c.N_SCANS,
    Column("n_known_age", "Known ages", "Participants whose chronological age is known.",
        minimum=0),
    Column("n_female", "Female", "Participants of sex F.", minimum=0),
    Column("n_male", "Male", "Participants of sex M.", minimum=0),
    Column("n_other_sex", "Other or unknown sex", "Participants of other or unknown sex.",
        minimum=0),
    Column("age_mean", "Mean age", "Mean chronological age; one value per participant, the mean "
        "over the scans.", units="year"),
    Column("age_sd", "SD of age", "Standard deviation of these ages.", units="year"),
    Column("age_min", "Youngest", "Smallest of these ages.", units="year"),
    Column("age_max", "Oldest", "Largest of these ages.", units="year"),
    Column("n_sites", "Sites", "Number of sites; n/a if unknown.", minimum=1),
    Column("n_sessions", "Sessions", "Number of different session labels; n/a if the dataset has "
        "none.", minimum=1),
    Column("n_flagged_scans", "Flagged scans", "Scans with a quality or doubt flag.", minimum=0),
    Column("n_excluded", "Left out", "Participants of the dataset without a prediction; see the "
        "exclusions table.", minimum=0),
)  # fmt: skip

_EXCLUSIONS = (
    c.SCAN,
    Column("left_out_of", "Left out of", "The analysis that does not use this participant or "
        "scan."),
    Column("reason", "Reason", "Why, in plain words."),
)  # fmt: skip

_METRICS = (
    Column("prediction", "Prediction", "Which prediction the metric is about; accuracy is computed "
        "from predictions only that do not contain the age.",
        levels={"raw": "as predicted", "corrected": "after the bias correction",
            "site": "predicted_age_site, calibrated for the site"}),
    SUBSET,
    Column("metric", "Metric", "Name of the metric.", levels={"mae": "mean absolute error",
        "weighted_mae": "mean absolute error divided by the age range of the sample",
        "rmse": "root mean squared error", "r2": "coefficient of determination, 1 - SSE/SST",
        "pearson_r": "Pearson correlation of predicted with chronological age",
        "mean_gap": "mean of predicted minus chronological age",
        "bias_slope": "slope of the gap on chronological age; 0 is unbiased",
        "coverage95": "share of chronological ages inside the nominal 95 % interval of the "
        "prediction", "mae_mean_age": "mean absolute error of answering everybody with the mean "
        "age of the sample", "mae_gain": "mae_mean_age minus mae; positive if the model beats the "
        "mean age", "sd_gap": "standard deviation of predicted minus chronological age"}),
    Column("value", "Value", "Value of the metric in its unit."),
    c.CI95_LOWER,
    c.CI95_UPPER,
    Column("ci_method", "Interval method", "How the 95 % interval was made.",
        levels={"BCa": "bias-corrected and accelerated bootstrap over participants",
            "percentile": "percentile bootstrap over participants, where BCa is undefined",
            "Wilson": "Wilson interval of a proportion; scans of one participant count as one "
            "observation"}),
    UNIT,
    c.N_PARTICIPANTS,
    c.N_SCANS,
)  # fmt: skip

_TARGET_SCORES = (
    c.TARGET,
    c.CLASS.worded("Class that the score is about; n/a of numbers, and of scores of all classes."),
    Column("metric", "Metric", "Name of the score.", levels={
        "mae": "mean absolute error",
        "mae_over_range": "mean absolute error divided by the range of the sample",
        "rmse": "root mean squared error", "r2": "coefficient of determination, 1 - SSE/SST",
        "mae_gain_value": "mae_mean_value minus mae; positive if the model beats the mean",
        "coverage95": "share of true values inside the nominal 95 % interval of the prediction",
        "correlation": "Pearson correlation of predicted with true values",
        "error_slope": "slope of the error on the true value; 0 is unbiased",
        "mean_error": "mean of predicted minus true value",
        "mae_mean_value": "mean absolute error of answering everybody with the mean of the sample",
        "balanced_accuracy": "mean over the classes of the share of their scans that were "
        "recognised; chance is 1 over the number of classes",
        "recall": "share of the scans of the class that were recognised",
        "auc": "area under the ROC curve of the probability of the class, against all others",
        "brier": "half the mean squared distance of the probabilities from the truth; of two "
        "classes the mean squared error of the probability of one",
        "brier_of_shares": "the same of answering everybody with the shares of the classes in the "
        "sample; a useful model is below",
        "probability_error": "mean probability of the class minus its share in the sample"}),
    Column("value", "Value", "Value of the score in its unit."),
    c.CI95_LOWER,
    c.CI95_UPPER,
    Column("ci_method", "Interval method", "How the 95 % interval was made.",
        levels={"BCa": "bias-corrected and accelerated bootstrap over participants",
            "percentile": "percentile bootstrap over participants, where BCa is undefined",
            "Wilson": "Wilson interval of a proportion"}),
    UNIT,
    c.N_PARTICIPANTS,
    c.N_SCANS,
)  # fmt: skip

_CONFUSION = (
    c.TARGET,
    Column("true_class", "True class", "Class of the scans by participants.tsv."),
    Column("predicted_class", "Predicted class", "Class with the largest probability."),
    c.N_SCANS,
)  # fmt: skip

_GAPS = (
    Column("correction", "Correction", "How the gap was corrected for regression to the mean.",
        levels={"raw": "not corrected", "applied": "the line that the participant level applied, "
            "from the model card or a file", "file": "the line given to the group level with "
            "--bias-correction file:", "kfold": "lines fitted by cross-validation on the reference "
            "group of this dataset; people outside the reference group get the line of the whole "
            "reference group", "site": "gap_site: the line of each site, fitted on its reference "
            "people (--bias-correction reference)", "harmonised": "gap_harmonised: effects of "
            "sites removed (--harmonise), the line of age kept"}),
    Column("source", "Source", "Where the line comes from."),
    SUBSET,
    c.N_PARTICIPANTS,
    Column("mean_gap", "Mean gap", "Mean over participants of predicted minus chronological age.",
        units="year"),
    c.CI95_LOWER,
    c.CI95_UPPER,
    Column("sd_gap", "SD of the gap", "Standard deviation over participants.", units="year",
        minimum=0),
    Column("age_slope", "Slope on age", "Slope of the gap on chronological age; 0 after a "
        "correction that fits.", units="year/year"),
    Column("age_slope_ci95_lower", "Lower end of the slope's 95 % interval", "2.5 % point.",
        units="year/year"),
    Column("age_slope_ci95_upper", "Upper end of the slope's 95 % interval", "97.5 % point.",
        units="year/year"),
    Column("line_slope", "Line: slope", "Slope of the line predicted = slope * age + intercept "
        "that was subtracted; n/a if unknown or none.", units="year/year"),
    Column("line_intercept", "Line: intercept", "Intercept of that line.", units="year"),
    Column("n_reference", "Reference people", "Participants that the line was fitted on; n/a if "
        "unknown."),
    Column("reference_age_min", "Youngest reference", "Smallest age of the reference participants.",
        units="year"),
    Column("reference_age_max", "Oldest reference", "Largest age of the reference participants.",
        units="year"),
    Column("warning", "Warning", "Why the correction may not be trusted; n/a if nothing was "
        "found."),
)  # fmt: skip

_GAPMODEL = (
    Column("outcome", "Outcome", "What is explained.", levels={"gap": "the raw gap",
        "gap_site": "the gap calibrated for the site"}),
    *FIT,
)  # fmt: skip

_RELIABILITY = (
    Column("measure", "Measure", "predicted_age or gap; with the ending _site those calibrated "
        "for the site."),
    *ICC,
    Column("years_between_mean", "Years between scans", "Mean over participants of the time "
        "between their first and last scan; n/a if the ages do not tell.", units="year"),
    Column("change_per_year", "Change per year", "Mean over participants of the slope of the "
        "measure on age. A cross-sectional gap does not measure the rate of ageing.",
        units="year/year"),
    Column("change_per_year_ci95_lower", "Lower end of its 95 % interval", "2.5 % point (t).",
        units="year/year"),
    Column("change_per_year_ci95_upper", "Upper end of its 95 % interval", "97.5 % point (t).",
        units="year/year"),
    Column("change_per_year_sd", "SD of the change per year", "Standard deviation over "
        "participants.", units="year/year"),
)  # fmt: skip

_CHANGE = (
    c.PARTICIPANT_ID,
    c.N_SCANS,
    Column("first_scan", "First scan", "The participant's youngest scan."),
    Column("last_scan", "Last scan", "The participant's oldest scan."),
    Column("age_first", "Age at the first scan", "Chronological age.", units="year"),
    Column("age_last", "Age at the last scan", "Chronological age.", units="year"),
    Column("predicted_age_change", "Change of predicted age", "Last minus first; of calibrated "
        "values with --bias-correction reference, as all columns of this table.", units="year"),
    Column("gap_change", "Change of the gap", "Last minus first; n/a if ages are unknown.",
        units="year"),
    Column("predicted_age_per_year", "Change of predicted age per year",
        "Least-squares slope of predicted age on age.", units="year/year"),
    Column("gap_per_year", "Change of the gap per year", "Least-squares slope of the gap on age.",
        units="year/year"),
)  # fmt: skip

_SENSITIVITY = (
    Column("analysis", "Analysis", "What was changed: unflagged (flagged scans left out), "
        "min_rating=N (scans that people rated lower left out; 1: nobody left out), baseline=X "
        "(another fill), ensemble_members."),
    Column("atlas", "Atlas", "Atlas of the contributions; n/a for predictions."),
    Column("measure", "Measure", "What was compared: a metric of accuracy, gapmodel=TERM (an "
        "estimate of the table gapmodel), spearman (of the "
        "signed) or spearman_abs (of the absolute) mean contributions with the main analysis, "
        "top10_overlap with it, or relative_sd_of_members: the median over regions of the SD over "
        "members relative to the mean absolute contribution."),
    Column("main", "Main analysis", "Value in the main analysis; n/a where the measure is itself a "
        "comparison."),
    Column("value", "Value", "Value in this analysis."),
    Column("difference", "Difference", "value minus main."),
    UNIT,
    c.N_PARTICIPANTS,
)  # fmt: skip

_OUTLIERS = (
    c.SCAN,
    Column("metric", "Metric", "The quality metric, gap or gap_site that is unusual."),
    Column("value", "Value", "Its value for this scan."),
    Column("median", "Median", "Median of the sample."),
    Column("robust_z", "Robust z", "Value minus median over the median absolute deviation scaled "
        "to the SD of a normal distribution; rows beyond 3.5 are listed."),
    Column("reason", "Reason", "Reason given by the participant level for a flag of this scan; n/a "
        "if it has none."),
)  # fmt: skip

_NOTES = (
    Column("topic", "Topic", "The table or analysis that the sentence belongs to."),
    Column("severity", "Severity", "How much it matters.", levels={"note": "what was left out and "
        "why, or how something was done", "warning": "read this before using the numbers"}),
    Column("sentence", "Sentence", "In plain words."),
)  # fmt: skip

_CALIBRATION = (
    Column("site", "Site", "The site; all where no site is known, unknown for people without one."),
    c.N_PARTICIPANTS,
    Column("n_reference", "Reference people", "People of the site that the line was fitted on: of "
        "the reference group, of known age, without failed quality checks.", minimum=0),
    Column("reference_age_min", "Youngest reference", "Smallest age of the reference people.",
        units="year"),
    Column("reference_age_max", "Oldest reference", "Largest age of the reference people.",
        units="year"),
    Column("reference_age_sd", "SD of reference ages", "Standard deviation of these ages.",
        units="year"),
    Column("calibrated", "Calibrated", "Whether the site was calibrated.",
        levels={"true": "it was", "false": "it was refused; the remark says why"}),
    Column("offset", "Offset", "Mean of predicted minus chronological age of the reference people, "
        "as predicted.", units="year"),
    Column("line_intercept", "Line: intercept", "Intercept of the line predicted = slope * age + "
        "intercept of the site.", units="year"),
    Column("line_slope", "Line: slope", "Slope of that line, shrunk towards that of the model "
        "card.", units="year/year"),
    Column("line_slope_unshrunk", "Slope of least squares", "Slope that the reference people alone "
        "have.", units="year/year"),
    Column("residual_sd", "Residual SD", "Root mean square of the calibrated gaps of the reference "
        "people, each by the fit on the others.", units="year", minimum=0),
    Column("half_width95", "Half width", "Half of the width of the calibrated 95 % interval.",
        units="year", minimum=0),
    Column("coverage95", "Coverage", "Share of the reference people whose age lies in their 95 % "
        "interval, each by the fit on the others.", minimum=0, maximum=1),
    Column("coverage95_before", "Coverage before", "The same of the intervals as predicted.",
        minimum=0, maximum=1),
    Column("mae_before", "MAE before", "Mean absolute error of the reference people as predicted.",
        units="year", minimum=0),
    Column("mae_after", "MAE after", "The same of predicted_age_site, each by the fit on the "
        "others.", units="year", minimum=0),
    Column("mae_mean_age", "MAE of the mean age", "The same of answering everybody with the mean "
        "age of the other reference people: what a calibrated image must beat.", units="year",
        minimum=0),
    Column("remark", "Remark", "Why the site was refused, or why its calibration may not be "
        "trusted everywhere."),
)  # fmt: skip

_HARMONISED_VOLUMES = (
    c.PARTICIPANT_ID,
    c.SCAN,
    *(column for column in participant.VOLUMES if column.name != "fraction"),
    Column("volume_ml_harmonised", "Volume, harmonised", "Without effects of the site, as known "
        "from the reference people; effects of age and sex are kept. n/a at sites that were left "
        "out, and where a reference person lacks the region.", units="mL", derivative=True),
)  # fmt: skip

_HARMONISATION = (
    Column("measure", "Measure", "The gap, the contributions with an atlas, or the volumes; each "
        "region is a measure."),
    Column("site", "Site", "The site; all: every site that was harmonised."),
    Column("n_measures", "Measures", "Measures that every reference person has.", minimum=1),
    c.N_PARTICIPANTS,
    Column("n_reference", "Reference people", "People whom the effects of sites were fitted on: of "
        "the reference group, of known age, without failed quality checks; people with scans at "
        "several sites count at each.", minimum=0),
    Column("reference_age_min", "Youngest reference", "Smallest age of the reference people.",
        units="year"),
    Column("reference_age_max", "Oldest reference", "Largest age of the reference people.",
        units="year"),
    Column("harmonised", "Harmonised", "Whether effects of the site were removed.",
        levels={"true": "they were", "false": "the remark says why not"}),
    *(
        Column(f"{name}_{end}", f"{title} {end}", f"{text}, {end} harmonising.")
        for name, title, text in (
            ("offset", "Level", "Difference of the site's reference people from those of all sites "
                "given age and sex, in SDs; root mean square over measures"),
            ("sd_ratio", "Spread", "SD of the site's reference people over that of all sites "
                "together, given age and sex; median over measures"),
            ("site_share", "Share of sites", "Partial R2 of site in the reference people, given "
                "age and sex; mean over measures"),
            ("age_slope", "Slope on age", "Years (of volumes: mL) per decade in the reference "
                "people, given sex and site; root mean square over measures"),
        )
        for end in ("before", "after")
    ),
    Column("site_share_chance", "Share by chance", "Partial R2 that as many sites without any "
        "effect have on average."),
    Column("remark", "Remark", "Why the site was left out, or why its values may not be trusted."),
)  # fmt: skip

_BRAINAGE = (
    *c.IDENTITY,
    *participant.PREDICTION,
    Column("sex", "Sex", "Group table only: sex from participants.tsv.",
        levels={"F": "female", "M": "male", "O": "other"}),
    Column("site", "Site", "Group table only: site, or the column given with --site-column."),
    Column("group", "Group", "Group table only: the column given with --group-column."),
    Column("flagged", "Flagged", "Group table only: whether the scan carries a quality or doubt "
        "flag that needs no age; such scans are left out where a table says unflagged. Flags that "
        "need the age do not count here: without the worst predictions any model looks good.",
        levels={"true": "qc_flag or ood_flag is set", "false": "neither is set"}),
    Column("gap_kfold", "Gap, corrected within the dataset", "Group table only: gap after "
        "subtraction of a line fitted by cross-validation on the reference group of this dataset.",
        units="year"),
    *SITE_VALUES,
    Column("gap_harmonised", "Gap, harmonised", "Group table only, with --harmonise: gap as "
        "predicted without effects of the site, as known from the reference people; effects of age "
        "and sex are kept. n/a at sites that were left out, and where age or sex are unknown.",
        units="year", derivative=True),
    Column("rating", "Rating", "Group table only: what people gave the scan, from 1 (exclude) to 4 "
        "(excellent); median over raters, of two in the middle the lower. n/a if nobody rated it.",
        minimum=EXCLUDE, maximum=BEST),
    Column("n_raters", "Raters", "Group table only: how many people rated the scan.", minimum=1),
)  # fmt: skip

TABLES: tuple[Output, ...] = (
    table("brainage", "all scans, one row each, with sex, site and group: the table to start "
        "from, and the data of the scatter and gap figures (T3)", _BRAINAGE, key="group_brainage"),
    table("sample", "participants, sex, ages, sites, flags: all, and by sex, site, group and "
        "session (T1)", _SAMPLE),
    table("exclusions", "who was left out of what, and why (T1)", _EXCLUSIONS),
    table("sitecalibration", "with `--bias-correction reference`: line, interval, error "
        "before and after of every site (T3)", _CALIBRATION, always=False),
    table("harmonisation", "with `--harmonise`: what sites did to gaps, contributions and "
        "volumes, before and after (T3)", _HARMONISATION, always=False),
    table("harmonisedvolumes", "with `--harmonise`: volumes of all scans and regions, as computed "
        "and without effects of sites, long", _HARMONISED_VOLUMES, always=False),
    table("metrics", "accuracy with intervals, from raw (and calibrated) predictions: all, "
        "unflagged, by sex, site, group and decade (T2)", _METRICS),
    table("predictions", "every target of all scans, as the participant level wrote them",
        (*c.IDENTITY, *participant.TARGETS), key="group_predictions", always=False),
    table("targets", "scores of every target by its type, with intervals: errors and correlation "
        "of numbers, accuracy, ROC area and calibration of classes", _TARGET_SCORES, always=False),
    table("confusion", "scans by true and predicted class", _CONFUSION, always=False),
    table("gaps", "mean gap and its slope on age, raw and corrected, with the line and its source "
        "(T3)", _GAPS),
    table("gapmodel", "the gap, raw or calibrated, explained by age, sex, group, brain volume, "
        "image quality, site and covariates (T3)", _GAPMODEL, always=False),
    table("reliability", "repeated scans: within-person SD, ICC, smallest detectable change, "
        "change per year (T4)", _RELIABILITY, always=False),
    table("change", "each participant with several scans: first, last, change (T4)", _CHANGE,
        always=False),
    table("sensitivity", "without flagged scans, with and without scans of low ratings, with "
        "another baseline, between members of the ensemble (T7)", _SENSITIVITY, always=False),
    table("outliers", "scans with an unusual quality metric or gap", _OUTLIERS),
    table("qc", "image quality of all scans", (*c.IDENTITY, *participant.QC), key="group_qc",
        always=False),
    table("notes", "sentences: what was left out and why, and warnings", _NOTES),
)  # fmt: skip
