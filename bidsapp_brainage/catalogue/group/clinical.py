"""Tables of the group about factors, and about differences between groups."""

from __future__ import annotations

from bidsapp_brainage.catalogue import columns as c
from bidsapp_brainage.catalogue.cards import Column, Output
from bidsapp_brainage.catalogue.group.models import (
    DF,
    FIT_METHOD,
    FORMULA,
    HEDGES_G,
    HEDGES_G_CI95_LOWER,
    HEDGES_G_CI95_UPPER,
    STATISTIC,
    P,
    table,
)

FACTORS: tuple[Column, ...] = (
    Column("factor", "Factor", "Column of the table given with --factors."),
    Column("kind", "Kind", "How the column was used.", levels={
        "number": "in SDs, tested by t", "category": "levels, tested together by F"}),
    c.N_PARTICIPANTS,
    Column("n_missing", "Without value", "People of the models who have no value.", minimum=0),
    Column("n_levels", "Levels", "Categories with enough people; n/a for numbers.", minimum=2),
    Column("estimate", "Years per SD", "Change of the gap for one SD of the factor, given the "
        "covariates; numbers only.", units="year"),
    c.CI95_LOWER,
    c.CI95_UPPER,
    Column("sd", "SD", "Standard deviation of the factor, in its own unit.", minimum=0),
    Column("effect", "Effect", "Partial correlation of a number with the gap, given the "
        "covariates; of a category the root of its partial eta squared, which has no sign.",
        minimum=-1, maximum=1),
    Column("effect_ci95_lower", "Lower end of the effect's 95 % interval",
        "2.5 % point (Fisher's z); numbers only.", minimum=-1, maximum=1),
    Column("effect_ci95_upper", "Upper end of the effect's 95 % interval",
        "97.5 % point (Fisher's z); numbers only.", minimum=-1, maximum=1),
    Column("statistic", "Statistic", "t of a number, F of a category, with HC3 errors."),
    DF,
    P,
    Column("q", "q", "p corrected over all tested factors by the method of Benjamini and Hochberg.",
        minimum=0, maximum=1),
    Column("formula", "Formula", "The model."),
    Column("remark", "Remark", "Why the factor was not tested; n/a if it was."),
)  # fmt: skip

_GROUPS: tuple[Column, ...] = (
    Column("group_a", "Group A", "The first group; the reference where it is one of the two and "
        "the table is about separation."),
    Column("group_b", "Group B", "The second group."),
)  # fmt: skip
_COUNTS: tuple[Column, ...] = (
    Column("n_a", "People of A", "Participants of the first group.", minimum=0),
    Column("n_b", "People of B", "Participants of the second group.", minimum=0),
)

PAIRS: tuple[Column, ...] = (
    *_GROUPS,
    *_COUNTS,
    Column("mean_a", "Mean of A", "Mean gap of the first group, without covariates.",
        units="year"),
    Column("mean_b", "Mean of B", "Mean gap of the second group, without covariates.",
        units="year"),
    Column("difference", "A minus B, adjusted", "Difference of the gaps, given the other terms of "
        "the model.", units="year"),
    c.CI95_LOWER,
    c.CI95_UPPER,
    STATISTIC,
    DF,
    P,
    Column("p_holm", "p (Holm)", "p corrected over all pairs of groups by Holm's method.",
        minimum=0, maximum=1),
    HEDGES_G,
    HEDGES_G_CI95_LOWER,
    HEDGES_G_CI95_UPPER,
    FIT_METHOD,
    FORMULA,
)  # fmt: skip

PREDICTORS = Column("predictors", "Predictors", "What tells the groups apart.", levels={
    "gap": "the gap alone", "covariates": "age, sex and the other terms of the model, without the "
    "gap", "covariates and gap": "both"})  # fmt: skip

SEPARATION: tuple[Column, ...] = (
    *_GROUPS,
    PREDICTORS,
    *_COUNTS,
    Column("auc", "AUC", "Area under the ROC curve: how often a person of group B has a higher "
        "score than one of group A; .5 is chance. Regressions are fitted on other people.",
        minimum=0, maximum=1),
    c.CI95_LOWER,
    c.CI95_UPPER,
    Column("added", "Added by the gap", "AUC of covariates and gap minus that of the covariates."),
    Column("added_ci95_lower", "Lower end of its 95 % interval", "2.5 % point."),
    Column("added_ci95_upper", "Upper end of its 95 % interval", "97.5 % point."),
)  # fmt: skip

ROC: tuple[Column, ...] = (
    *_GROUPS,
    PREDICTORS,
    Column("false_positive_rate", "False positives", "Share of group A above the threshold.",
        minimum=0, maximum=1),
    Column("true_positive_rate", "True positives", "Share of group B above the threshold.",
        minimum=0, maximum=1),
)  # fmt: skip

TABLES: tuple[Output, ...] = (
    table("factors", "with `--factors`: the gap against every column of a table, with effect sizes "
        "and correction for many tests", FACTORS, always=False),
    table("grouppairs", "with `--group-column`: every two groups compared, given the covariates",
        PAIRS, always=False),
    table("groupseparation", "with `--group-column`: how well the gap tells two groups apart in "
        "people left out, and what it adds to the covariates", SEPARATION, always=False),
    table("grouproc", "with `--group-column`: points of the ROC curves", ROC, always=False),
)  # fmt: skip
