"""Columns of the tables that methods of explanation make."""

from __future__ import annotations

from collections.abc import Mapping

from . import columns as c
from .cards import Column

#: Contributions below this with every baseline have no sign to speak of.
NEGLIGIBLE_YEARS = 0.1

DELTA_AGE = Column("delta_age", "Contribution", "Predicted age with the region occluded minus "
    "predicted age of the intact image; negative: the region makes the brain look older. "
    "Independent of the true age.", units="year", derivative=True)  # fmt: skip
DELTA_AGE_PER_ML = Column("delta_age_per_ml", "Contribution per volume",
    "delta_age divided by the volume of the region.", units="year/mL", derivative=True,
    shown=("Per ml", "contribution divided by volume, years per ml"))  # fmt: skip
DELTA_AGE_SD_MEMBERS = Column("delta_age_sd_members", "SD over members",
    "Standard deviation over the members of the ensemble of the contribution; n/a with a single "
    "member.", units="year", minimum=0, derivative=True,
    shown=("SD, members", "standard deviation over the members of the ensemble, years"),
)  # fmt: skip
STABLE = Column("stable", "Stable sign", "true: with every baseline of the run delta_age has the "
    "same sign and is larger than its standard deviation over the members of the ensemble; false: "
    f"not so; n/a: not so, but below {NEGLIGIBLE_YEARS:g} years with every baseline, or fewer than "
    "two baselines, or an empty region.", levels={"true": "the sign holds whatever replaces the "
    "region", "false": "it depends on what replaces the region, or members of the ensemble "
    "disagree"})  # fmt: skip
DELTA_ENTROPY = Column("delta_entropy", "Change of entropy",
    "Entropy of the distribution with the region occluded minus that of the intact image.",
    units="nat")  # fmt: skip
JS_DIVERGENCE = Column("js_divergence", "Jensen-Shannon divergence",
    "Divergence between the distributions of the intact and the occluded image.", units="nat",
    minimum=0)  # fmt: skip
IMPORTANCE = Column("importance", "Importance", "Absolute value of delta_age.", units="year",
    minimum=0, derivative=True)  # fmt: skip
IMPORTANCE_PER_ML = Column("importance_per_ml", "Importance per volume",
    "importance divided by the volume of the region.", derivative=True)  # fmt: skip
IMPORTANCE_SD_MEMBERS = Column("importance_sd_members", "SD over members of the importance",
    "Standard deviation over the members of the ensemble of the absolute sum over the region; n/a "
    "with a single member.", minimum=0, derivative=True)  # fmt: skip
METHOD_BASELINE = Column("baseline", "Baseline", "What the method compares the image with; n/a for "
    "methods without baseline.")  # fmt: skip
IMPORTANCE_RANK = Column("rank", "Rank", "Rank of importance, 1 is the largest.",
    minimum=1)  # fmt: skip
NULL_MEAN = Column("null_mean", "Mean of the null", "Mean delta_age of control regions of the same "
    "size: random parcels of the compartment, carried to the size of the region.",
    derivative=True)  # fmt: skip
NULL_SD = Column("null_sd", "SD of the null", "Standard deviation of the delta_age of control "
    "regions of the same size.", minimum=0, derivative=True)  # fmt: skip
P_NULL = Column("p_null", "p against the null", "Two-sided share of control regions of the same "
    "size whose contribution is at least as extreme; never below 2 / (number + 1).", minimum=0,
    maximum=1, derivative=True)  # fmt: skip
PERCENTILE_NULL = Column("percentile_null", "Percentile in the null",
    "Percentile of delta_age among control regions of the same size.", minimum=0, maximum=100,
    derivative=True)  # fmt: skip
Z_NULL = Column("z_null", "z against the null", "delta_age minus null_mean, divided by null_sd.",
    derivative=True,
    shown=("z (null)", "against control regions of the same size"))  # fmt: skip
REGION_FLAG = Column("ood_flag", "Doubt flag", "Why the contribution of this region may not be "
    "trusted; none if nothing was found.")  # fmt: skip
SPEARMAN = Column("spearman", "Rank correlation, signed",
    "Spearman correlation over regions of delta_age; n/a for explanations without a sign (noise).",
    minimum=-1, maximum=1, derivative=True)  # fmt: skip
