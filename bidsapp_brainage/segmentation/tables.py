"""Tables of a segmentation: what its labels mean, and how large everything is."""

from __future__ import annotations

import colorsys

import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.lookup import columns_of

from .labels import TISSUES, VENTRICLES, Labels
from .segment import Segmentation

_GOLDEN = 0.618034  # hues that follow each other are as different as can be
#: Lightness and saturation by tissue: fluid blue, white matter pale.
_LOOKS = {"CSF": (0.45, 0.80), "GM": (0.55, 0.75), "WM": (0.80, 0.35)}
_BLUE = (0.56, 0.08)  # first hue of fluid, and the range of its hues


def label_table(labels: Labels) -> pd.DataFrame:
    """One row per region: index, name, hemisphere, tissue, colour (same on both sides)."""
    table = labels.table.reindex(columns=columns_of("dseg_table"))
    pairs = labels.table[["index", "mirror"]].min(axis=1).rank(method="dense")
    table["color"] = [
        _colour(_hue(pair, tissue), *_LOOKS[tissue])
        for pair, tissue in zip(pairs, table["tissue"], strict=True)
    ]
    return table


def volume_table(segmentation: Segmentation) -> pd.DataFrame:
    """Volumes in the person's own space: one row per region, then sums of them.

    They are sums of posteriors, so that a voxel that is half fluid counts half. Without any brain
    all are 0, and fractions are missing.
    """
    labels = segmentation.labels
    amounts = segmentation.posteriors.sum(axis=0, dtype=np.float64)[1:] * segmentation.voxel_ml
    regions = labels.table.assign(kind="region", volume_ml=amounts)
    tissue, ventricle = labels.table["tissue"], labels.table["index"].isin(VENTRICLES)
    parts = {
        "intracranial": tissue.isin(TISSUES),
        "brain": tissue.isin(("GM", "WM")),
        **{name: tissue == name for name in ("GM", "WM", "CSF")},
        "ventricles": ventricle,
    }
    sums = pd.DataFrame(
        {
            "name": list(parts),
            "kind": "total",
            "tissue": [name if name in TISSUES else None for name in parts],
            "volume_ml": [float(amounts[part.to_numpy()].sum()) for part in parts.values()],
        }
    )
    table = pd.concat([regions.astype({"index": object}), sums], ignore_index=True)
    inside = float(amounts.sum())
    table["fraction"] = table["volume_ml"] / inside if inside > 0 else np.nan
    return table.reindex(columns=columns_of("volumes"))


def _hue(pair: float, tissue: str) -> float:
    hue = pair * _GOLDEN % 1
    return _BLUE[0] + _BLUE[1] * hue if tissue == "CSF" else hue


def _colour(hue: float, lightness: float, saturation: float) -> str:
    parts = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)
