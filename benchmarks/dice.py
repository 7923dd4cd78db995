"""Dice overlap (Dice 1945) of a segmentation with MUSE label maps, by region and tissue.

``python -m benchmarks.dice OUTPUT_DIR REFERENCE_DIR [--people LABEL ...]``: every label map
``*_dseg.nii.gz`` of OUTPUT_DIR in T1w space, with MUSE's indices, is compared with the reference
of the same person (file name begins with the participant's label) on the reference's grid.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.processing import resample_from_to

from bidsapp_brainage import io
from bidsapp_brainage.segmentation.labels import Labels, muse_labels
from bidsapp_brainage.segmentation.overlap import overlaps

FIRST_PARCEL = 100  # parcels of the cortex have this index or a higher one
HOLDS = 0.80  # median Dice of a region that holds


def reference_of(folder: Path, person: str) -> Path | None:
    """The label map of a person, or None."""
    return next(iter(sorted(folder.rglob(f"{person}_*dseg.nii.gz"))), None)


def label_map(path: Path) -> nib.Nifti1Image:
    """Label map as integers."""
    image = io.load_nifti(path)
    return nib.Nifti1Image(np.asarray(image.dataobj).astype(np.int32), image.affine)


def compared(
    output: Path, reference: Path, people: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, float]]]:
    """Scores of every label map that has a reference, by participant."""
    labels = muse_labels()
    for path in sorted(output.rglob("sub-*_dseg.nii.gz")):
        person = path.name.split("_")[0]
        other = reference_of(reference, person)
        if other is None or "space-MNI" in path.name or (people and person not in people):
            continue
        truth = label_map(other)
        found = resample_from_to(label_map(path), truth, order=0)
        parts = (labels.classes(np.asarray(part.dataobj)) for part in (found, truth))
        yield person, overlaps(*parts, labels)


def summary(rows: Sequence[dict[str, float]]) -> pd.DataFrame:
    """Median, 10th percentile and worst of every region and tissue over people."""
    table = pd.DataFrame(rows)
    return pd.DataFrame(
        {
            "name": table.columns,
            "n": table.notna().sum().to_numpy(),
            "median": table.median().to_numpy(),
            "p10": table.quantile(0.1).to_numpy(),
            "worst": table.min().to_numpy(),
        }
    )


def text(table: pd.DataFrame, labels: Labels) -> str:
    """The summary as Markdown: tissues, regions below the cortex, parcels together."""
    parcels = labels.table.loc[labels.table["index"] >= FIRST_PARCEL, "name"]
    regions = table[table["name"].isin(labels.table["name"])]
    lines = ["| region | n | median | 10th percentile | worst |", "|---|---|---|---|---|"]
    others = table[~table["name"].isin(labels.table["name"])]
    for row in pd.concat([others, regions[~regions["name"].isin(parcels)]]).to_dict("records"):
        numbers = " | ".join(f"{row[name]:.3f}" for name in ("median", "p10", "worst"))
        lines.append(f"| {row['name']} | {row['n']} | {numbers} |")
    cortex = regions[regions["name"].isin(parcels)]
    holding = int((regions["median"] >= HOLDS).sum())
    lines.append(
        f"\n{len(cortex)} parcels of the cortex: median of medians {cortex['median'].median():.3f},"
        f" lowest {cortex['median'].min():.3f}. {holding} of {len(regions)} regions have a median"
        f" of {HOLDS:.2f} or more."
    )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("reference_dir", type=Path)
    parser.add_argument("--people", nargs="*", default=[])
    parser.add_argument("--out", type=Path, help="write the summary as TSV")
    args = parser.parse_args(arguments)
    rows = [found for _, found in compared(args.output_dir, args.reference_dir, args.people)]
    if not rows:
        parser.error("no *_dseg.nii.gz of a person with a reference")
    table = summary(rows)
    print(text(table, muse_labels()))
    if args.out:
        io.write_tsv(args.out, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
