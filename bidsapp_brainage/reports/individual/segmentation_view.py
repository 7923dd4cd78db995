"""What the page shows of volumes of a segmentation, and of measures of FreeSurfer."""

from __future__ import annotations

from types import MappingProxyType

from bidsapp_brainage.reports.html import Table, slug
from bidsapp_brainage.reports.individual.results import PredictionResult, ScanResult
from bidsapp_brainage.reports.tables import Show, tabulate

#: Rows shown, by their name in the table, with words for people.
_SHOWN = MappingProxyType(
    {
        "intracranial": "Everything inside the skull",
        "brain": "Brain (grey and white matter)",
        "GM": "Grey matter",
        "WM": "White matter",
        "CSF": "Fluid",
        "ventricles": "Ventricles",
        "Hippocampus_L": "Left hippocampus",
        "Hippocampus_R": "Right hippocampus",
    }
)
_TOP_MEASURES = 30


def measure_table(scan: ScanResult, result: PredictionResult) -> Table | None:
    """Measures of FreeSurfer that add most to the predicted age; None without a readable table."""
    file = result.tables.get("morphometry")
    rows = None if file is None else file.rows
    if file is None or rows is None or "contribution" not in rows:
        return None
    order = rows["contribution"].abs().sort_values(ascending=False, kind="stable").index
    top = rows.loc[order[:_TOP_MEASURES]]
    columns = [
        Show("name", "Measure", "name"),
        Show("value", "Value", "number", 2, "mm for thickness, mm^3 for volumes"),
        Show("z", "Deviation", "signed", 1, "SD from training people of the predicted age"),
        Show("contribution", "Contribution", "signed", 2, "years; the age without it is less"),
    ]
    if rows["residual"].notna().any():
        columns.append(Show("residual_z", "Regional residual", "signed", 1, "in SD"))
    caption = (
        f"The {len(top)} of {len(rows)} measures that move the predicted age most away from that "
        f"of the mean training person ({file.path.name} has all; together they are the difference)."
    )
    return tabulate(slug("measures", scan.label, result.model), caption, columns, top)


def volume_summary(scan: ScanResult) -> Table | None:
    """Tissues, ventricles and hippocampi in mL; None without a readable table."""
    if scan.volumes is None or scan.volumes.rows is None:
        return None
    # A region, too, is called CSF: the sums, which come last, are meant.
    rows = scan.volumes.rows.drop_duplicates("name", keep="last")
    if not {"name", "volume_ml", "fraction"} <= set(rows):
        return None
    chosen = rows[rows["name"].isin(list(_SHOWN))].set_index("name")
    chosen = chosen.reindex([name for name in _SHOWN if name in chosen.index]).reset_index()
    chosen["name"] = chosen["name"].map(_SHOWN)
    chosen["percent"] = 100 * chosen["fraction"]
    columns = [
        Show("name", "Part", "name"),
        Show("volume_ml", "Volume (mL)", "number", 1),
        Show("percent", "% of intracranial", "number", 1),
    ]
    caption = f"Volumes in the person's own space ({scan.volumes.path.name} has all regions)."
    return tabulate(slug("volumes", scan.label), caption, columns, chosen, sortable=False)
