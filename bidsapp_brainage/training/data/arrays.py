"""Files of arrays (npz) that are made once from images, for training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bidsapp_brainage.errors import DataError


def load_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read arrays of a file by their names.

    Raises
    ------
    DataError
        The file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as kept:
            return {name: kept[name] for name in names}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path.name}: damaged. Remove it; it is made again.") from error
