"""Tables of the group about one model with one atlas."""

from __future__ import annotations

from bidsapp_brainage.catalogue import columns as c
from bidsapp_brainage.catalogue import explanation_columns as e
from bidsapp_brainage.catalogue.cards import ATLAS, Column, Output
from bidsapp_brainage.catalogue.group import models as g
from bidsapp_brainage.catalogue.methods import METHODS


def _table(
    suffix: str, text: str, columns: tuple[Column, ...], *, key: str = "", always: bool = True
) -> Output:
    return Output(
        key or suffix, suffix, ".tsv", text, level="group",
        entities=(*ATLAS, "desc"), required=("atlas", "desc"),
        desc="{model}", columns=columns, always=always,
    )  # fmt: skip


ROW_NAME = Column("name", "Name", "The region, or the group of regions of this level.")
REGION_OR_GROUP = (c.INDEX, ROW_NAME, *c.REGION[2:])
P_OF_T = Column("p", "p", "Two-sided p value of t.", minimum=0, maximum=1)
MEAN_DELTA_AGE = Column("mean_delta_age", "Mean contribution", "Mean over participants of "
    "delta_age.", units="year")  # fmt: skip
SD_DELTA_AGE = Column("sd_delta_age", "SD of the contribution", "Standard deviation over "
    "participants of delta_age.", units="year", minimum=0)  # fmt: skip
MEAN_NOSA_IMPORTANCE = Column("mean_nosa_importance", "Mean NOSA importance",
    "Mean over participants whose age is known; that of a group from the predicted age.",
    units="year", minimum=0)  # fmt: skip

AGE_GROUP = Column("age_group", "Age group", "Ages from-to in years, the upper end excluded except "
    "in the last; groups of He et al. 2025. A description: cut points are a choice. Where a table "
    "is of everybody, too: all.")  # fmt: skip

STABLE_ESTIMATE = Column(
    "stable",
    "Stable sign",
    "true: least squares give an estimate of the "
    "same sign with every baseline of the participant level; false: not so; n/a: fewer than two "
    "baselines, or groups of regions, which are occluded with the first baseline only.",
)

_HARMONISED = (
    c.PARTICIPANT_ID,
    c.SCAN,
    c.INDEX,
    ROW_NAME,
    Column("delta_age", "Contribution", "As computed, with the first baseline.", units="year"),
    Column("delta_age_harmonised", "Contribution, harmonised", "Without effects of the site, as "
        "known from the reference people; effects of age and sex are kept. n/a where a reference "
        "person lacks the region.", units="year", derivative=True),
)  # fmt: skip

