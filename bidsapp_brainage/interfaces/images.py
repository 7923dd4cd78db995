"""Adapters for single images: conform, N4, brain extraction, resampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, InputMultiObject, TraitedSpec, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface


class _ConformInputSpec(StageInputSpec):
    # An image may vanish, or not be fetched: that is the failure of this scan, not of the run.
    in_file = File(mandatory=True, desc="raw T1w image")
    label = traits.Str(desc="how messages call the image")


class _ConformOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="3D RAS float32 image, finite and non-negative")
    facts = traits.Dict(desc="n_nan, resolution_mm, fov_mm, orientation, shape")


class Conform(StageInterface):
    """Bring a T1w image to one form; see :func:`bidsapp_brainage.imaging.conform.conform_t1w`."""

    stage = "conform"
    input_spec = _ConformInputSpec
    output_spec = _ConformOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.conform import conform_t1w

        path = Path(self.inputs.in_file)
        image, facts = conform_t1w(io.load_nifti(path), self.inputs.label or path.name)
        self._results["out_file"] = self._save(runtime, "conformed_T1w.nii.gz", image)
        self._results["facts"] = facts
        return runtime


class _CorrectBiasInputSpec(StageInputSpec):
    in_file = File(exists=True, mandatory=True, desc="conformed T1w image")


class _ImageOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="image")


class CorrectBias(StageInterface):
    """Remove the bias field; see :func:`bidsapp_brainage.imaging.conform.correct_bias_field`."""

    stage = "bias correction"
    input_spec = _CorrectBiasInputSpec
    output_spec = _ImageOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.conform import correct_bias_field

        image = correct_bias_field(io.load_nifti(Path(self.inputs.in_file)))
        self._results["out_file"] = self._save(runtime, "corrected_T1w.nii.gz", image)
        return runtime


class Invert(StageInterface):
    """Turn the contrast over; see :func:`bidsapp_brainage.imaging.conform.inverted`."""

    input_spec = _CorrectBiasInputSpec
    output_spec = _ImageOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.conform import inverted

        image = inverted(io.load_nifti(Path(self.inputs.in_file)))
        self._results["out_file"] = self._save(runtime, "inverted.nii.gz", image)
        return runtime


class _DetectStrippedInputSpec(StageInputSpec):
    in_file = File(exists=True, mandatory=True, desc="conformed T1w image")
    mode = traits.Enum("auto", "skip", "force", usedefault=True, desc="--skull-strip")


class _DetectStrippedOutputSpec(TraitedSpec):
    stripped = traits.Bool(desc="whether the image shows only the brain")


class DetectStripped(StageInterface):
    """Tell whether an image is skull-stripped already; `skip` and `force` decide by themselves."""

    input_spec = _DetectStrippedInputSpec
    output_spec = _DetectStrippedOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.skullstrip import is_skull_stripped

        if self.inputs.mode == "auto":
            stripped = is_skull_stripped(io.load_nifti(Path(self.inputs.in_file)))
        else:
            stripped = self.inputs.mode == "skip"
        self._results["stripped"] = bool(stripped)
        return runtime


class _ExtractBrainInputSpec(StageInputSpec):
    in_file = File(exists=True, mandatory=True, desc="bias-corrected T1w image")
    stripped = traits.Bool(mandatory=True, desc="whether the image shows only the brain")
    template_mask = File(exists=True, mandatory=True, desc="brain mask of the template")
    inverse_xfm = File(exists=True, mandatory=True, desc="transform from the template to the T1w")


class ExtractBrain(StageInterface):
    """Make the brain mask; see :func:`bidsapp_brainage.imaging.skullstrip.extract_brain`."""

    stage = "brain mask"
    input_spec = _ExtractBrainInputSpec
    output_spec = _ImageOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.skullstrip import extract_brain
        from bidsapp_brainage.imaging.transforms import read_xfm

        mask = extract_brain(
            io.load_nifti(Path(self.inputs.in_file)),
            io.load_nifti(Path(self.inputs.template_mask)),
            read_xfm(Path(self.inputs.inverse_xfm)),
            stripped=self.inputs.stripped,
        )
        self._results["out_file"] = self._save(runtime, "brain_mask.nii.gz", mask)
        return runtime


class _ResampleInputSpec(StageInputSpec):
    in_file = File(exists=True, mandatory=True, desc="moving image")
    reference = File(exists=True, mandatory=True, desc="image whose grid is wanted")
    transforms = InputMultiObject(
        File(exists=True), desc="transforms; a point of the reference goes through the first first"
    )
    interpolation = traits.Enum("linear", "nearest", "bspline", usedefault=True)
    dtype = traits.Str("", usedefault=True, desc="data type on disk; empty keeps what comes")
    standard = traits.Bool(False, usedefault=True, desc="the reference is in a template's space")
    out_name = traits.Str("resampled.nii.gz", usedefault=True)


class Resample(StageInterface):
    """Bring an image to another grid; see :func:`bidsapp_brainage.imaging.transforms.apply_xfm`."""

    input_spec = _ResampleInputSpec
    output_spec = _ImageOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import nibabel as nib
        import numpy as np

        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.transforms import apply_xfm

        image = apply_xfm(
            io.load_nifti(Path(self.inputs.in_file)),
            io.load_grid(Path(self.inputs.reference)),
            self._chain(),
            interpolation=self.inputs.interpolation,
        )
        if self.inputs.dtype:
            image = nib.Nifti1Image(
                np.asarray(image.dataobj).astype(self.inputs.dtype), image.affine
            )
        self._results["out_file"] = self._save(
            runtime, self.inputs.out_name, image, standard=self.inputs.standard
        )
        return runtime

    def _chain(self) -> Any:
        """All transforms as one."""
        from bidsapp_brainage.imaging.conversion import affine_to_sitk
        from bidsapp_brainage.imaging.transforms import chained, read_affine, read_xfm

        paths = [Path(path) for path in self.inputs.transforms or []]
        return chained(
            *(
                affine_to_sitk(read_affine(path)) if path.suffix == ".txt" else read_xfm(path)
                for path in paths
            )
        )
