"""``python -m benchmarks.reuse BIDS_DIR OUT``: ages with and without derivatives.

OUT/smriprep has the derivatives (:mod:`benchmarks.reuse.make`). The app runs on the same images
without them, with all of them, with copies that lack the mask, and with masks alone. Finished runs
are not run again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from bidsapp_brainage import io


def _without_mask(name: str) -> bool:
    return "_mask." not in name


def _mask_alone(name: str) -> bool:
    return "_mask." in name or name == "dataset_description.json"


#: Which files of the derivatives a run is given, by its name.
RUNS: dict[str, Callable[[str], bool] | None] = {
    "own": None,
    "all": lambda _: True,
    "without mask": _without_mask,
    "mask alone": _mask_alone,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", nargs="*", choices=RUNS, default=list(RUNS))
    options = parser.parse_args()
    ages, edges = {}, {}
    for name in options.runs:
        out = options.out / name.replace(" ", "_")
        _run(options.bids_dir, out, _given(options.out, name))
        ages[name] = _column(out, "brainage", "predicted_age")
        edges[name] = _column(out, "qc", "mask_edge_mm")
    first, *others = ages
    table = pd.DataFrame({first: ages[first]})
    for name in others:
        table[name] = ages[name] - ages[first]
        table[f"{name}: mask_edge_mm"] = edges[name]
    print(table.round(2).to_string())
    for name in others:
        difference = table[name]
        print(
            f"{name}: mean {difference.mean():+.2f}, mean size {difference.abs().mean():.2f}, "
            f"largest {difference.abs().max():.2f} years ({len(difference)} people)"
        )


def _given(out: Path, name: str) -> Path | None:
    """Folder of links to the files that a run is given."""
    chosen = RUNS[name]
    if chosen is None:
        return None
    root = out / f"given_{name.replace(' ', '_')}"
    for path in (out / "smriprep").rglob("*"):
        if path.is_file() and chosen(path.name):
            link = root / path.relative_to(out / "smriprep")
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(path.absolute())
    return root


def _run(bids_dir: Path, out: Path, given: Path | None) -> None:
    if next(out.glob("sub-*/**/*_brainage.tsv"), None):
        return
    more = [] if given is None else ["-d", f"smriprep={given}"]
    command = [sys.executable, "-m", "bidsapp_brainage", str(bids_dir), str(out), "participant"]
    command += ["--work-dir", f"{out}_work", "--level", "minimal", "--skip-bids-validation", *more]
    subprocess.run(command, check=False)


def _column(out: Path, suffix: str, column: str) -> pd.Series:
    rows = {
        path.name.split("_")[0]: io.read_tsv(path).iloc[0].get(column)
        for path in sorted(out.glob(f"sub-*/**/*_{suffix}.tsv"))
    }
    return pd.Series(rows, dtype=float)


if __name__ == "__main__":
    main()