SPEARMAN_ABS = Column("spearman_abs", "Rank correlation, absolute", "Spearman correlation over "
    "regions of the size of the contributions. Large regions have large contributions in every "
    "explanation, so this is the most favourable number.", minimum=-1, maximum=1,
    derivative=True)  # fmt: skip
SPEARMAN_ABS_PER_ML = Column("spearman_abs_per_ml", "Rank correlation, per volume",
    "The same after division by the volume of the region.", minimum=-1, maximum=1,
    derivative=True)  # fmt: skip
N_COMPARED = Column("n_regions", "Regions", "Number of regions that both explanations have a value "
    "for.", minimum=0)  # fmt: skip

MODALITIES: tuple[Column, ...] = (
    c.MODALITY,
    *c.REGION,
    c.N_VOXELS,
    DELTA_AGE,
    DELTA_AGE_SD_MEMBERS,
)

OCCLUSION: tuple[Column, ...] = (
    *c.REGION,
    c.N_VOXELS,
    c.VOLUME_MM3,
    c.BASELINE,
    DELTA_AGE,
    STABLE,
    Column("abs_delta_age", "Absolute contribution", "Absolute value of delta_age.", units="year",
        minimum=0, derivative=True),
    DELTA_AGE_PER_ML,
    Column("delta_age_adj", "Size-adjusted contribution",
        "Residual of abs_delta_age on the logarithm of the volume over all regions of this image.",
        units="year", derivative=True,
        shown=("Size-adjusted", "residual on the logarithm of the volume")),
    DELTA_AGE_SD_MEMBERS,
    Column("nosa_importance", "Published NOSA importance", "The published importance (He et al. "
        "2025), for comparison with that work: absolute difference between the absolute prediction "
        "errors with the region occluded and intact. It contains the true age (n/a without it) and "
        "has no sign.", units="year", minimum=0, derivative=True,
        shown=("NOSA", "published definition; needs the true age")),
    Column("nosa_importance_scaled", "Published NOSA importance, scaled",
        "nosa_importance scaled from 0 to 1 over the regions of this image.", minimum=0, maximum=1,
        derivative=True),
    Column("null_mean", "Mean of the null", "Mean contribution of control regions of the same "
        "size: random parcels of the compartment, carried to the size of the region.",
        units="year"),
    Column("null_sd", "SD of the null", "Standard deviation of the contributions of control "
        "regions of the same size.", units="year", minimum=0),
    Z_NULL,
    P_NULL,
    PERCENTILE_NULL.worded("Percentile of delta_age among control regions of the same size; 50 is "
        "ordinary for the size."),
    Column("delta_age_mirrored", "Change of the predicted age, image mirrored",
        "delta_age of the same region when left and right of the image are exchanged: what differs "
        "from delta_age is the network's preference for a side; n/a for networks that need a full "
        "pass per region.", units="year", derivative=True),
    c.RANK,
    DELTA_ENTROPY,
    JS_DIVERGENCE,
    REGION_FLAG,
)  # fmt: skip

GROUPS: tuple[Column, ...] = (
    Column("level", "Level", "What the regions were grouped by."),
    Column("name", "Group", "Name of the group of regions."),
    Column("n_regions", "Regions", "Number of regions in the group."),
    c.N_VOXELS,
    c.VOLUME_MM3,
    DELTA_AGE.worded("Predicted age with the whole group occluded at once minus predicted age of "
        "the intact image."),
    DELTA_AGE_SD_MEMBERS,
    DELTA_ENTROPY,
    JS_DIVERGENCE,
    Column("sum_of_regions", "Sum of single regions", "Sum of the contributions of the group's "
        "regions, each occluded by itself; the difference to delta_age shows how far contributions "
        "are from adding up.", units="year", derivative=True),
)  # fmt: skip

BASELINES: tuple[Column, ...] = (
    c.BASELINE,
    c.INDEX,
    c.NAME,
    c.N_VOXELS,
    DELTA_AGE,
    DELTA_AGE_SD_MEMBERS,
    DELTA_AGE_PER_ML,
    Column("rank", "Rank", "Rank of abs_delta_age among the regions with this baseline, 1 is the "
        "largest.", minimum=1),
    DELTA_ENTROPY,
    JS_DIVERGENCE,
)  # fmt: skip

