"""Tables of the group about ratings by people."""

from __future__ import annotations

from bidsapp_brainage.catalogue import columns as c
from bidsapp_brainage.catalogue.cards import Column, Output
from bidsapp_brainage.catalogue.group.models import table
from bidsapp_brainage.catalogue.ratings import ARTEFACTS, BEST, EXCLUDE, RATING, STEPS

_SCANRATINGS = (
    c.PARTICIPANT_ID,
    c.SCAN,
    Column("rating", "Rating", "Median over raters; of two ratings in the middle the lower.",
        levels=RATING.levels),
    Column("lowest", "Lowest", "Lowest rating.", minimum=EXCLUDE, maximum=BEST),
    Column("highest", "Highest", "Highest rating.", minimum=EXCLUDE, maximum=BEST),
    Column("n_raters", "Raters", "How many people rated the scan.", minimum=1),
    Column("raters", "Who", "Their names, joined by commas."),
    Column("artefacts", "Artefacts", "What at least one rater saw, joined by commas; n/a if nobody "
        "saw any."),
    Column("notes", "Notes", "What raters wrote, joined by |; n/a if there is nothing."),
    Column("left_out", "Left out", "Whether --min-rating leaves the scan out of all results.",
        levels={"true": "its rating is lower", "false": "it is used"}),
)  # fmt: skip

_RATERAGREEMENT = (
    Column("rater_a", "First rater", "One of the two raters."),
    Column("rater_b", "Second rater", "The other."),
    Column("item", "What was judged", "What both said of the same scans.", levels={
        "rating": "the rating, four grades in their order",
        "exclude": "whether it was 1, exclude",
        **{key: f"{title.lower()}: wrong, usable or good" for key, title in STEPS},
        **{item.key: f"{item.title}: seen or not" for item in ARTEFACTS}}),
    Column("weights", "Weights", "How disagreements weigh.", levels={
        "none": "all alike (Cohen 1960)", "linear": "by their distance (Cohen 1968)",
        "quadratic": "by the square of their distance (Cohen 1968)"}),
    c.N_SCANS,
    c.N_PARTICIPANTS,
    Column("agreement", "Same answer", "Share of the scans about which both said the same.",
        minimum=0, maximum=1),
    Column("kappa", "Cohen's kappa", "1: full agreement, 0: that of chance; n/a where chance alone "
        "would give full agreement, as when both always say the same.", maximum=1),
    c.CI95_LOWER.worded("Jackknife over participants, each with all of their scans (Fleiss & "
        "Davies 1982); n/a with fewer than ten or where all agree."),
    c.CI95_UPPER,
)  # fmt: skip


TABLES: tuple[Output, ...] = (
    table("scanratings", "every scan that people rated: median, lowest and highest rating, "
        "who rated, what they saw", _SCANRATINGS, always=False),
    table("rateragreement", "agreement of every two raters: Cohen's kappa, weighted and not, "
        "with its interval", _RATERAGREEMENT, always=False),
)  # fmt: skip
