"""Columns of linear models and of reliability, in tables of the group."""

from __future__ import annotations

from . import columns as c
from .cards import Column

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
