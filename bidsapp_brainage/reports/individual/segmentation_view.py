"""The few volumes of a segmentation that the page shows."""

from __future__ import annotations

from types import MappingProxyType

from bidsapp_brainage.reports.html import Table, slug
from bidsapp_brainage.reports.individual.results import ScanResult
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
