"""Templates of a few voxels."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from bidsapp_brainage.atlas.templates import TemplateFiles


def make_template(folder: Path, name: str) -> TemplateFiles:
    paths = []
    for kind in ("T1w", "mask"):
        path = folder / f"tpl-{name}_{kind}.nii.gz"
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), path)
        paths.append(path)
    return TemplateFiles(name, paths[0], paths[1], skull_stripped=True)
