"""The regions that the segmentation network knows (MUSE; Doshi 2016, NeuroImage 127:186)."""

from __future__ import annotations

from functools import cached_property
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp_brainage.io import read_tsv

TISSUES = ("CSF", "GM", "WM")
VENTRICLES = (4, 11, 49, 50, 51, 52)


class Labels:
    """Regions in the order of the network's classes; class 0 is outside the brain.

    Parameters
    ----------
    table : DataFrame
        Columns ``index`` (value in the label map), ``name``, ``hemisphere`` (L, R or missing),
        ``tissue`` (one of ``TISSUES``) and ``mirror`` (index of the region on the other side).
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    @property
    def n_classes(self) -> int:
        """Regions and the outside."""
        return len(self.table) + 1

    @cached_property
    def indices(self) -> np.ndarray:
        """Value in the label map of every class, shape (n_classes,)."""
        return np.concatenate([[0], self.table["index"].to_numpy(dtype=int)])

    @cached_property
    def tissues(self) -> np.ndarray:
        """Position in ``TISSUES`` of every class, shape (n_classes,); -1 outside the brain."""
        return np.concatenate([[-1], self.table["tissue"].map(TISSUES.index).to_numpy(dtype=int)])

    @cached_property
    def mirrored(self) -> np.ndarray:
        """Class of the same region on the other side, shape (n_classes,)."""
        return np.concatenate([[0], 1 + np.searchsorted(self.indices[1:], self.table["mirror"])])

    def classes(self, label_map: np.ndarray) -> np.ndarray:
        """Classes of a map of indices; indices that are not in the table are outside."""
        lookup = np.zeros(int(max(label_map.max(), self.indices.max())) + 1, dtype=np.int64)
        lookup[self.indices] = np.arange(self.n_classes)
        return lookup[label_map]


def muse_labels() -> Labels:
    """Regions of the embedded segmentation network."""
    path = files("bidsapp_brainage") / "data" / "segmentation" / "muse_labels.tsv"
    return Labels(read_tsv(Path(str(path))))
