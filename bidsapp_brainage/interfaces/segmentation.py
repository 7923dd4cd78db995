"""Adapter of the segmentation of one image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype.interfaces.base import File, TraitedSpec, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface

if TYPE_CHECKING:
    import nibabel as nib

    from bidsapp_brainage.segmentation.segment import Segmentation


class _SegmentInputSpec(StageInputSpec):
    card = File(exists=True, mandatory=True, desc="card of the segmentation (JSON)")
    weights = File(exists=True, mandatory=True, desc="its weights, so that new ones compute anew")
    t1w = File(exists=True, mandatory=True, desc="bias-corrected T1w image")
    mask = File(exists=True, mandatory=True, desc="brain mask on the grid of the T1w")
    affine = File(exists=True, mandatory=True, desc="affine from template to T1w")
    images = traits.Bool(True, usedefault=True, desc="whether images in T1w space are made")
    n_threads = traits.Int(1, usedefault=True, nohash=True)


class _SegmentOutputSpec(TraitedSpec):
    units = File(exists=True, desc="aligned tissue units on the card's grid, 0 outside the brain")
    regions = File(exists=True, desc="regions that they come from, 0 outside the brain")
    affine = File(exists=True, desc="affine from there to T1w")
    facts = traits.Dict(desc="dice_mask_segmentation, tissues_found")
    volumes = File(exists=True, desc="one row per region and sum")
    dseg_table = File(exists=True, desc="names of the regions")
    dseg = File(exists=True, desc="regions in T1w space; undefined without images")
    probseg_gm = File(exists=True, desc="grey matter; undefined without images")
    probseg_wm = File(exists=True, desc="white matter; undefined without images")
    probseg_csf = File(exists=True, desc="fluid; undefined without images")


class Segment(StageInterface):
    """Segment a brain and align its tissue.

    See :func:`bidsapp_brainage.segmentation.segment.segment` and
    :func:`bidsapp_brainage.segmentation.alignment.aligned`.
    """

    stage = "segmentation"
    input_spec = _SegmentInputSpec
    output_spec = _SegmentOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.transforms import read_affine, write_affine
        from bidsapp_brainage.segmentation import card as cards
        from bidsapp_brainage.segmentation import tables
        from bidsapp_brainage.segmentation.alignment import aligned
        from bidsapp_brainage.segmentation.segment import segment

        card = cards.load_segmentation_card(Path(self.inputs.card))
        t1w = io.load_nifti(Path(self.inputs.t1w))
        found = segment(
            t1w,
            io.load_nifti(Path(self.inputs.mask)),
            read_affine(Path(self.inputs.affine)),
            cards.load_network(card),
            card,
            n_threads=self.inputs.n_threads,
        )
        tissue, affine = aligned(found, cards.load_mean_tissue(card))
        self._results["affine"] = self._file(runtime, "aligned.txt")
        write_affine(Path(self._results["affine"]), affine)
        for name, image in tissue._asdict().items():
            self._results[name] = self._save(runtime, f"{name}.nii.gz", image, standard=True)
        for name, table in (
            ("volumes", tables.volume_table(found)),
            ("dseg_table", tables.label_table(card.labels)),
        ):
            self._results[name] = self._file(runtime, f"{name}.tsv")
            io.write_tsv(Path(self._results[name]), table)
        self._results["facts"] = {
            "dice_mask_segmentation": found.mask_dice,
            "tissues_found": found.tissues_found,
        }
        if self.inputs.images:
            self._write_images(found, t1w, runtime)
        return runtime

    def _write_images(self, found: Segmentation, t1w: nib.Nifti1Image, runtime: Any) -> None:
        """Regions and probabilities of tissue at the resolution of the T1w."""
        from bidsapp_brainage.segmentation.native import regions_in_t1w, tissues_in_t1w

        self._results["dseg"] = self._save(runtime, "dseg.nii.gz", regions_in_t1w(found, t1w))
        for tissue, image in tissues_in_t1w(found, t1w).items():
            name = f"probseg_{tissue.lower()}"
            self._results[name] = self._save(runtime, f"{name}.nii.gz", image)
