"""Slices with the contributions of the regions of an atlas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.quantity import AN_AGE, Quantity
from bidsapp_brainage.io import read_tsv, write_text
from bidsapp_brainage.reports.figures import colours, mosaic
from bidsapp_brainage.reports.html import decimals, number
from bidsapp_brainage.stats.regional.signs import all_baselines, is_stable, signs

SHOWN_REGIONS = 20  # the strongest; the viewers begin with as many
BAR_STEPS = 41


def plot_regions(
    labels_path: Path,
    table_path: Path,
    baselines_path: Path | None,
    background_path: Path,
    out: Path,
    *,
    fill: str,
    about: Quantity = AN_AGE,
) -> None:
    """Draw the strongest regions of an atlas over anatomy (one grid), on three planes.

    The table has the change of predicted age (``delta_age``, years) by label (``index``). Red: the
    age falls without the region, so the region made the brain look older; blue: younger. Regions
    whose sign is not the same with all baselines are striped. What replaces regions (`fill`, in
    words) is told, and what was predicted. Raises :class:`DataError` if a file cannot be read.
    """
    anatomy = mosaic.read_volume(background_path)
    labels = mosaic.read_volume(labels_path, like=anatomy)
    rows = read_tsv(table_path)
    others = None if baselines_path is None else read_tsv(baselines_path)
    size = int(max(labels.data.max(), rows["index"].max())) + 1
    strongest = _strongest(rows)
    values = np.zeros(size)
    values[strongest["index"]] = strongest["delta_age"]
    striped = np.zeros(size, bool)
    stable = is_stable(signs(all_baselines(rows, others)))
    striped[stable.index[stable.eq(False)].to_numpy(dtype=int)] = True
    most = float(np.abs(values).max()) or 1.0
    inside = labels.data > 0
    place = mosaic.layout(anatomy, inside, bar=True)
    grey = mosaic.grey_window(anatomy.data, inside)

    def picture(tile: mosaic.Tile) -> np.ndarray:
        shown = place.cut_labels(labels, tile)
        share = np.where(striped[shown] & place.stripes(anatomy, tile), 0.0, values[shown] / most)
        return colours.paint(mosaic.window(place.cut(anatomy, tile), *grey), share)

    canvas = mosaic.assemble(place, (picture(tile) for tile in place.tiles))
    extra = mosaic.words(place, anatomy, millimetres=True)
    how = f"replaced by: {fill}; {_choice(rows, strongest, striped)}"
    extra += age_bar(place, most, how, about)
    write_text(out, mosaic.svg(place, canvas, title="Contributions of regions", extra=extra))


def age_bar(place: mosaic.Layout, most: float, how: str, about: Quantity = AN_AGE) -> list[str]:
    """SVG elements of the bar of colours from minus to plus `most` years; `how` in words.

    Where no age was predicted, `about` says what was.
    """
    digits = decimals(most)
    ends = (
        about.worded(f"{number(-most, digits)} (made it look older)"),
        about.worded(f"{number(most, digits, signed=True)} (made it look younger)"),
    )
    title = about.worded(f"change of predicted age (years) when the region is {how}")
    return mosaic.colour_bar(place, colours.legend(BAR_STEPS), ends, title)


def _strongest(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the regions that are shown, the weakest first."""
    known = rows.dropna(subset=["delta_age"])
    order = known["delta_age"].abs().sort_values(kind="stable").index
    return known.loc[order[-SHOWN_REGIONS:]]


def _choice(rows: pd.DataFrame, strongest: pd.DataFrame, striped: np.ndarray) -> str:
    """Which regions are shown, and what stripes mean where there are any."""
    count = int(rows["delta_age"].notna().sum())
    words = "all regions"
    if len(strongest) < count:
        least = abs(float(strongest["delta_age"].iloc[0]))
        words = (
            f"the {len(strongest)} strongest of {count} regions "
            f"(at least {number(least, decimals(least))} years)"
        )
    marked = striped[strongest["index"].to_numpy(dtype=int)].any()
    return words + ("; striped: the sign is not stable" if marked else "")
