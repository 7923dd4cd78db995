"""How far registration and brain mask of this version move what an earlier one predicted.

``python -m benchmarks.registered_again DERIVATIVES ... [--people LABEL ...]``: bias-corrected
images of finished scans of the embedded model are registered again and get an age. Per person, then
over all: the difference of the ages (years), the mean distance of the affines inside the brain
(mm), the overlap (Dice) of the masks, and processor seconds of affine, warp and mask.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np

from bidsapp_brainage import io
from bidsapp_brainage.atlas.templates import EMBEDDED_TEMPLATE, prepare_home
from bidsapp_brainage.imaging import registration, skullstrip, transforms
from bidsapp_brainage.imaging.network_input import model_input
from bidsapp_brainage.model import cards, prediction
from bidsapp_brainage.model.networks.regional import for_brain
from bidsapp_brainage.model.plausibility.features import tissue_fractions
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.segmentation import card as segmentations
from bidsapp_brainage.segmentation.alignment import aligned
from bidsapp_brainage.segmentation.overlap import dice
from bidsapp_brainage.segmentation.segment import segment
from bidsapp_brainage.segmentation.tables import volume_table

from .measure import markdown

MODEL = "sfcn2mm"
COLUMNS = ("scan", "before", "after", "affine mm", "mask Dice", "affine s", "warp s", "mask s")


def template() -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """The embedded template and its brain mask."""
    with TemporaryDirectory() as folder:
        home = prepare_home(Path(folder)) / f"tpl-{EMBEDDED_TEMPLATE}"
        found = [next(home.glob(f"*{end}")) for end in ("_T1w.nii.gz", "_desc-brain_mask.nii.gz")]
        image, mask = map(io.load_nifti, found)
    return image, mask


def predicted_age(
    t1w: nib.Nifti1Image, mask: nib.Nifti1Image, affine: np.ndarray, *, stripped: bool
) -> float:
    """Age in years by the embedded model, as a run predicts it."""
    card = cards.find_card(MODEL)
    seg = segmentations.find_segmentation()
    found = segment(t1w, mask, affine, segmentations.load_network(seg), seg)
    tissue, to_t1w = aligned(found, segmentations.load_mean_tissue(seg))
    volume, regions = model_input(t1w, mask, to_t1w, card.input, tissue=tissue)
    members = for_brain(load_members(card, "cpu"), np.asarray(regions.dataobj).astype(np.int16))
    answer = prediction.predict(
        members,
        volume.get_fdata(dtype=np.float32),
        card,
        stripped_source=stripped,
        tissue=tissue_fractions(volume_table(found)),
    )
    return float(answer.mean)


def compared(table: Path, target: tuple[nib.Nifti1Image, nib.Nifti1Image]) -> list[float]:
    """Values of all columns after the first, for one table of a predicted age."""
    stem = table.name.removesuffix(f"_desc-{MODEL}_brainage.tsv")
    t1w = io.load_nifti(table.with_name(f"{stem}_desc-preproc_T1w.nii.gz"))
    old_mask = io.load_nifti(table.with_name(f"{stem}_desc-brain_mask.nii.gz"))
    old = transforms.read_affine(next(table.parent.glob(f"{stem}_*desc-affine_xfm.txt")))
    stripped = skullstrip.is_skull_stripped(t1w)
    clocks = [time.process_time()]
    affine = registration.fit_affine(t1w, *target, stripped=stripped)
    clocks.append(time.process_time())
    warp = registration.fit_warp(t1w, *target, affine)
    clocks.append(time.process_time())
    inverse = transforms.inverse_transform(affine, warp.inverse)
    mask = skullstrip.extract_brain(t1w, target[1], inverse, stripped=stripped)
    clocks.append(time.process_time())
    inside = nib.affines.apply_affine(
        target[1].affine, np.argwhere(np.asarray(target[1].dataobj) > 0)[::100]
    )
    moved = [nib.affines.apply_affine(each, inside) for each in (old, affine)]
    return [
        float(io.read_tsv(table).iloc[0]["predicted_age"]),
        predicted_age(t1w, mask, affine, stripped=stripped),
        float(np.linalg.norm(moved[0] - moved[1], axis=1).mean()),
        dice(np.asarray(old_mask.dataobj) > 0, np.asarray(mask.dataobj) > 0),
        *np.diff(clocks),
    ]


def tables(folders: list[Path], people: list[str]) -> Iterator[Path]:
    """Tables of predicted ages, of some or all people."""
    for folder in folders:
        for table in sorted(folder.rglob(f"sub-*_desc-{MODEL}_brainage.tsv")):
            if not people or table.name.split("_")[0] in people:
                yield table


def main() -> int:
    """Print a row per scan, and how the ages moved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("derivatives", type=Path, nargs="+")
    parser.add_argument("--people", nargs="*", default=[], help="sub-<label>")
    args = parser.parse_args()
    target, rows, moves = template(), [], []
    for table in tables(args.derivatives, args.people):
        values = compared(table, target)
        moves.append(values[1] - values[0])
        rows.append([table.name.split("_desc")[0], *(f"{value:.3g}" for value in values)])
        print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    if not rows:
        parser.error(f"no *_desc-{MODEL}_brainage.tsv of these people")
    print(markdown(COLUMNS, rows))
    spread = np.std(moves, ddof=1) if len(moves) > 1 else 0.0
    print(
        f"\nAges of {len(moves)} scans moved by {np.mean(moves):+.2f} years on average "
        f"(SD {spread:.2f}, largest {np.abs(moves).max():.2f})."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
