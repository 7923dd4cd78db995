"""Adapters for registration: affine, nonlinear warp, and how well they fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype.interfaces.base import File, TraitedSpec, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface

if TYPE_CHECKING:
    import numpy as np

    from bidsapp_brainage.imaging.registration import Warp


class _RegistrationInputSpec(StageInputSpec):
    in_file = File(exists=True, mandatory=True, desc="bias-corrected T1w image")
    template = File(exists=True, mandatory=True, desc="template T1w")
    template_mask = File(exists=True, mandatory=True, desc="brain mask of the template")
    sloppy = traits.Bool(False, usedefault=True, desc="coarse, for testing only")
    seed = traits.Int(mandatory=True, desc="--random-seed")
    n_threads = traits.Int(1, usedefault=True, nohash=True)


class _FitAffineInputSpec(_RegistrationInputSpec):
    stripped = traits.Bool(mandatory=True, desc="whether the T1w shows only the brain")


class _FitAffineOutputSpec(TraitedSpec):
    affine = File(exists=True, desc="4 x 4 text matrix, template RAS mm to T1w RAS mm")


class FitAffine(StageInterface):
    """Find the affine; see :func:`bidsapp_brainage.imaging.registration.fit_affine`."""

    stage = "affine registration"
    input_spec = _FitAffineInputSpec
    output_spec = _FitAffineOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.registration import fit_affine
        from bidsapp_brainage.imaging.transforms import write_affine

        matrix = fit_affine(
            io.load_nifti(Path(self.inputs.in_file)),
            io.load_nifti(Path(self.inputs.template)),
            io.load_nifti(Path(self.inputs.template_mask)),
            stripped=self.inputs.stripped,
            n_threads=self.inputs.n_threads,
            sloppy=self.inputs.sloppy,
            seed=self.inputs.seed,
        )
        self._results["affine"] = self._file(runtime, "affine.txt")
        write_affine(Path(self._results["affine"]), matrix)
        return runtime


class _FitRigidInputSpec(StageInputSpec):
    in_file = File(exists=True, mandatory=True, desc="bias-corrected image of another modality")
    fixed = File(exists=True, mandatory=True, desc="bias-corrected T1w image")
    mask = File(exists=True, mandatory=True, desc="brain mask on the grid of the T1w")


class _FitRigidOutputSpec(TraitedSpec):
    affine = File(exists=True, desc="4 x 4 text matrix, T1w RAS mm to RAS mm of the image")


class FitRigid(StageInterface):
    """Find a rigid motion; see :func:`bidsapp_brainage.imaging.registration.fit_rigid`."""

    stage = "rigid registration"
    input_spec = _FitRigidInputSpec
    output_spec = _FitRigidOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.registration import fit_rigid
        from bidsapp_brainage.imaging.transforms import write_affine

        images = (self.inputs.in_file, self.inputs.fixed, self.inputs.mask)
        matrix = fit_rigid(*(io.load_nifti(Path(path)) for path in images))
        self._results["affine"] = self._file(runtime, "rigid.txt")
        write_affine(Path(self._results["affine"]), matrix)
        return runtime


class _FitWarpInputSpec(_RegistrationInputSpec):
    affine = File(exists=True, mandatory=True, desc="result of FitAffine")


class _FitWarpOutputSpec(TraitedSpec):
    forward = File(exists=True, desc="from-T1w_to-template, resamples the T1w onto the template")
    inverse = File(exists=True, desc="from-template_to-T1w")


class WarpInterface(StageInterface):
    """A stage whose results are both directions of a nonlinear transform."""

    def _keep_warp(self, runtime: Any, affine: np.ndarray, warp: Warp) -> None:
        from bidsapp_brainage.imaging.transforms import write_xfm

        for name, field, inverse in (
            ("forward", warp.forward, False),
            ("inverse", warp.inverse, True),
        ):
            self._results[name] = self._file(runtime, f"{name}_xfm.h5")
            write_xfm(Path(self._results[name]), affine=affine, field=field, inverse=inverse)


class FitWarp(WarpInterface):
    """Find the nonlinear part; see :func:`bidsapp_brainage.imaging.registration.fit_warp`."""

    stage = "nonlinear registration"
    input_spec = _FitWarpInputSpec
    output_spec = _FitWarpOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.registration import fit_warp
        from bidsapp_brainage.imaging.transforms import read_affine

        affine = read_affine(Path(self.inputs.affine))
        warp = fit_warp(
            io.load_nifti(Path(self.inputs.in_file)),
            io.load_nifti(Path(self.inputs.template)),
            io.load_nifti(Path(self.inputs.template_mask)),
            affine,
            n_threads=self.inputs.n_threads,
            sloppy=self.inputs.sloppy,
            seed=self.inputs.seed,
        )
        self._keep_warp(runtime, affine, warp)
        return runtime