CONTROLS: tuple[Column, ...] = (
    c.BASELINE,
    Column("control", "Control", "What was occluded at once.", levels={
        "outside_brain": "all voxels outside the brain: 0, or what the network takes from outside",
        "unlabelled": "voxels of the brain that belong to no region of the atlas",
        "all_regions": "all regions of the atlas at once",
        "sum_of_regions": "nothing: the sum of the contributions of the single regions, to be "
        "compared with all_regions", "whole_brain": "the whole brain"}),
    c.N_VOXELS,
    c.VOLUME_MM3,
    DELTA_AGE.worded("Predicted age with all of this occluded minus predicted age of the intact "
        "image."),
    DELTA_AGE_SD_MEMBERS,
    JS_DIVERGENCE,
)  # fmt: skip

SHAPLEY: tuple[Column, ...] = (
    *c.REGION,
    c.N_VOXELS,
    DELTA_AGE,
    Column("shapley_age", "Shapley value", "Mean change of the predicted age when the region is "
        "occluded after those before it in random orders of all regions (Castro 2009). The values "
        "of all regions add up to the change with all regions occluded.", units="year",
        derivative=True),
    Column("standard_error", "Standard error", "Of shapley_age, over pairs of an order and its "
        "reverse.", units="year", minimum=0, derivative=True),
    Column("shapley_age_sd_members", "SD over members", "Standard deviation of shapley_age over "
        "the members of the ensemble; n/a with a single member.", units="year", minimum=0,
        derivative=True),
)  # fmt: skip

PATCHES: tuple[Column, ...] = (
    *c.REGION,
    c.N_VOXELS,
    Column("patch_age", "Age of the region", "Mean over its voxels of the ages of the patches "
        "around them; n/a where no patch has an age.", units="year"),
    Column("patch_age_sd_members", "SD over members", "Standard deviation of patch_age over the "
        "members of the ensemble; n/a with a single member.", units="year", minimum=0),
    Column("patch_gap", "Gap of the region", "patch_age minus chronological age.", units="year",
        derivative=True),
    Column("patch_gap_corrected", "Corrected gap of the region", "patch_age minus the age that "
        "these patches give on average to people of this chronological age who were not trained "
        "on.", units="year", derivative=True),
    Column("patch_mae", "Error of the patches", "Mean absolute error of these patches in people "
        "not trained on, each by its share in the region; the error of their mean is not larger. "
        "n/a where the model card does not tell.", units="year", minimum=0),
)  # fmt: skip

CURVES: tuple[Column, ...] = (
    Column("ranking", "Ranking", "Which explanation the order of the regions was taken from, the "
        "largest absolute contribution first."),
    Column("curve", "Curve", "Whether regions are removed from the intact image or put back into "
        "the occluded one.", levels={"deletion": "Regions are occluded one after another, the most "
            "important first.", "insertion": "All regions are occluded at the start and restored "
            "one after another, the most important first."}),
    Column("step", "Step", "Number of regions that were occluded or restored."),
    c.INDEX,
    Column("fraction_occluded", "Occluded part", "Part of the atlas's voxels that is occluded at "
        "this step.", minimum=0, maximum=1, derivative=True),
    Column("predicted_age", "Predicted age", "Predicted age at this step.", units="year"),
    DELTA_AGE.worded("predicted_age minus the predicted age at the start of the curve."),
    Column("random_abs_delta_age", "Change in random order",
        "Mean over random orders of the absolute delta_age at the same occluded part.",
        units="year", minimum=0, derivative=True),
    JS_DIVERGENCE.worded("Divergence between the distributions at this step and at the start of "
        "the curve."),
    Column("area", "Area", "Area under the absolute change of age over the occluded part, of the "
        "whole curve.", units="year", minimum=0, derivative=True),
    Column("random_area_mean", "Mean random area", "Mean area of curves with the same regions in "
        "random order; a faithful ranking has a larger area.", units="year", minimum=0,
        derivative=True),
    Column("random_area_sd", "SD of random areas", "Standard deviation of those areas.",
        units="year", minimum=0, derivative=True),
    Column("area_between", "Area between", "area minus random_area_mean: above 0 the ranking moves "
        "the prediction sooner than chance.", units="year", derivative=True),
    Column("z_area", "z of the area", "area_between divided by random_area_sd.", derivative=True),
)  # fmt: skip

