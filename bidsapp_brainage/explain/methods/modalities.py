"""Occlusion of every region in one modality alone, and in all of them."""

from __future__ import annotations

import pandas as pd

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.explain.ensemble import Together
from bidsapp_brainage.explain.session import ExplanationSession, Results

ALL = "all"


def explain(session: ExplanationSession) -> Results:
    """Occlude the regions channel by channel, with the first baseline.

    The model answers with the mean of its branches, so that contributions of the channels add up
    to that of the region in all of them.

    Returns
    -------
    dict
        ``modality_table``: a row per channel and region, then one per region for all channels.
    """
    inputs, occluder = session.inputs, session.occluder
    together = session.region_effects()
    effects = {channel.name: together for channel in inputs.channels}
    if isinstance(occluder, Together):  # else only one of the images is there
        regions = session.blocks.numbers("regions")
        for name in effects:
            alone = occluder.alone(name, session.fill(), regions)
            effects[name] = session.effects_of("regions", alone)
    effects[ALL] = together
    columns = columns_of("modality_table")
    tables = [
        inputs.atlas.merge(table, on="index", how="left")
        .assign(modality=name)
        .reindex(columns=list(columns))
        for name, table in effects.items()
    ]
    return {"modality_table": pd.concat(tables, ignore_index=True)}
