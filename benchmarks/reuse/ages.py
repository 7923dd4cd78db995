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
import SimpleITK as sitk

from benchmarks.registered_again import predicted_age
from bidsapp_brainage import io
from bidsapp_brainage.atlas.templates import EMBEDDED_TEMPLATE, prepare_home
from bidsapp_brainage.imaging import registration, skullstrip, transforms
from bidsapp_brainage.imaging.conform import conform_t1w, correct_bias_field
from bidsapp_brainage.imaging.distance import edge_offset
from bidsapp_brainage.interfaces.reuse import GivenTransforms

from .layout import TEMPLATE

OWN = "own"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", nargs="*", default=[], help="sub-<label>")
    options = parser.parse_args()
    options.out = options.out.absolute()
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
    """Ages of one person, and how far affine and masks lie from the app's own."""
    template, inside = map(io.load_nifti, _pair(home, EMBEDDED_TEMPLATE))
    t1w, mask, affine = _own(bids_dir / label / "anat" / f"{label}_T1w.nii.gz", template, inside)
    start = out / "smriprep" / label / "anat" / label
    theirs, their_mask = (
        nib.as_closest_canonical(io.load_nifti(Path(f"{start}_desc-{end}.nii.gz")))
        for end in ("preproc_T1w", "brain_mask")
    )
    their_affine, inverse = _given(start, home, out / "ages")
    made_mask = skullstrip.extract_brain(theirs, inside, inverse, stripped=False)
    given = {
        OWN: (t1w, mask, affine),
        "all": (theirs, their_mask, their_affine),
        "without mask": (theirs, made_mask, their_affine),
        "mask alone": (t1w, their_mask, affine),
        "T1w alone": (theirs, mask, affine),
        "mask by their warp": (t1w, made_mask, affine),
    }
    found = {name: predicted_age(*parts, stripped=False) for name, parts in given.items()}
    inner = [np.asarray(one.dataobj) > 0 for one in (their_mask, made_mask, mask)]
    zooms = np.linalg.norm(t1w.affine[:3, :3], axis=0)
    voxels = np.argwhere(np.asarray(inside.dataobj) > 0)
    brain = nib.affines.apply_affine(template.affine, voxels)
    moved = nib.affines.apply_affine(their_affine, brain) - nib.affines.apply_affine(affine, brain)
    return {
        "participant_id": label,
        **found,
        "affine_mm": float(np.linalg.norm(moved, axis=1).mean()),
        "mask_edge_mm": edge_offset(inner[0], inner[2], zooms),
        "made_mask_edge_mm": edge_offset(inner[1], inner[2], zooms),
    }


def _own(
    path: Path, template: nib.Nifti1Image, inside: nib.Nifti1Image
) -> tuple[nib.Nifti1Image, nib.Nifti1Image, np.ndarray]:
    """Image, mask and affine as the app makes them of a raw image."""
    t1w = correct_bias_field(conform_t1w(io.load_nifti(path), path.name)[0])
    affine = registration.fit_affine(t1w, template, inside, stripped=False)
    warp = registration.fit_warp(t1w, template, inside, affine)
    inverse = transforms.inverse_transform(affine, warp.inverse)
    return t1w, skullstrip.extract_brain(t1w, inside, inverse, stripped=False), affine


def _given(start: Path, home: Path, cache: Path) -> tuple[np.ndarray, sitk.Transform]:
    """Affine, and transform from template to T1w, as the app makes them of given ones."""
    (t1w, mask), (own_t1w, own_mask) = _pair(home, EMBEDDED_TEMPLATE), _pair(home, TEMPLATE)
    with TemporaryDirectory() as folder:
        made = GivenTransforms(
            t1w=f"{start}_desc-preproc_T1w.nii.gz",
            stripped=False,
            seed=registration.SEED,
            template=str(t1w),
            template_mask=str(mask),
            own_template=str(own_t1w),
            own_template_mask=str(own_mask),
            forward=f"{start}_from-T1w_to-{TEMPLATE}_mode-image_xfm.h5",
            inverse=f"{start}_from-{TEMPLATE}_to-T1w_mode-image_xfm.h5",
            cache_dir=str(cache),
        ).run(cwd=folder)
        affine = transforms.read_affine(Path(made.outputs.affine))
        return affine, transforms.read_xfm(Path(made.outputs.inverse))


def _pair(home: Path, name: str) -> tuple[Path, Path]:
    """T1w and brain mask of a template."""
    files = sorted((home / f"tpl-{name}").glob(f"tpl-{name}_*"))
    t1w, mask = (
        next(path for path in files if path.name.endswith(end))
        for end in ("_T1w.nii.gz", "_desc-brain_mask.nii.gz")
    )
    return t1w, mask


def summary(table: pd.DataFrame) -> str:
    """Ages of the app, differences of the others from them, and what these come to."""
    table = table.set_index("participant_id").astype(float)
    lines = []
    for name in [column for column in table if column != OWN and not column.endswith("_mm")]:
        table[name] -= table[OWN]
        moved = table[name].dropna()
        lines.append(
            f"{name}: median {moved.median():+.1f} ({moved.min():+.1f} to {moved.max():+.1f}), "
            f"median size {moved.abs().median():.1f} years ({len(moved)} people)"
        )
    return "\n".join([table.round(2).to_string(), *lines])


if __name__ == "__main__":
    main()
