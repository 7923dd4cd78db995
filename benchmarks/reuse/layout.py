"""Files as sMRIPrep lays them out and names them (``smriprep.workflows.outputs`` of 0.15).

What it writes beside them for surfaces and figures is left out: this app reads none of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import SimpleITK as sitk

TEMPLATE = "MNI152NLin2009cAsym"
DESCRIPTION = {
    "Name": "sMRIPrep - Structural MRI PREProcessing workflow",
    "BIDSVersion": "1.4.0",
    "DatasetType": "derivative",
    "GeneratedBy": [
        {
            "Name": "sMRIPrep",
            "Version": "0.15.0",
            "CodeURL": "https://github.com/nipreps/smriprep/archive/0.15.0.tar.gz",
        }
    ],
    "HowToAcknowledge": "Please cite our paper (https://doi.org/10.5281/zenodo.2650521).",
}


@dataclass(frozen=True)
class Anatomy:
    """What sMRIPrep makes of the T1w images of one person, or of one session.

    `tissues` are probabilities by ``GM WM CSF``, `dseg` has their numbers 1, 2, 3; `to_template`
    resamples the T1w onto the template, `to_t1w` the template onto the T1w; both are transforms or
    files (``.h5``) with one. `orig` are transforms from each single image, by the beginning of its
    name, where the T1w is an average.
    """

    t1w: nib.Nifti1Image
    mask: nib.Nifti1Image
    dseg: nib.Nifti1Image
    tissues: Mapping[str, nib.Nifti1Image]
    to_template: sitk.Transform | Path
    to_t1w: sitk.Transform | Path
    raw: tuple[str, ...] = ()
    orig: Mapping[str, sitk.Transform] = field(default_factory=dict)


def write_dataset(root: Path) -> None:
    """Write what lies at the root."""
    root.mkdir(parents=True, exist_ok=True)
    _json(root / "dataset_description.json", DESCRIPTION)
    (root / ".bidsignore").write_text("*.html\nlogs/\nfigures/\n*_xfm.*\n*.surf.gii\n")


def write_anatomy(root: Path, label: str, anatomy: Anatomy, *, template: str = TEMPLATE) -> Path:
    """Write the files of one person or session (``sub-01``, ``sub-01_ses-1``); their folder."""
    folder = _folder(root, label)
    folder.mkdir(parents=True, exist_ok=True)
    images = {
        "desc-preproc_T1w": anatomy.t1w,
        "desc-brain_mask": anatomy.mask,
        "dseg": anatomy.dseg,
        **{f"label-{name}_probseg": image for name, image in anatomy.tissues.items()},
    }
    for name, image in images.items():
        nib.save(image, folder / f"{label}_{name}.nii.gz")
    _json(folder / f"{label}_desc-preproc_T1w.json", {"SkullStripped": False})
    sources = [f"bids:raw:{path}" for path in anatomy.raw]
    _json(folder / f"{label}_desc-brain_mask.json", {"RawSources": sources, "Type": "Brain"})
    for start, end, xfm in (
        ("T1w", template, anatomy.to_template),
        (template, "T1w", anatomy.to_t1w),
    ):
        target = folder / f"{label}_from-{start}_to-{end}_mode-image_xfm.h5"
        if isinstance(xfm, Path):
            target.write_bytes(xfm.read_bytes())
        else:
            sitk.WriteTransform(xfm, str(target))
    for name, xfm in anatomy.orig.items():
        own = _folder(root, name)
        own.mkdir(parents=True, exist_ok=True)
        sitk.WriteTransform(xfm, str(own / f"{name}_from-orig_to-T1w_mode-image_xfm.txt"))
    return folder


def _folder(root: Path, label: str) -> Path:
    parts = [part for part in label.split("_") if part.startswith(("sub-", "ses-"))]
    return root.joinpath(*parts, "anat")


def _json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
