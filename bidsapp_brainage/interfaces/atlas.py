"""Adapter that brings an atlas from its own template to the model's, once for all participants."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

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
        import nibabel as nib
        import numpy as np

        from bidsapp_brainage import io
        from bidsapp_brainage.imaging import registration, transforms

        names = ("dseg", "moving", "moving_mask", "template", "template_mask")
        images = {name: io.load_nifti(Path(getattr(self.inputs, name))) for name in names}
        inside = np.asarray(images["moving_mask"].dataobj) > 0
        voxels = np.where(inside, np.asarray(images["moving"].dataobj, dtype=np.float32), 0)
        brain = nib.Nifti1Image(voxels, images["moving"].affine)
        fixed = (images["template"], images["template_mask"])
        options = {"n_threads": self.inputs.n_threads, "sloppy": self.inputs.sloppy}
        affine = registration.fit_affine(brain, *fixed, stripped=True, **options)
        warp = registration.fit_warp(brain, *fixed, affine, **options)
        forward = target.with_name(f"{target.name.removesuffix('_dseg.nii.gz')}_xfm.h5")
        transforms.write_xfm(forward, affine=affine, field=warp.forward)
        labels = transforms.apply_xfm(
            images["dseg"], images["template"], forward, interpolation="nearest"
        )
        io.save_nifti(labels, target)