_OCCLUSIONSTATS = (
    c.LEVEL,
    *REGION_OR_GROUP,
    c.BASELINE,
    Column("n_regions", "Regions", "Number of atlas regions in the row: 1, or those of the group "
        "that have voxels.", minimum=1),
    c.N_PARTICIPANTS,
    MEAN_DELTA_AGE,
    SD_DELTA_AGE,
    c.CI95_LOWER,
    c.CI95_UPPER,
    Column("mean_abs_delta_age", "Mean absolute contribution", "Mean over participants of "
        "abs_delta_age.", units="year", minimum=0),
    Column("mean_volume_mm3", "Mean volume", "Mean over participants of the volume.", units="mm^3",
        minimum=0),
    Column("mean_delta_age_per_ml", "Mean contribution per volume", "Mean over participants of "
        "delta_age_per_ml.", units="year/mL"),
    MEAN_NOSA_IMPORTANCE,
    Column("t", "t", "One-sample t statistic of delta_age against zero."),
    P_OF_T,
    Column("q", "q", "p corrected for the number of rows of the same level by the "
        "Benjamini-Hochberg procedure.", minimum=0, maximum=1),
    Column("effect_size", "Effect size", "Mean over standard deviation of delta_age (one-sample "
        "Cohen's d)."),
    Column("stable", "Stable sign", "true: the mean contribution has the same sign with every "
        f"baseline; false: not so; n/a: not so, but below {e.NEGLIGIBLE_YEARS:g} years with every "
        "baseline, or fewer than two baselines, or groups of regions, which are occluded with the "
        "first baseline only."),
    Column("share_stable", "People with a stable sign", "Share of the participants, of those whose "
        "sign can be judged, whose own contribution has a stable sign (column stable of the "
        "participants' tables).", minimum=0, maximum=1),
    Column("p_stable", "p with every baseline", "Largest p over the baselines if all their means "
        "have the same sign, else 1: a test that the sign is the same with every baseline "
        "(intersection-union, Berger 1982).", minimum=0, maximum=1),
    Column("q_stable", "q with every baseline", "p_stable corrected over all regions, stable or "
        "not, by the Benjamini-Hochberg procedure: nothing is chosen before it is tested.",
        minimum=0, maximum=1),
    Column("null_percentile", "Null percentile", "Percentile of the mean contribution among "
        "control regions of the same size.", minimum=0, maximum=100),
    Column("mean_null", "Mean of the null", "Mean over participants of null_mean, the contribution "
        "of random parcels of the same size.", units="year"),
    Column("mean_z_null", "Mean z against the null", "Mean over participants of z_null."),
    Column("t_null", "t against the null", "One-sample t statistic of delta_age minus null_mean: "
        "the region against random parcels of its size."),
    Column("p_null", "p against the null", "Two-sided p value of t_null.", minimum=0, maximum=1),
    Column("q_null", "q against the null", "p_null corrected over the regions by the "
        "Benjamini-Hochberg procedure.", minimum=0, maximum=1),
    Column("p_null_maxt", "p against the null, max-T", "p corrected over the regions by flipping "
        "signs of participants (largest absolute t).", minimum=0, maximum=1),
    Column("effect_size_null", "Effect size against the null", "Mean over standard deviation of "
        "delta_age minus null_mean."),
    c.RANK,
    Column("rank_ci95_lower", "Lower end of the rank's 95 % interval",
        "2.5 % point of the rank in bootstrap samples of participants.", minimum=1),
    Column("rank_ci95_upper", "Upper end of the rank's 95 % interval", "97.5 % point.", minimum=1),
)  # fmt: skip

_OCCLUSIONMODEL = (
    c.LEVEL,
    *REGION_OR_GROUP,
    *g.FIT,
    STABLE_ESTIMATE,
    Column("p_maxt", "p, max-T", "p corrected over all rows of the same level and term by "
        "permutation of the largest statistic (Freedman-Lane; within sites).", minimum=0,
        maximum=1),
    Column("q", "q", "p corrected over all rows of the same level and term by the "
        "Benjamini-Hochberg procedure.", minimum=0, maximum=1),
)  # fmt: skip

_OCCLUSIONRELIABILITY = (
    c.LEVEL,
    *REGION_OR_GROUP,
    *g.ICC,
)

_LIFESPAN = (
    c.LEVEL,
    ROW_NAME,
    Column("age", "Age", "Age at which the curve is evaluated.", units="year"),
    Column("fitted_delta_age", "Fitted contribution", "Natural cubic spline of delta_age on age, "
        "one mean value per participant.", units="year"),
    c.CI95_LOWER,
    c.CI95_UPPER,
)  # fmt: skip

