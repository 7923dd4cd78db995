"""``python -m benchmarks.reuse BIDS_DIR OUT``: ages and processor seconds with and without ``-d``.

OUT/smriprep has the derivatives (:mod:`benchmarks.reuse.make`). The app runs on the same images
without and with them, and both again with an output space that they hold transforms to. Finished
runs are not run again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pandas as pd

from bidsapp_brainage import io

from .layout import TEMPLATE

OWN = "own"
SPACE = ("--output-spaces", TEMPLATE)
#: Whether a run is given the derivatives, and further options.
RUNS: dict[str, tuple[bool, tuple[str, ...]]] = {
    OWN: (False, ()),
    "given": (True, ()),
    "own_space": (False, SPACE),
    "given_space": (True, SPACE),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", nargs="*", choices=RUNS, default=list(RUNS))
    parser.add_argument("--people", nargs="*", default=[], help="labels without sub-")
    options = parser.parse_args()
    ages, compared = {}, {}
    for name in options.runs:
        out = options.out / f"run_{name}"
        _run(options.bids_dir, out, name, options.people)
        ages[name] = _column(out, "brainage", "predicted_age")
        for column in ("given_mask_edge_mm", "given_xfm_mm"):
            compared[f"{name}: {column}"] = _column(out, "qc", column)
    print(pd.DataFrame(ages).round(3).to_string())
    print(pd.DataFrame(compared).dropna(axis=1, how="all").round(2).to_string())
    for name, found in ages.items():
        moved = found - ages.get(OWN, found)
        seconds = _processor_seconds(options.out / f"run_{name}")
        print(
            f"{name}: {moved.median():+.3f} ({moved.min():+.3f} to {moved.max():+.3f}) years, "
            f"{seconds:.0f} processor seconds (medians of {len(moved)} people)"
        )


def _run(bids_dir: Path, out: Path, name: str, people: list[str]) -> None:
    if next(out.glob("sub-*/**/*_brainage.tsv"), None):
        return
    given, more = RUNS[name]
    command = [sys.executable, "-m", "bidsapp_brainage", str(bids_dir), str(out), "participant"]
    command += ["--work-dir", f"{out}_work", "--level", "minimal", "--skip-bids-validation", *more]
    if given:
        command += ["-d", f"smriprep={out.parent / 'smriprep'}"]
    if people:
        command += ["--participant-label", *people]
    subprocess.run(command, check=False)


def _column(out: Path, suffix: str, column: str) -> pd.Series:
    rows = {
        path.name.split("_")[0]: io.read_tsv(path).iloc[0].get(column)
        for path in sorted(out.glob(f"sub-*/**/*_{suffix}.tsv"))
    }
    return pd.Series(rows, dtype=float)


def _processor_seconds(out: Path) -> float:
    """Of all stages, median over the people."""
    tables = [io.read_tsv(path) for path in sorted(out.glob("sub-*/log/*/timings.tsv"))]
    return float(pd.Series([table["cpu_s"].sum() for table in tables]).median())


if __name__ == "__main__":
    main()
