"""``python -m benchmarks.reuse.ages BIDS_DIR OUT``: which given file moves the age, how far.

All is the app's own but the files that a column names: the app's own functions, from image to age,
without its tables and figures (:mod:`benchmarks.reuse` runs the app). OUT/smriprep has the
derivatives (:mod:`benchmarks.reuse.make`). A person with a file in OUT/ages is not done again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

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
from bidsapp_brainage.interfaces.atlas import joined_templates

from .layout import TEMPLATE

OWN = "own"
Image = nib.Nifti1Image
Made = TypeVar("Made")


@dataclass
class Steps:
    """The app's steps on the images of one template, and the processor seconds that they took."""

    template: Image
    template_mask: Image
    seconds: dict[str, float] = field(default_factory=dict)

    def affine(self, name: str, t1w: Image, start: np.ndarray | None = None) -> np.ndarray:
        """From the template to a T1w; from the best of many poses if none is given."""
        images = (t1w, self.template, self.template_mask)
        fit = registration.fit_affine
        return self.timed(name, lambda: fit(*images, stripped=False, start=start))

    def inverse(self, name: str, t1w: Image, affine: np.ndarray) -> sitk.Transform:
        """From the template to a T1w, nonlinearly."""
        images = (t1w, self.template, self.template_mask)
        warp = self.timed(name, lambda: registration.fit_warp(*images, affine))
        return transforms.inverse_transform(affine, warp.inverse)

    def mask(self, t1w: Image, inverse: sitk.Transform) -> Image:
        """The app's mask through a transform."""
        return skullstrip.extract_brain(t1w, self.template_mask, inverse, stripped=False)

    def timed(self, name: str, step: Callable[[], Made]) -> Made:
        """Do a step and keep its seconds."""
        before = time.process_time()
        made = step()
        self.seconds[f"{name}_s"] = time.process_time() - before
        return made


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
    """Ages of one person, processor seconds, and distances of affine and masks from the app's."""
    steps = Steps(*map(io.load_nifti, _pair(home, EMBEDDED_TEMPLATE)))
    raw = bids_dir / label / "anat" / f"{label}_T1w.nii.gz"
    conformed = conform_t1w(io.load_nifti(raw), raw.name)[0]
    t1w = steps.timed("n4", lambda: correct_bias_field(conformed))
    affine = steps.affine("affine", t1w)
    mask = steps.mask(t1w, steps.inverse("warp", t1w, affine))
    start = out / "smriprep" / label / "anat" / label
    theirs, their_mask = (
        nib.as_closest_canonical(io.load_nifti(Path(f"{start}_desc-{end}.nii.gz")))
        for end in ("preproc_T1w", "brain_mask")
    )
    chains = _chains(start, home, out / "ages")
    nearest = steps.timed("chains", lambda: _nearest(steps, chains))
    refined = steps.affine("affine_from_theirs", t1w, nearest)
    their_affine = steps.affine("affine_of_theirs", theirs, nearest)
    given = {
        OWN: (t1w, mask, affine),
        "T1w": (theirs, mask, affine),
        "affine, refined": (t1w, mask, refined),
        "warp, mask through it": (t1w, _through(steps, t1w, chains, affine), affine),
        "mask": (t1w, their_mask, affine),
        "T1w, affine, warp": (
            theirs, _through(steps, theirs, chains, their_affine), their_affine,
        ),
    }  # fmt: skip
    found = {name: predicted_age(*parts, stripped=False) for name, parts in given.items()}
    inner = {name: np.asarray(parts[1].dataobj) > 0 for name, parts in given.items()}
    zooms = np.linalg.norm(t1w.affine[:3, :3], axis=0)
    edges = {
        f"edge of {name}_mm": edge_offset(inner[name], inner[OWN], zooms)
        for name in ("warp, mask through it", "mask", "T1w, affine, warp")
    }
    distance = {"refined_mm": _apart(steps, refined, affine), **edges}
    return {"participant_id": label, **found, **distance, **steps.seconds}


def _chains(start: Path, home: Path, cache: Path) -> tuple[sitk.Transform, sitk.Transform]:
    """Given transforms, from points of the model's template to those of the T1w, and back."""
    joint = joined_templates(_pair(home, TEMPLATE), _pair(home, EMBEDDED_TEMPLATE), cache)
    forward, inverse = (
        transforms.read_xfm(Path(f"{start}_from-{first}_to-{second}_mode-image_xfm.h5"))
        for first, second in (("T1w", TEMPLATE), (TEMPLATE, "T1w"))
    )
    there, back = map(transforms.read_xfm, joint)
    return transforms.chained(there, forward), transforms.chained(inverse, back)


def _nearest(steps: Steps, chains: tuple[sitk.Transform, sitk.Transform]) -> np.ndarray:
    return registration.nearest_affine(*chains, steps.template, steps.template_mask)


def _through(
    steps: Steps,
    t1w: Image,
    chains: tuple[sitk.Transform, sitk.Transform],
    affine: np.ndarray,
) -> Image:
    """The app's mask through given transforms."""
    images = steps.template, steps.template_mask
    warp = steps.timed("given_warp", lambda: registration.warp_after(affine, *chains, *images))
    return steps.mask(t1w, transforms.inverse_transform(affine, warp.inverse))


def _apart(steps: Steps, first: np.ndarray, second: np.ndarray) -> float:
    """Mean distance (mm) between the places that two affines give to the brain."""
    voxels = np.argwhere(np.asarray(steps.template_mask.dataobj) > 0)
    brain = nib.affines.apply_affine(steps.template.affine, voxels)
    there, other = (nib.affines.apply_affine(affine, brain) for affine in (first, second))
    return float(np.linalg.norm(there - other, axis=1).mean())


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
    ages = [name for name in table if not name.endswith(("_mm", "_s"))]
    lines = [table.round(2).T.to_string(), "", "Years from the app's own age, where this is given:"]
    for name in ages[1:]:
        moved = (table[name] - table[OWN]).dropna()
        lines.append(
            f"{name}: median {moved.median():+.2f} ({moved.min():+.2f} to {moved.max():+.2f}), "
            f"median size {moved.abs().median():.2f} years ({len(moved)} people)"
        )
    seconds = table[[name for name in table if name.endswith("_s")]].median()
    return "\n".join([*lines, "", "Processor seconds, median:", seconds.round(1).to_string()])


if __name__ == "__main__":
    main()