_LIFESPANSTATS = (
    c.LEVEL,
    ROW_NAME,
    c.N_PARTICIPANTS,
    Column("spline_df", "Spline degrees of freedom", "Degrees of freedom of the natural cubic "
        "spline.", minimum=1),
    Column("F_age", "F of age", "Wald F (HC3) of all spline terms."),
    Column("p_age", "p of age", "p value of F_age.", minimum=0, maximum=1),
    Column("q_age", "q of age", "p_age corrected over the rows of the level by the "
        "Benjamini-Hochberg procedure.", minimum=0, maximum=1),
    Column("F_nonlinear", "F of curvature", "F of the spline against a straight line."),
    Column("p_nonlinear", "p of curvature", "p value of F_nonlinear.", minimum=0, maximum=1),
    Column("q_nonlinear", "q of curvature", "p_nonlinear corrected in the same way.", minimum=0,
        maximum=1),
    Column("slope_per_decade", "Slope per decade", "Slope of the straight line of delta_age on "
        "age.", units="year/decade"),
    STABLE_ESTIMATE.worded("true: the slope has the same sign with every baseline of the "
        "participant level; false: not so; n/a: fewer than two baselines, or groups of regions, "
        "which are occluded with the first baseline only."),
    Column("spearman_age", "Spearman correlation with age", "Rank correlation of delta_age with "
        "age over participants."),
    Column("peak_age", "Age of the extreme", "Age at which the absolute fitted contribution is "
        "largest.", units="year"),
    Column("shape", "Shape", "Where the middle of the absolute curve lies; says nothing about "
        "significance.", levels={"inverted_u": "above the line between its ends", "u": "below it"}),
)  # fmt: skip

_AGEGROUPS = (
    c.LEVEL,
    ROW_NAME,
    AGE_GROUP,
    c.N_PARTICIPANTS,
    MEAN_DELTA_AGE,
    SD_DELTA_AGE,
    c.CI95_LOWER,
    c.CI95_UPPER,
    MEAN_NOSA_IMPORTANCE,
    Column("mean_nosa_importance_scaled", "Mean NOSA importance, scaled", "Mean over participants "
        "of the published importance scaled from 0 to 1 over the rows of the level of each "
        "participant, as He et al. 2025 scale it over regions.", minimum=0, maximum=1),
    c.RANK,
)  # fmt: skip

_ASYMMETRY = (
    Column("pair", "Pair", "Name of the homologous pair, without side."),
    Column("index_left", "Left label", "Label of the left region."),
    Column("index_right", "Right label", "Label of the right region."),
    c.N_PARTICIPANTS,
    Column("mean_left", "Mean left", "Mean over participants of delta_age of the left region.",
        units="year"),
    Column("mean_right", "Mean right", "The same of the right region.", units="year"),
    Column("mean_difference", "Left minus right", "Mean over participants of the difference of the "
        "contributions; interval and test are of this.", units="year"),
    c.CI95_LOWER,
    c.CI95_UPPER,
    STABLE_ESTIMATE.worded("true: the mean of left minus right has the same sign with every "
        "baseline of the participant level; false: not so; n/a: fewer than two baselines."),
    Column("mean_asymmetry", "Asymmetry index", "Mean over participants of (|L| - |R|) / (|L| + "
        "|R|).", minimum=-1, maximum=1),
    Column("t", "t", "One-sample t statistic of the difference against zero."),
    P_OF_T,
    Column("q", "q", "p corrected over the pairs by the Benjamini-Hochberg procedure.", minimum=0,
        maximum=1),
    Column("p_maxt", "p, max-T", "p corrected over the pairs by flipping signs of participants.",
        minimum=0, maximum=1),
    Column("effect_size", "Effect size", "Mean over standard deviation of the difference."),
    Column("mean_difference_flipped", "Left minus right, flipped input",
        "The same difference (of the sides of the image shown) when the input was mirrored; n/a "
        "without that control."),
    Column("brain_part", "Part of the brain", "Half of difference minus flipped difference: "
        "follows the brain.", units="year"),
    Column("model_part", "Part of the model", "Half of their sum: stays with the side of the "
        "network's input.", units="year"),
)  # fmt: skip

_STABILITY = (
    c.LEVEL,
    Column("measure", "Measure", "What was compared.", levels={
        "split_half_spearman": "Spearman correlation of the mean contributions of two random "
        "halves of the participants, signed", "split_half_spearman_abs": "the same of the absolute "
        "means", "individual_spearman": "Spearman correlation of one participant's contributions "
        "with the mean of the others", "top10_overlap": "share of the ten strongest regions that "
        "two random halves have in common"}),
    Column("value", "Value", "Mean over splits or participants."),
    c.CI95_LOWER,
    c.CI95_UPPER,
    Column("n_repeats", "Repeats", "Random splits, or participants.", minimum=1),
    c.N_PARTICIPANTS,
    Column("n_regions", "Regions", "Number of regions, or of groups of the level.", minimum=1),
)  # fmt: skip

