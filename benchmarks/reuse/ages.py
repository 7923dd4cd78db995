"""``python -m benchmarks.reuse.ages BIDS_DIR OUT``: ages with and without given files, quickly.

Like :mod:`benchmarks.reuse`, without tables and figures of the app: its own functions from image to
age. OUT/smriprep has the derivatives (:mod:`benchmarks.reuse.make`). A person who has a file in
OUT/ages is not done again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pandas as pd

from benchmarks.registered_again import predicted_age
from bidsapp_brainage import io
from bidsapp_brainage.atlas.templates import EMBEDDED_TEMPLATE, prepare_home
from bidsapp_brainage.imaging import registration, skullstrip, transforms
from bidsapp_brainage.imaging.conform import conform_t1w, correct_bias_field
from bidsapp_brainage.imaging.distance import edge_offset
from bidsapp_brainage.interfaces.reuse import GivenTransforms

from .layout import TEMPLATE

OWN, ALL, NO_MASK, MASK = "own", "all", "without mask", "mask alone"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", nargs="*", default=[], help="sub-<label>")
    options = parser.parse_args()
    kept = options.out / "ages"
    kept.mkdir(parents=True, exist_ok=True)
    home = prepare_home(options.out)
    labels = options.people or sorted(
        path.name for path in (options.out / "smriprep").glob("sub-*")
    )
    for label in labels:
        if not (kept / f"{label}.tsv").is_file():
            row = ages(options.bids_dir, options.out, home, label)
            io.write_tsv(kept / f"{label}.tsv", pd.DataFrame([row]))
    print(summary(pd.concat([io.read_tsv(path) for path in sorted(kept.glob("*.tsv"))])))


def ages(bids_dir: Path, out: Path, home: Path, label: str) -> dict[str, object]:
    """Ages of one person, and how far mask and affine of the derivatives lie from the app's."""
    images = _pair(home, EMBEDDED_TEMPLATE)
    template, inside = map(io.load_nifti, images)
    raw, _ = conform_t1w(io.load_nifti(bids_dir / label / "anat" / f"{label}_T1w.nii.gz"), label)
    t1w = correct_bias_field(raw)
    affine = registration.fit_affine(t1w, template, inside, stripped=False)
    warp = registration.fit_warp(t1w, template, inside, affine)
    inverse = transforms.inverse_transform(affine, warp.inverse)
    mask = skullstrip.extract_brain(t1w, inside, inverse, stripped=False)

    start = out / "smriprep" / label / "anat" / label
    theirs, their_mask = (
        nib.as_closest_canonical(io.load_nifti(Path(f"{start}_desc-{end}.nii.gz")))
        for end in ("preproc_T1w", "brain_mask")
    )
    with TemporaryDirectory() as folder:
        made = GivenTransforms(
            t1w=f"{start}_desc-preproc_T1w.nii.gz",
            stripped=False,
            seed=registration.SEED,
            **dict(zip(("template", "template_mask"), map(str, images), strict=True)),
            **dict(
                zip(
                    ("own_template", "own_template_mask"),
                    map(str, _pair(home, TEMPLATE)),
                    strict=True,
                )
            ),
            forward=f"{start}_from-T1w_to-{TEMPLATE}_mode-image_xfm.h5",
            inverse=f"{start}_from-{TEMPLATE}_to-T1w_mode-image_xfm.h5",
            cache_dir=str(out / "ages"),
        ).run(cwd=folder)
        their_affine = transforms.read_affine(Path(made.outputs.affine))
        back = transforms.read_xfm(Path(made.outputs.inverse))
    made_mask = skullstrip.extract_brain(theirs, inside, back, stripped=False)
    given = {
        OWN: (t1w, mask, affine),
        ALL: (theirs, their_mask, their_affine),
        NO_MASK: (theirs, made_mask, their_affine),
        MASK: (t1w, their_mask, affine),
    }
    found = {name: predicted_age(*parts, stripped=False) for name, parts in given.items()}
    both = (np.asarray(one.dataobj) > 0 for one in (their_mask, mask))
    points = transforms.points_through(template, transforms.affine_to_sitk(affine))
    other = transforms.points_through(template, transforms.affine_to_sitk(their_affine))
    brain = np.asarray(inside.dataobj) > 0
    return {
        "participant_id": label,
        **found,
        "affine_mm": float(np.linalg.norm(points - other, axis=-1)[brain].mean()),
        "mask_edge_mm": edge_offset(*both, np.linalg.norm(t1w.affine[:3, :3], axis=0)),
    }


def _pair(home: Path, name: str) -> tuple[Path, Path]:
    """T1w and brain mask of a template."""
    files = sorted((home / f"tpl-{name}").glob(f"tpl-{name}_*"))
    return tuple(
        next(path for path in files if path.name.endswith(end))
        for end in ("_T1w.nii.gz", "_desc-brain_mask.nii.gz")
    )


def summary(table: pd.DataFrame) -> str:
    """Ages of the app, differences of the others from them, and what these come to."""
    table = table.set_index("participant_id").astype(float)
    lines = []
    for name in (ALL, NO_MASK, MASK):
        table[name] -= table[OWN]
        moved = table[name]
        lines.append(
            f"{name}: median {moved.median():+.1f} ({moved.min():+.1f} to {moved.max():+.1f}), "
            f"median size {moved.abs().median():.1f} years ({len(moved)} people)"
        )
    return "\n".join([table.round(2).to_string(), *lines])


if __name__ == "__main__":
    main()
