"""Ages of regions over people, of models that give ages of patches."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.group.notes import Findings, findings
from bidsapp_brainage.stats.intervals import means_with_intervals
from bidsapp_brainage.stats.regional import regions

TABLE = "patchagestats"


def mean_patch_ages(frames: Mapping[str, pd.DataFrame]) -> Findings:
    """Means and errors of the ages of regions, as the table :data:`TABLE`; none without them.

    The unit is the participant: scans of one person are averaged first. Intervals are t intervals.

    Parameters
    ----------
    frames : mapping of str to DataFrame
        By the key of the method, one row per scan and region.
    """
    rows = frames.get("patches")
    if rows is None or rows.empty:
        return Findings({})
    known = rows.drop_duplicates("index").reindex(columns=regions.REGION)
    people = {
        name: regions.person_matrix(rows, "region", name)
        .astype(float)
        .reindex(columns=known["index"])
        for name in ("patch_age", "patch_gap", "patch_gap_corrected", "patch_mae")
    }
    table = known.reset_index(drop=True)
    table["n_participants"] = people["patch_age"].notna().sum().to_numpy()
    table["mean_patch_age"] = people["patch_age"].mean().to_numpy()
    table["mae"] = people["patch_gap"].abs().mean().to_numpy()
    table["mean_patch_mae"] = people["patch_mae"].mean().to_numpy()
    for name in ("patch_gap", "patch_gap_corrected"):
        means = means_with_intervals(people[name].to_numpy())
        table[f"mean_{name}"] = means["mean"]
        table[f"{name}_lower"] = means["ci95_lower"]
        table[f"{name}_upper"] = means["ci95_upper"]
    return findings(TABLE, table[list(columns_of(TABLE))])
