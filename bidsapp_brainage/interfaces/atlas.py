"""Adapter that brings an atlas from its own template to the model's, once for all participants."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from nipype.interfaces.base import File, TraitedSpec, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface


class _MatchAtlasInputSpec(StageInputSpec):
    dseg = File(exists=True, mandatory=True, desc="atlas labels in the atlas's template")
    moving = File(exists=True, mandatory=True, desc="T1w of the atlas's template")
    moving_mask = File(exists=True, mandatory=True, desc="its brain mask")
    template = File(exists=True, mandatory=True, desc="T1w of the model's template")
    template_mask = File(exists=True, mandatory=True, desc="its brain mask")
    cache_dir = traits.Directory(mandatory=True, nohash=True, desc="shared by all runs")
    sloppy = traits.Bool(False, usedefault=True)
    n_threads = traits.Int(1, usedefault=True, nohash=True)


class _MatchAtlasOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="atlas labels on the grid of the model's template")


class MatchAtlas(StageInterface):
    """Warp an atlas to another template; see :mod:`bidsapp_brainage.imaging.registration`.

    The result lies under a name made from the inputs; a lock lets jobs that share a work folder
    wait for the first of them instead of computing it again.
    """

    stage = "atlas to the model's template"
    input_spec = _MatchAtlasInputSpec
    output_spec = _MatchAtlasOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io

        key = hashlib.sha256(repr(self.inputs.get_hashval("content")[1]).encode()).hexdigest()[:16]
        target = Path(self.inputs.cache_dir) / f"atlas-{key}_dseg.nii.gz"
        with io.folder_lock(target.parent):
            if not target.is_file():
                self._warp(target)
        self._results["out_file"] = str(target)
        return runtime

    def _warp(self, target: Path) -> None:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging import transforms

        given = self.inputs
        joint = joined_templates(
            (Path(given.moving), Path(given.moving_mask)),
            (Path(given.template), Path(given.template_mask)),
            target.parent,
            sloppy=given.sloppy,
            n_threads=given.n_threads,
        )
        labels = transforms.apply_xfm(
            io.load_nifti(Path(given.dseg)),
            io.load_nifti(Path(given.template)),
            joint.forward,
            interpolation="nearest",
        )
        io.save_nifti(labels, target)


class JoinedTemplates(NamedTuple):
    """Transforms between two templates: `forward` resamples the moving one onto the fixed one."""

    forward: Path
    inverse: Path


def joined_templates(
    moving: tuple[Path, Path],
    fixed: tuple[Path, Path],
    folder: Path,
    *,
    sloppy: bool = False,
    n_threads: int = 1,
) -> JoinedTemplates:
    """Register one template to another, once for all who share a folder.

    Parameters
    ----------
    moving, fixed : tuple of Path
        T1w and brain mask of each.
    folder : Path
        Where the transforms are kept, under a name made from the images. The caller holds its lock.
    sloppy, n_threads
        As for :func:`bidsapp_brainage.imaging.registration.fit_warp`.
    """
    import nibabel as nib
    import numpy as np

    from bidsapp_brainage import io
    from bidsapp_brainage.imaging import registration, transforms

    digests = [io.file_sha256(path) for path in (*moving, *fixed)]
    key = hashlib.sha256(" ".join([*digests, str(sloppy)]).encode()).hexdigest()[:16]
    kept = JoinedTemplates(*(folder / f"templates-{key}_{way}_xfm.h5" for way in ("to", "from")))
    if all(path.is_file() for path in kept):
        return kept
    t1w, mask = (io.load_nifti(path) for path in moving)
    inside = np.asarray(mask.dataobj) > 0
    voxels = np.where(inside, np.asarray(t1w.dataobj, dtype=np.float32), 0)
    brain = nib.Nifti1Image(voxels, t1w.affine)
    target, target_mask = (io.load_nifti(path) for path in fixed)
    options: dict[str, Any] = {"n_threads": n_threads, "sloppy": sloppy}
    affine = registration.fit_affine(brain, target, target_mask, stripped=True, **options)
    warp = registration.fit_warp(brain, target, target_mask, affine, **options)
    transforms.write_xfm(kept.forward, affine=affine, field=warp.forward)
    transforms.write_xfm(kept.inverse, affine=affine, field=warp.inverse, inverse=True)
    return kept
