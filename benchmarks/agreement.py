"""How far the explanations of one model agree, over all scans of a derivatives folder.

Usage: python -m benchmarks.agreement DERIVATIVES

Prints Markdown tables from the ``*_agreement.tsv``, ``*_randomisation.tsv`` and
``*_occlusioncurve.tsv`` of the folder: medians over scans, with the range where there are several.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from .measure import markdown as as_markdown

RHO = ["spearman", "spearman_abs", "spearman_abs_per_ml"]


def gather(folder: Path, suffix: str) -> pd.DataFrame:
    """All tables of one kind, one below the other, with the number of scans in ``attrs``."""
    paths = sorted(folder.glob(f"sub-*/**/anat/*_{suffix}.tsv"))
    frames = [pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False) for path in paths]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    table.attrs["n_scans"] = len(paths)
    return table


def markdown(table: pd.DataFrame, keys: list[str], values: list[str]) -> str:
    """Median (and range) of some columns for each key."""
    lines = []
    for key, rows in table.groupby(keys, sort=False, dropna=False):
        cells = [_text(rows[column]) for column in values]
        names = key if isinstance(key, tuple) else (key,)
        lines.append(["" if pd.isna(n) else n for n in names] + cells)
    return as_markdown([*keys, *values], lines)


def _text(values: pd.Series) -> str:
    known = pd.to_numeric(values, errors="coerce").dropna()
    if known.empty:
        return "n/a"
    middle = f"{known.median():.2f}"
    if len(known) == 1:
        return middle
    return f"{middle} ({known.min():.2f} to {known.max():.2f})"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    agreement = gather(folder, "agreement")
    if agreement.empty:
        print(f"{folder} has no *_agreement.tsv: run participants first.", file=sys.stderr)
        return 1
    print(f"Rank agreement over regions, {agreement.attrs['n_scans']} scan(s)\n")
    print(markdown(agreement, ["explanation_a", "explanation_b"], RHO))
    random = gather(folder, "randomisation")
    if not random.empty:
        print("\nAgreement with the network whose last layers are randomised\n")
        print(markdown(random, ["method", "step"], RHO))
    curves = gather(folder, "occlusioncurve")
    if not curves.empty:
        start = curves[curves["step"] == 0]
        print("\nArea of a ranking and of random orders (years)\n")
        columns = ["area", "random_area_mean", "area_between", "z_area"]
        print(markdown(start, ["curve", "ranking"], columns))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
