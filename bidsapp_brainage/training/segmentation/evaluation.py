"""How well the segmentation agrees with reference labels of people not learned from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from bidsapp_brainage.segmentation.labels import Labels
from bidsapp_brainage.segmentation.network import SegmentationNet
from bidsapp_brainage.segmentation.overlap import overlaps
from bidsapp_brainage.segmentation.segment import answers

from .synthesis import Example


def dice_table(
    network: SegmentationNet, examples: Iterable[Example], labels: Labels
) -> pd.DataFrame:
    """Dice overlap (Dice 1945) of every region and tissue, over images with known labels.

    Returns
    -------
    DataFrame
        One row per region and per sum of regions: ``index`` (0 for sums), ``name``, ``tissue``,
        ``n`` (images that show it), ``dice`` (median), ``dice10`` (10th percentile).
    """
    scores = []
    for image in examples:
        posteriors = answers(network, image.image, image.where, labels)
        found = np.zeros(image.where.shape, dtype=int)
        found[image.where] = posteriors.argmax(axis=1)
        scores.append(overlaps(found, image.classes, labels))
    content = pd.DataFrame(scores)
    regions = labels.table.set_index("name").reindex(content.columns)
    return (
        pd.DataFrame(
            {
                "index": regions["index"].fillna(0).astype(int),
                "tissue": regions["tissue"],
                "n": content.notna().sum(),
                "dice": content.median(),
                "dice10": content.quantile(0.1),
            }
        )
        .rename_axis("name")
        .reset_index()
    )
