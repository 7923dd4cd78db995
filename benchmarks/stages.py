"""Median cost of each stage per scan, from the logs of a participant run.

``python benchmarks/stages.py OUTPUT_DIR``: reads ``sub-*/log/*/timings.tsv``. Stages that were
taken from an earlier run are left out. Seconds of a machine that does other things at the same
time are too long, processor seconds less so than wall-clock seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd


def main() -> None:
    """Print one row per stage and the totals per scan."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output_dir", type=Path)
    args = parser.parse_args()
    paths = sorted(args.output_dir.glob("sub-*/log/*/timings.tsv"))
    if not paths:
        parser.error("no timings.tsv below the output folder")
    rows = pd.concat([pd.read_csv(path, sep="\t") for path in paths], ignore_index=True)
    rows = rows[~rows["cached"].astype(bool)].drop_duplicates(["scan", "node"], keep="last")
    columns = ["wall_s", "cpu_s", "peak_rss_mb"]
    print(rows.groupby("stage", sort=False)[columns].median().round(1).to_string())
    totals = rows.groupby("scan")[["wall_s", "cpu_s"]].sum()
    print(
        f"\n{len(totals)} scans; processor seconds per scan: "
        f"median {totals['cpu_s'].median():.0f}, largest {totals['cpu_s'].max():.0f}; "
        f"largest memory of a worker: {rows['peak_rss_mb'].max():.0f} MB"
    )


if __name__ == "__main__":
    main()
