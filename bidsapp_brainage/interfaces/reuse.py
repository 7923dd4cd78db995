"""Adapters for what other programs, such as fMRIPrep, computed before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype.interfaces.base import File, InputMultiObject, TraitedSpec, isdefined, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface
from bidsapp_brainage.interfaces.registration import WarpInterface

if TYPE_CHECKING:
    import nibabel as nib
    import SimpleITK as sitk


class _GivenTransformsInputSpec(StageInputSpec):
    t1w = File(exists=True, mandatory=True, desc="T1w that the transforms are for")
    template = File(exists=True, mandatory=True, desc="T1w of the template that is wanted")
    template_mask = File(exists=True, mandatory=True, desc="its brain mask")
    # A file may vanish, or be broken: that is the failure of this scan, not of the run.
    forward = File(mandatory=True, desc="from-T1w_to-template, as another program wrote it")
    inverse = File(mandatory=True, desc="from-template_to-T1w")
    orig = File(desc="from-orig_to-T1w, where the T1w is one of those that theirs is the mean of")
    own_template = File(exists=True, desc="T1w of the template of the transforms, if another")
    own_template_mask = File(exists=True, desc="its brain mask")
    own_name = traits.Str("", usedefault=True, desc="its name, for messages")
    joint = InputMultiObject(File(exists=True), desc="transforms between them that are known")
    cache_dir = traits.Directory(mandatory=True, nohash=True, desc="shared by all runs")
    sloppy = traits.Bool(False, usedefault=True, desc="how templates are registered")
    n_threads = traits.Int(1, usedefault=True, nohash=True)


class _GivenTransformsOutputSpec(TraitedSpec):
    forward = File(exists=True, desc="from-T1w_to-template, resamples the T1w onto it")
    inverse = File(exists=True, desc="from-template_to-T1w")


class GivenTransforms(WarpInterface):
    """Take transforms to any template and make those to the wanted one, in the app's form.

    Transforms between the two templates are computed once and kept. The affine is the nearest one
    to the whole, and the warp is what is left
    (:func:`bidsapp_brainage.imaging.registration.warp_after`).
    """

    stage = "transforms from derivatives"
    input_spec = _GivenTransformsInputSpec
    output_spec = _GivenTransformsOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.errors import DataError
        from bidsapp_brainage.imaging import registration

        template, mask = (
            io.load_nifti(Path(path)) for path in (self.inputs.template, self.inputs.template_mask)
        )
        t1w = io.load_nifti(Path(self.inputs.t1w))
        pair = f"{Path(self.inputs.forward).name} and {Path(self.inputs.inverse).name}"
        forward, inverse = self._chains()
        try:
            affine = registration.nearest_affine(forward, inverse, template, mask)
        except DataError as error:
            raise DataError(f"{pair}: {error}. {_ELSE}") from error
        score = registration.resemblance(t1w, template, mask, affine)
        if not score >= registration.MIN_CORRELATION:
            raise DataError(
                f"{pair} do not bring this image to the template {self.inputs.own_name} "
                f"(correlation {score:.2f}, at least {registration.MIN_CORRELATION:.2f} needed): "
                f"they belong to another image, another template or the other direction. {_ELSE}"
            )
        warp = registration.warp_after(affine, forward, inverse, template, mask)
        self._keep_warp(runtime, affine, warp)
        return runtime

    def _chains(self) -> tuple[sitk.Transform, sitk.Transform]:
        """From points of the wanted template to those of the T1w, and back."""
        from bidsapp_brainage.imaging.transforms import chained, read_xfm

        forward, inverse = (
            _warp(Path(path)) for path in (self.inputs.forward, self.inputs.inverse)
        )
        there, back = [forward], [inverse]
        if (joint := self._joint()) is not None:
            there.insert(0, read_xfm(joint[0]))
            back.append(read_xfm(joint[1]))
        if isdefined(self.inputs.orig):
            to_orig = _linear(Path(self.inputs.orig))
            there.append(to_orig)
            back.insert(0, to_orig.GetInverse())
        return chained(*there), chained(*back)

    def _joint(self) -> tuple[Path, Path] | None:
        """Transforms that resample another template onto the wanted one and back, if it is one."""
        from bidsapp_brainage import io
        from bidsapp_brainage.interfaces.atlas import joined_templates

        if isdefined(self.inputs.joint):
            first, second = self.inputs.joint
            return Path(first), Path(second)
        if not isdefined(self.inputs.own_template):
            return None
        folder = Path(self.inputs.cache_dir)
        with io.folder_lock(folder):
            return joined_templates(
                (Path(self.inputs.own_template), Path(self.inputs.own_template_mask)),
                (Path(self.inputs.template), Path(self.inputs.template_mask)),
                folder,
                sloppy=self.inputs.sloppy,
                n_threads=self.inputs.n_threads,
            )


_ELSE = (
    "Give derivatives that were made from this image, or remove these two files from a copy of "
    "them, so that the image is registered anew."
)


def _warp(path: Path) -> sitk.Transform:
    from bidsapp_brainage.errors import DataError
    from bidsapp_brainage.imaging.transforms import is_linear, read_xfm

    transform = read_xfm(path)
    if is_linear(transform):
        raise DataError(
            f"{path.name} holds an affine only, no field of displacements, so regions cannot be "
            f"brought to the image by it. {_ELSE}"
        )
    return transform


def _linear(path: Path) -> sitk.Transform:
    from bidsapp_brainage.errors import DataError
    from bidsapp_brainage.imaging.transforms import is_linear, read_xfm

    transform = read_xfm(path)
    if not is_linear(transform):
        raise DataError(
            f"{path.name} is not linear: a rigid transform between images of one person was "
            "expected. Copy the file again from the derivatives."
        )
    return transform


class _GivenMaskInputSpec(StageInputSpec):
    mask = File(mandatory=True, desc="brain mask that another program made")
    t1w = File(exists=True, mandatory=True, desc="T1w whose grid is wanted")
    same_grid = File(desc="T1w of the same derivatives, on whose grid the mask must be")
    orig = File(desc="from-orig_to-T1w, where the T1w is one of those that theirs is the mean of")


class _GivenMaskOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="mask on the grid of the T1w")


class GivenMask(StageInterface):
    """Bring a brain mask to the grid of the T1w."""

    stage = "mask from derivatives"
    input_spec = _GivenMaskInputSpec
    output_spec = _GivenMaskOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import nibabel as nib
        import numpy as np

        from bidsapp_brainage import io
        from bidsapp_brainage.errors import DataError
        from bidsapp_brainage.imaging.transforms import apply_xfm, chained

        path = Path(self.inputs.mask)
        mask = io.load_nifti(path)
        if isdefined(self.inputs.same_grid):
            _check_grid(mask, path, Path(self.inputs.same_grid))
        orig = isdefined(self.inputs.orig)
        back = [_linear(Path(self.inputs.orig)).GetInverse()] if orig else []
        moved = apply_xfm(
            mask, io.load_grid(Path(self.inputs.t1w)), chained(*back), interpolation="nearest"
        )
        inside = np.asarray(moved.dataobj) > 0
        if not inside.any():
            raise DataError(
                f"{path.name} is empty where the image is: it belongs to another image. Give the "
                "mask of this one, or remove it from a copy of the derivatives, so that a mask is "
                "made."
            )
        image = nib.Nifti1Image(inside.astype(np.uint8), moved.affine)
        self._results["out_file"] = self._save(runtime, "mask.nii.gz", image)
        return runtime


def _check_grid(mask: nib.Nifti1Image, path: Path, t1w: Path) -> None:
    import numpy as np

    from bidsapp_brainage import io
    from bidsapp_brainage.errors import DataError

    grid = io.load_grid(t1w)
    if mask.shape == grid.shape and np.allclose(mask.affine, grid.affine, atol=1e-2):
        return
    raise DataError(
        f"{path.name} has {' x '.join(map(str, mask.shape))} voxels on another grid than "
        f"{t1w.name} of the same derivatives ({' x '.join(map(str, grid.shape))}): one of them is "
        "of another run. Make both again together, or remove the mask from a copy of the "
        "derivatives, so that a mask is made."
    )


class _CompareGivenInputSpec(StageInputSpec):
    t1w = File(exists=True, mandatory=True, desc="bias-corrected T1w")
    stripped = traits.Bool(mandatory=True, desc="whether the T1w shows only the brain")
    mask = File(exists=True, desc="brain mask that another program made, same grid")
    template_mask = File(exists=True, mandatory=True, desc="brain mask of the template")
    own_mask = File(exists=True, desc="brain mask that the app made, same grid")
    inverse_xfm = File(exists=True, desc="from the template to the T1w, where it made none")
    given_xfm = File(exists=True, desc="from-T1w_to-template that another program made")
    own_xfm = File(exists=True, desc="the same of the app")
    tissues = traits.Dict(desc="probabilities of GM, WM and CSF by name, of the same program")
    dseg = File(desc="its tissues, where it kept no probabilities")
    own_t1w = File(desc="its T1w")


class _CompareGivenOutputSpec(TraitedSpec):
    facts = traits.Dict(desc="columns of the quality table")


class CompareGiven(StageInterface):
    """Compare given mask and transforms with the app's own, and measure given tissue."""

    stage = "comparison with derivatives"
    input_spec = _CompareGivenInputSpec
    output_spec = _CompareGivenOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.imaging.quality import tissue_volumes

        facts: dict[str, float] = {
            f"given_{name.lower()}_ml": volume
            for name, volume in tissue_volumes(self._tissues()).items()
        }
        compared = isdefined(self.inputs.own_mask)
        if isdefined(self.inputs.mask) and (compared or isdefined(self.inputs.inverse_xfm)):
            facts["given_mask_edge_mm" if compared else "mask_edge_mm"] = self._mask_edge()
        if isdefined(self.inputs.given_xfm):
            facts["given_xfm_mm"] = self._distance()
        self._results["facts"] = facts
        return runtime

    def _mask_edge(self) -> float:
        import numpy as np

        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.distance import edge_offset

        given = io.load_nifti(Path(self.inputs.mask))
        inside, made = (np.asarray(one.dataobj) > 0 for one in (given, self._own_mask()))
        return edge_offset(inside, made, np.linalg.norm(given.affine[:3, :3], axis=0))

    def _distance(self) -> float:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.registration import distance_between
        from bidsapp_brainage.imaging.transforms import read_xfm

        given, own = (read_xfm(Path(path)) for path in (self.inputs.given_xfm, self.inputs.own_xfm))
        return distance_between(given, own, io.load_nifti(Path(self.inputs.template_mask)))

    def _own_mask(self) -> nib.Nifti1Image:
        """The app's mask, made here if the given one took its place."""
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.skullstrip import extract_brain
        from bidsapp_brainage.imaging.transforms import read_xfm

        if isdefined(self.inputs.own_mask):
            return io.load_nifti(Path(self.inputs.own_mask))
        return extract_brain(
            io.load_nifti(Path(self.inputs.t1w)),
            io.load_nifti(Path(self.inputs.template_mask)),
            read_xfm(Path(self.inputs.inverse_xfm)),
            stripped=self.inputs.stripped,
        )

    def _tissues(self) -> dict[str, nib.Nifti1Image]:
        from bidsapp_brainage import io
        from bidsapp_brainage.errors import DataError
        from bidsapp_brainage.imaging.quality import tissues_of_classes

        if isdefined(self.inputs.tissues):
            return {name: io.load_nifti(Path(path)) for name, path in self.inputs.tissues.items()}
        if not isdefined(self.inputs.dseg):
            return {}
        path = Path(self.inputs.dseg)
        try:
            return tissues_of_classes(io.load_nifti(path), io.load_nifti(Path(self.inputs.own_t1w)))
        except DataError as error:
            raise DataError(
                f"{path.name}: {error}. Copy the derivatives again, or remove the file from a copy "
                "of them: it is only compared with the app's own segmentation."
            ) from error
