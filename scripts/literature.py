"""Print what published studies found beside what a sample shows, as Markdown.

``python scripts/literature.py OUTPUT_DIR``: reads ``group_*_literature.tsv``, which the group
level writes. The rules behind the verdicts are in ``docs/methods.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd


def markdown(table: pd.DataFrame) -> str:
    """One line per claim and measure."""
    lines = ["| study | claim | ages | measured by | best rank | mean percentile | verdict |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in table.itertuples(index=False):
        rank = "" if pd.isna(row.best_rank) else f"{row.best_rank:.0f} of {row.n_ranked:.0f}"
        place = "" if pd.isna(row.percentile) else f"{row.percentile:.1f}"
        measure = row.measure
        if pd.isna(row.percentile) and pd.notna(row.value):
            measure = f"{measure}: {row.value:.3g}"
        ages = "" if pd.isna(row.age_group) else row.age_group
        cells = (row.study, row.claim, ages, measure, rank, place, row.verdict)
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print every table of the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output_dir", type=Path)
    args = parser.parse_args()
    paths = sorted(args.output_dir.glob("group_*_literature.tsv"))
    if not paths:
        parser.error("no group_*_literature.tsv: run the group level on region tables first")
    for path in paths:
        print(f"{path.name}\n\n{markdown(pd.read_csv(path, sep=chr(9), na_values='n/a'))}\n")


if __name__ == "__main__":
    main()