_AGREEMENTSTATS = (
    c.EXPLANATION_A,
    c.EXPLANATION_B,
    Column("measure", "Measure", "spearman, spearman_abs or spearman_abs_per_ml of the "
        "participants' agreement tables, or group_spearman_abs: of the mean contributions."),
    c.N_PARTICIPANTS,
    Column("mean", "Mean", "Mean over participants; n_participants of them."),
    Column("sd", "SD", "Standard deviation over participants."),
    c.CI95_LOWER,
    c.CI95_UPPER,
)  # fmt: skip

_ATTRIBUTIONSTATS = (
    Column("method", "Method", "How the predictions were explained.",
        levels={card.key: card.title for card in METHODS if card.family == "attribution"}),
    e.METHOD_BASELINE,
    AGE_GROUP,
    *REGION_OR_GROUP,
    c.N_PARTICIPANTS,
    Column("mean_volume_mm3", "Mean volume", "Mean over participants of the volume.", units="mm^3",
        minimum=0),
    MEAN_DELTA_AGE.worded("Mean over participants of delta_age, which is the mean over the members "
        "of the ensemble; n/a for a method without sign."),
    SD_DELTA_AGE,
    Column("se_delta_age", "Standard error of the contribution", "sd_delta_age over the square "
        "root of n_participants.", units="year", minimum=0),
    Column("mean_delta_age_sd_members", "Spread over members", "Mean over participants of "
        "delta_age_sd_members: how far the members of the ensemble differ about one person.",
        units="year", minimum=0),
    Column("mean_importance", "Mean importance", "Mean over participants of importance: years, or "
        "mL for learned noise.", minimum=0),
    Column("se_importance", "Standard error of the importance", "Standard deviation over "
        "participants of importance, over the square root of n_participants.", minimum=0),
    Column("mean_importance_sd_members", "Spread over members of the importance",
        "Mean over participants of importance_sd_members.", minimum=0),
    Column("mean_importance_per_ml", "Mean importance per volume", "Mean over participants of "
        "importance_per_ml.", minimum=0),
    Column("se_importance_per_ml", "Standard error of the importance per volume",
        "Standard deviation over participants of importance_per_ml, over the square root of "
        "n_participants.", minimum=0),
    c.CI95_LOWER.worded("Lower end of the t interval of mean_delta_age, or of "
        "mean_importance_per_ml for a method without sign."),
    c.CI95_UPPER.worded("Upper end of that interval."),
    Column("mean_z_null", "Mean z against the null", "Mean over participants of z_null."),
    c.RANK.worded("1 for the region with the largest mean importance of this method, baseline and "
        "age group."),
)  # fmt: skip

_PATCHAGESTATS = (
    *c.REGION,
    c.N_PARTICIPANTS,
    Column("mean_patch_age", "Mean age of the region", "Mean over participants of patch_age.",
        units="year"),
    Column("mae", "Error here", "Mean over participants of the size of patch_gap; n/a without "
        "chronological ages.", units="year", minimum=0),
    Column("mean_patch_mae", "Error in people not trained on", "Mean over participants of "
        "patch_mae, from the model card.", units="year", minimum=0),
    Column("mean_patch_gap", "Mean gap", "Mean over participants of patch_gap.", units="year",
        derivative=True),
    Column("patch_gap_lower", "Lower end", "Of the 95 % t interval of the mean gap.",
        units="year"),
    Column("patch_gap_upper", "Upper end", "Of the 95 % t interval of the mean gap.",
        units="year"),
    Column("mean_patch_gap_corrected", "Mean corrected gap", "Mean over participants of "
        "patch_gap_corrected.", units="year", derivative=True),
    Column("patch_gap_corrected_lower", "Lower end, corrected", "Of the 95 % t interval of the "
        "mean corrected gap.", units="year"),
    Column("patch_gap_corrected_upper", "Upper end, corrected", "Of the 95 % t interval of the "
        "mean corrected gap.", units="year"),
)  # fmt: skip