PAIRS: tuple[Column, ...] = (
    Column("index_a", "First region", "Label of the first region."),
    Column("name_a", "Name of the first region", "Its name in the atlas."),
    Column("index_b", "Second region", "Label of the second region."),
    Column("name_b", "Name of the second region", "Its name in the atlas."),
    Column("delta_a", "Contribution of the first", "Change of the predicted age with the first "
        "region occluded.", units="year", derivative=True),
    Column("delta_b", "Contribution of the second", "Change of the predicted age with the second "
        "region occluded.", units="year", derivative=True),
    Column("delta_both", "Contribution of both", "Change of the predicted age with both regions "
        "occluded.", units="year", derivative=True),
    Column("interaction", "Interaction", "delta_both minus delta_a minus delta_b: what the pair "
        "does beyond its parts.", units="year", derivative=True),
)  # fmt: skip

#: Of control regions of the same size.
NULL = (NULL_MEAN, NULL_SD, Z_NULL, P_NULL, PERCENTILE_NULL)
_NULL_OF_IMPORTANCE = (
    NULL_MEAN.worded(
        "Mean importance of control regions of the same size: random parcels of the "
        "compartment, carried to the size of the region."
    ),
    NULL_SD.worded("Standard deviation of the importance of control regions of the same size."),
    Z_NULL.worded("importance minus null_mean, divided by null_sd."),
    P_NULL,
    PERCENTILE_NULL.worded("Percentile of importance among control regions of the same size."),
)


def attribution(
    method: str,
    words: str,
    delta_age: Column,
    importance: Column = IMPORTANCE,
    null: tuple[Column, ...] = NULL,
) -> tuple[Column, ...]:
    """Columns of the table of one attribution, by the key and the words of its method."""
    return (
        *c.REGION,
        c.N_VOXELS,
        c.VOLUME_MM3,
        Column("method", "Method", "How the prediction was explained.", levels={method: words}),
        METHOD_BASELINE,
        delta_age,
        DELTA_AGE_SD_MEMBERS,
        DELTA_AGE_PER_ML,
        importance,
        IMPORTANCE_SD_MEMBERS,
        IMPORTANCE_PER_ML,
        *null,
        IMPORTANCE_RANK,
        REGION_FLAG,
    )


LRP = attribution(
    "lrp",
    "layer-wise relevance propagation",
    DELTA_AGE.worded(
        "Minus the relevance of the region. What is propagated is the predicted age linearised "
        "at the logits (gradient times logits), so values are first-order years; they sum to "
        "that number and not to a change of the predicted age. Negative: the region makes the "
        "brain look older."
    ),
)

IG = attribution(
    "ig",
    "integrated gradients",
    DELTA_AGE.worded(
        "Minus the integrated gradients of the predicted age, summed over the region: the share "
        "of the region in the change of the predicted age when the whole image becomes the "
        "baseline. Negative: the region makes the brain look older, as in the occlusion table."
    ),
)

NOISE = attribution("noise", "learned-noise importance map",
    Column("delta_age", "Contribution", "Always n/a: the method has no sign."),
    Column("importance", "Importance", "How little noise the region bears: one minus the tolerated "
        "noise over the largest allowed, summed over the volume of the region. Large regions have "
        "large sums; importance_per_ml (0 to 1) is the mean over the region.", units="mL",
        minimum=0, derivative=True), _NULL_OF_IMPORTANCE)  # fmt: skip


def randomisation(methods: Mapping[str, str]) -> tuple[Column, ...]:
    """Columns of the table of randomised networks, by key and words of the methods in it."""
    return (
        Column("method", "Method", "The explanation that was repeated.", levels=methods),
        Column("step", "Step", "0 is the trained network; each step randomises one more layer, "
            "from the output down.", minimum=0),
        Column("layer", "Layer", "The layer that was randomised last; n/a for the trained "
            "network."),
        N_COMPARED,
        SPEARMAN.worded("Spearman correlation over regions of delta_age with that of the trained "
            "network; it must fall."),
        SPEARMAN_ABS.worded("The same of the sizes of the contributions."),
        SPEARMAN_ABS_PER_ML,
    )  # fmt: skip


AGREEMENT: tuple[Column, ...] = (
    c.EXPLANATION_A,
    c.EXPLANATION_B,
    N_COMPARED,
    SPEARMAN,
    SPEARMAN_ABS,
    SPEARMAN_ABS_PER_ML,
)
