"""Print the constants of bidsapp_brainage/imaging/expected.py, made anew from data.

Usage: python -m scripts.expected_quality volumes TABLE      a table with columns age, sex and MaskVol (mm3)
       python -m scripts.expected_quality ranges FOLDER...   output folders of the app

TABLE may be that of FreeSurfer's volumes of OpenNeuroDerivatives (docs/intervals.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp_brainage.imaging.expected import QUANTILES, REFERENCE, shape_of_ages


def volumes(path: Path) -> None:
    """Fit the logarithm of the volume on age, by sex."""
    table = pd.read_csv(path, sep="\t", na_values="n/a", low_memory=False)
    table = table[table["sex"].isin(["F", "M"])].dropna(subset=["age", "MaskVol"])
    for sex, people in table.groupby("sex"):
        design, y = shape_of_ages(people["age"].to_numpy()), np.log(people["MaskVol"] / 1000)
        line = np.linalg.lstsq(design, y, rcond=None)[0]
        z = (y - design @ line) / np.std(y - design @ line, ddof=3)
        numbers = ", ".join(f"{value:.5f}" for value in (*line, np.std(y - design @ line, ddof=3)))
        print(
            f'"{sex}": Norm({numbers}),  # {len(people)} people of {people["age"].min():.1f} to '
            f"{people['age'].max():.1f} years, z from {z.min():.2f} to {z.max():.2f}"
        )


def ranges(folders: list[Path]) -> None:
    """Quantiles of every measure over the scans of all folders."""
    paths = [path for folder in folders for path in sorted(folder.glob("sub-*/**/*_qc.tsv"))]
    tables = [pd.read_csv(path, sep="\t") for path in paths if path.stat().st_size > 10]
    pooled = pd.concat(tables, ignore_index=True)
    print(f"# {len(pooled)} scans")
    for name in REFERENCE:
        values = pooled[name].dropna().quantile(QUANTILES)
        print(f'"{name}": ({", ".join(f"{value:.4g}" for value in values)}),')


if __name__ == "__main__":
    if sys.argv[1] == "volumes":
        volumes(Path(sys.argv[2]))
    else:
        ranges([Path(name) for name in sys.argv[2:]])