_LITERATURE = (
    Column("study", "Study", "Short citation."),
    Column("claim", "Claim", "What the study reports, in short."),
    Column("regions", "Regions here", "Regions of this atlas that stand for the structure."),
    AGE_GROUP.worded("Age group whose people count, for claims about single ages; n/a: everybody."),
    Column("measure", "Measure", "What the claim is compared with."),
    Column("value", "Value", "Value of the measure in this sample."),
    Column("n_regions", "Regions", "Regions that stand for the structure.", minimum=0),
    Column("n_stable", "Stable regions", "Those of them whose mean contribution has the same sign "
        "with every baseline; n/a with fewer than two baselines, and for measures without sign.",
        minimum=0),
    Column("percentile", "Percentile", "Mean percentile of these regions among all regions of the "
        "atlas by the measure; 100 is the strongest."),
    Column("best_rank", "Best rank", "Rank of the strongest of these regions.", minimum=1),
    Column("n_ranked", "Regions ranked", "Number of regions in the ranking.", minimum=1),
    Column("verdict", "Verdict", "By a rule fixed beforehand.", levels={
        "agrees": "mean percentile of at least 75; or the stated shape or direction with q or p < "
        "0.05", "partly": "mean percentile from 50 to 75, or the best region among the strongest "
        "tenth; or the stated shape in some of the networks", "differs": "neither; or another "
        "shape or direction with q or p < 0.05", "cannot tell": "no such region in the atlas, "
        "fewer than ten participants, a shape without significance, or fewer than half of the "
        "regions have a stable sign (this does not count for the published importance)"}),
)  # fmt: skip

TABLES: tuple[Output, ...] = (
    _table("occlusion", "all scans and regions, long", (*c.IDENTITY, *e.OCCLUSION),
        key="group_occlusion"),
    _table("occlusionstats", "one row per region and group of regions, the latter occluded as one "
        "and as mean over their regions (and baseline): mean, interval, tests against zero and "
        "against parcels of the same size, rank with interval (T5, T6)", _OCCLUSIONSTATS),
    _table("occlusionmodel", "per region and group: contribution explained by age, age squared, "
        "sex, group, brain volume, image quality, site and covariates, one row per term (T5, T6)",
        _OCCLUSIONMODEL, always=False),
    _table("occlusionreliability", "repeated scans: the same as `reliability.tsv` for every "
        "region's contribution (T4)", _OCCLUSIONRELIABILITY, always=False),
    _table("harmonised", "with `--harmonise`: contributions of all scans and regions, as computed "
        "and without effects of sites, long", _HARMONISED, always=False),
    _table("lifespan", "curves of the contribution over age (spline with 95 % band) of networks, "
        "lobes, hemispheres and regions", _LIFESPAN, always=False),
    _table("lifespanstats", "tests of those curves", _LIFESPANSTATS, always=False),
    _table("agegroups", "means in the age groups of He et al. 2025, as a description", _AGEGROUPS,
        always=False),
    _table("asymmetry", "left against right, homologous pairs", _ASYMMETRY, always=False),
    _table("stability", "how well region ranks repeat in halves of the sample", _STABILITY,
        always=False),
    _table("agreementstats", "rank agreement between explanations, over participants",
        _AGREEMENTSTATS, always=False),
    _table("attributionstats", "second opinions (`lrp`, `ig`, `noise`): one row per method, "
        "baseline, age group and region: mean, standard error over people, spread over members of "
        "the ensemble", _ATTRIBUTIONSTATS, always=False),
    _table("patchagestats", "of a model of patches with `--explain patches`: ages of regions over "
        "people, their gaps with intervals, and their error", _PATCHAGESTATS, always=False),
    _table("literature", "what published studies found, and what this sample shows", _LITERATURE,
        always=False),
)  # fmt: skip
