"""Tables of the group about the pace of ageing in people with several scans."""

from __future__ import annotations

from bidsapp_brainage.catalogue import columns as c
from bidsapp_brainage.catalogue.cards import Column, Output
from bidsapp_brainage.catalogue.group.models import P, table

PACE: tuple[Column, ...] = (
    Column("term", "Term", "What the row is about.", levels={
        "pace": "change of the predicted age per year within a person; with a group: of this group "
        "minus that of the reference",
        "between people": "difference of the predicted age for one year of age between people"}),
    Column("group", "Group", "The group whose pace is compared; n/a for the other terms."),
    Column("estimate", "Estimate", "Fixed effect of the mixed model.", units="year/year"),
    c.CI95_LOWER,
    c.CI95_UPPER,
    Column("se", "Standard error", "Of the mixed model.", units="year/year", minimum=0),
    P,
    c.N_PARTICIPANTS,
    c.N_SCANS,
    Column("sd_of_pace", "SD of the pace", "Over people, from the random slope; n/a where people "
        "have two scans.", units="year/year", minimum=0),
    Column("residual_sd", "Residual SD", "Of a scan about the line of its person.", units="year",
        minimum=0),
)  # fmt: skip

POWER: tuple[Column, ...] = (
    Column("years", "Years", "Time between the first and the last scan.", units="year",
        minimum=0),
    Column("n_scans", "Scans", "Scans of a person, at equal distances.", minimum=2),
    Column("floor_of_one", "Least pace of one person", "Difference from the expected pace that one "
        "person must show to lie outside of 95 % of the noise.", units="year/year", minimum=0),
    Column("difference", "Difference", "Difference of the mean paces of two groups.",
        units="year/year", minimum=0),
    Column("n_per_group", "People per group", "Needed to find that difference with a power of .8 "
        "at p < .05.", minimum=1),
)  # fmt: skip

TABLES: tuple[Output, ...] = (
    table("pace", "people with several scans: change of the predicted age per year by a mixed "
        "model, by group, beside the difference per year between people (T4)", PACE, always=False),
    table("pacepower", "how many people and scans show a difference of paces, from the noise of "
        "this sample (T4)", POWER, always=False),
)  # fmt: skip
