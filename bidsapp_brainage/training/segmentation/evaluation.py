"""How well the segmentation agrees with reference labels of people not learned from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch

from bidsapp_brainage.segmentation.labels import TISSUES, Labels
from bidsapp_brainage.segmentation.network import SegmentationNet

from .synthesis import Example


def dice_table(
    network: SegmentationNet, examples: Iterable[Example], labels: Labels
) -> pd.DataFrame:
    """Dice overlap (Dice 1945) of every region and tissue, over images with known labels.

    Returns
    -------
    DataFrame
        One row per region or tissue: ``index`` (0 for tissues and the brain), ``name``,
        ``tissue``, ``n`` (images that show it), ``dice`` (median), ``dice10`` (10th percentile).
    """
    names = [*labels.table["name"], *TISSUES, "Brain"]
    scores: list[np.ndarray] = []
    for image in examples:
        with torch.inference_mode():
            logits, _ = network(
                torch.from_numpy(image.image)[None, None], torch.from_numpy(image.where)
            )
        found = np.zeros(image.where.shape, dtype=int)
        found[image.where] = logits.argmax(dim=1).numpy()
        scores.append(_scores(image.classes, found, labels))
    content = pd.DataFrame(scores)
    return pd.DataFrame(
        {
            "index": [*labels.indices[1:], *[0] * (len(TISSUES) + 1)],
            "name": names,
            "tissue": [*labels.table["tissue"], *TISSUES, "n/a"],
            "n": content.notna().sum(),
            "dice": content.median(),
            "dice10": content.quantile(0.1),
        }
    )


def _scores(truth: np.ndarray, found: np.ndarray, labels: Labels) -> np.ndarray:
    """Dice of regions, then tissues, then the brain; NaN where the truth has none."""
    n = labels.n_classes
    both = np.bincount(truth[truth == found], minlength=n)
    each = np.bincount(truth.ravel(), minlength=n), np.bincount(found.ravel(), minlength=n)
    regions = np.where(each[0] > 0, 2 * both / np.maximum(each[0] + each[1], 1), np.nan)[1:]
    of_truth, of_found = labels.tissues[truth], labels.tissues[found]
    tissues = [_dice(of_truth == code, of_found == code) for code in range(len(TISSUES))]
    return np.array([*regions, *tissues, _dice(truth > 0, found > 0)])


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / max(first.sum() + second.sum(), 1))
