"""Occlusion of every region, of the groups that regions form, and of controls."""

from __future__ import annotations

import pandas as pd

from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.explain.controls import COLUMNS as CONTROL_COLUMNS
from bidsapp_brainage.explain.controls import control_table
from bidsapp_brainage.explain.ensemble import Incremental
from bidsapp_brainage.explain.hierarchy import group_table
from bidsapp_brainage.explain.nulls import null_scores
from bidsapp_brainage.explain.occlusion import effects, sizes
from bidsapp_brainage.explain.predictions import Predictions
from bidsapp_brainage.explain.scores import baseline_table, occlusion_table
from bidsapp_brainage.explain.session import ExplanationSession, Results
from bidsapp_brainage.stats.regional.signs import is_stable, signs


def explain(session: ExplanationSession) -> Results:
    """Occlude regions, the groups they form and, for comparison, controls and random parcels.

    Returns
    -------
    dict
        ``table`` with the first baseline, columns of :data:`.scores.COLUMNS`; ``groups`` with the
        first baseline, :data:`.hierarchy.COLUMNS`; ``baselines``, the regions with every baseline,
        :data:`.scores.BASELINE_COLUMNS`; ``controls`` with every baseline,
        :data:`.controls.COLUMNS`.
    """
    inputs = session.inputs
    primary, grouped = session.region_and_group_effects()
    # baseline by baseline: what a baseline changes in every voxel is worked out once for all pieces
    single, controls = {}, {}
    for baseline in inputs.baselines:
        single[baseline] = session.region_effects(baseline)
        controls[baseline] = _controls(session, baseline)
    baselines = baseline_table(inputs.atlas, single, voxel_ml=inputs.voxel_ml)
    table = _region_table(session, primary)
    table["stable"] = is_stable(signs(baselines)).reindex(table["index"]).to_numpy()
    return {
        "table": table,
        "groups": group_table(session.groups, grouped, primary, voxel_ml=inputs.voxel_ml),
        "baselines": baselines,
        "controls": pd.concat(controls.values(), ignore_index=True),
    }


def _region_table(session: ExplanationSession, primary: pd.DataFrame) -> pd.DataFrame:
    inputs, nulls = session.inputs, session.nulls
    table = occlusion_table(
        primary,
        inputs.atlas,
        voxel_ml=inputs.voxel_ml,
        age=inputs.age,
        baseline=inputs.baseline,
        ood_flag=inputs.ood_flag,
    )
    if nulls.patches:
        # In an occluder of their own: each is occluded once, and their tables would leave no room
        # for those of the regions, which other methods need again and again.
        occluder = session.open(nulls.patches)
        predictions = session.occlude_pieces(occluder, nulls.patches)
        drawn = effects(
            range(len(nulls.patches)), sizes(nulls.patches), occluder.intact, predictions
        )
        scores = null_scores(primary, drawn, nulls.assignment).drop(columns="index")
        table[list(scores.columns)] = scores.to_numpy()
    # one more pass per region would be a high price where changes cannot be propagated
    if isinstance(session.occluder, Incremental) and inputs.mirror_axis is not None:
        table["delta_age_mirrored"] = session.mirrored_effects()["delta_age"].to_numpy()
    return table


def _controls(session: ExplanationSession, baseline: str) -> pd.DataFrame:
    table = control_table(
        session.effects_of("controls", _control_predictions(session, baseline)),
        session.region_effects(baseline),
        list(session.controls),
        baseline,
    )
    volume_mm3 = table["n_voxels"] * session.inputs.voxel_ml * 1000
    return table.assign(volume_mm3=volume_mm3)[list(CONTROL_COLUMNS)]


def _control_predictions(session: ExplanationSession, baseline: str) -> Predictions:
    numbers = session.blocks.numbers("controls")
    pieces = dict(session.controls)
    if not lookup.baseline(baseline).outlined:
        return session.occluder.occlude(session.fill(baseline), numbers)
    # All regions together keep the fills of the regions; other pieces have outlines of their own.
    everything = list(pieces).index("all_regions")
    together = session.occluder.occlude(session.fill(baseline), [numbers[everything]])
    pieces["all_regions"] = None
    predictions = session.occlude_pieces(
        session.occluder, list(pieces.values()), first=numbers[0], baseline=baseline
    )
    predictions.put([everything], together)
    return predictions
