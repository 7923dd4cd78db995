"""How far another edge of the brain mask moves the age of the embedded model.

``python -m benchmarks.reuse.masks DERIVATIVES --people LABEL ...``: masks of finished scans are
grown or shrunk by so many mm, everything else stays.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmarks.measure import markdown
from benchmarks.registered_again import predicted_age
from bidsapp_brainage import io
from bidsapp_brainage.imaging import skullstrip, transforms
from bidsapp_brainage.imaging.distance import distance_to, edge_offset


def shifted(mask: nib.Nifti1Image, mm: float) -> nib.Nifti1Image:
    """A mask whose edge lies `mm` outside (or inside, if negative)."""
    inside = np.asarray(mask.dataobj) > 0
    zooms = np.linalg.norm(mask.affine[:3, :3], axis=0)
    moved = distance_to(inside, zooms) <= mm if mm >= 0 else distance_to(~inside, zooms) > -mm
    return nib.Nifti1Image(moved.astype(np.uint8), mask.affine)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("derivatives", type=Path)
    parser.add_argument("--people", nargs="+", required=True, help="sub-<label>")
    parser.add_argument("--mm", type=float, nargs="+", default=[-2.7, -1.4, 1.4, 2.7])
    options = parser.parse_args()
    rows, moves = [], []
    for label in options.people:
        stem = options.derivatives / label / "anat" / label
        t1w, mask = (
            io.load_nifti(Path(f"{stem}_desc-{end}.nii.gz"))
            for end in ("preproc_T1w", "brain_mask")
        )
        affine = transforms.read_affine(next(stem.parent.glob("*_desc-affine_xfm.txt")))
        stripped = skullstrip.is_skull_stripped(t1w)
        zooms = np.linalg.norm(t1w.affine[:3, :3], axis=0)
        inside = np.asarray(mask.dataobj) > 0
        own = predicted_age(t1w, mask, affine, stripped=stripped)
        for mm in options.mm:
            other = shifted(mask, mm)
            age = predicted_age(t1w, other, affine, stripped=stripped)
            edge = edge_offset(np.asarray(other.dataobj) > 0, inside, zooms)
            moves.append((mm, edge, age - own))
            rows.append([label, f"{edge:+.2f}", f"{own:.2f}", f"{age - own:+.2f}"])
            print(*rows[-1], flush=True)
    print(markdown(["scan", "mask_edge_mm", "age", "moves by"], rows))
    for mm in options.mm:
        edges, ages = np.array([(edge, age) for asked, edge, age in moves if asked == mm]).T
        print(
            f"edge {edges.mean():+.2f} mm: age moves by {ages.mean():+.2f} years on average, by "
            f"{np.abs(ages).max():.2f} at most ({len(ages)} people)"
        )


if __name__ == "__main__":
    main()
