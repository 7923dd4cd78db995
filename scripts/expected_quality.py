"""Print the constants of bidsapp_brainage/imaging/expected.py, made anew from data.

Usage: python -m scripts.expected_quality volumes TABLE      (columns age, sex and MaskVol in mm3)
       python -m scripts.expected_quality masks FOLDER...    (output folders with participants.tsv)
       python -m scripts.expected_quality ranges FOLDER...   (output folders)

TABLE may be that of FreeSurfer's volumes of OpenNeuroDerivatives (docs/intervals.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bidsapp_brainage.imaging.expected import NORMS, QUANTILES, REFERENCE, shape_of_ages
from bidsapp_brainage.io import read_tsv


def volumes(path: Path) -> None:
    """Fit the logarithm of the volume on age, by sex."""
    table = pd.read_csv(path, sep="\t", na_values="n/a", low_memory=False)
    table = table[table["sex"].isin(["F", "M"])].dropna(subset=["age", "MaskVol"])
    for sex, people in table.groupby("sex"):
        design, y = shape_of_ages(people["age"].to_numpy()), np.log(people["MaskVol"] / 1000)
        line = np.linalg.lstsq(design, y, rcond=None)[0]
        sd = np.std(y - design @ line, ddof=3)
        z = (y - design @ line) / sd
        numbers = ", ".join(f"{value:.5f}" for value in (*line, sd))
        print(
            f'"{sex}": Norm({numbers}),  # {len(people)} people of {people["age"].min():.1f} to '
            f"{people['age'].max():.1f} years, z from {z.min():.2f} to {z.max():.2f}"
        )


def ranges(folders: list[Path]) -> None:
    """Quantiles of every measure over the scans of all folders."""
    paths = [path for folder in folders for path in sorted(folder.glob("sub-*/**/*_qc.tsv"))]
    tables = [read_tsv(path) for path in paths if path.stat().st_size > 10]
    pooled = pd.concat(tables, ignore_index=True)
    print(f"# {len(pooled)} scans")
    for name in REFERENCE:
        values = pooled[name].dropna().quantile(QUANTILES)
        print(f'"{name}": ({", ".join(f"{value:.4g}" for value in values)}),')


def masks(folders: list[Path]) -> None:
    """Where the brain masks of the app lie among the people of the norm, in its SD."""
    z = []
    for folder in folders:
        people = read_tsv(folder / "participants.tsv").set_index("participant_id")
        for path in sorted(folder.glob("sub-*/**/sub-*desc-brain_mask.nii.gz")):
            who = people.loc[path.name.split("_")[0]]
            if "space-" in path.name or who["sex"] not in NORMS:
                continue
            norm, image = NORMS[who["sex"]], nib.load(path)
            ml = (np.asarray(image.dataobj) > 0).sum() * np.prod(image.header.get_zooms()) / 1000
            z.append((np.log(ml) - norm.mean(who["age"])[0]) / norm.sd)
    spread = f"from {min(z):.2f} to {max(z):.2f}"
    print(f"{len(z)} masks, z: mean {np.mean(z):.2f}, SD {np.std(z, ddof=1):.2f}, {spread}")


if __name__ == "__main__":
    if sys.argv[1] == "volumes":
        volumes(Path(sys.argv[2]))
    elif sys.argv[1] == "masks":
        masks([Path(name) for name in sys.argv[2:]])
    else:
        ranges([Path(name) for name in sys.argv[2:]])
