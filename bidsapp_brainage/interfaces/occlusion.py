"""Adapters for the explanation: occlude every region, paint the effects into a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, TraitedSpec, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface
from bidsapp_brainage.interfaces.prediction import NetworkInputSpec


class _OccludeInputSpec(NetworkInputSpec):
    labels = File(exists=True, mandatory=True, desc="atlas labels on the grid of the volume")
    atlas_table = File(exists=True, mandatory=True, desc="index, name, hemisphere, lobe, network")
    baseline = traits.Enum("background", "mean", "blur", usedefault=True)
    batch_size = traits.Int(0, usedefault=True, nohash=True, desc="0: the engine chooses")
    ood_flag = traits.Str("none", usedefault=True, desc="flag of the prediction")


class _OccludeOutputSpec(TraitedSpec):
    table = File(exists=True, desc="one row per atlas region")


class Occlude(StageInterface):
    """Occlude every region; see :func:`bidsapp_brainage.explain.occlusion.occlude`."""

    stage = "occlusion"
    input_spec = _OccludeInputSpec
    output_spec = _OccludeOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import numpy as np

        from bidsapp_brainage import io
        from bidsapp_brainage.explain import occlusion, scores
        from bidsapp_brainage.model import cards, loading, prediction

        inputs = self.inputs
        card = cards.load_card(Path(inputs.card))
        image = io.load_nifti(Path(inputs.labels))
        atlas = io.read_tsv(Path(inputs.atlas_table))
        with prediction.cpu_threads(inputs.n_threads):
            effects = occlusion.occlude(
                loading.load_members(card, inputs.device),
                io.load_nifti(Path(inputs.volume)).get_fdata(dtype="float32"),
                np.asarray(image.dataobj).astype(np.int32),
                atlas["index"].astype(int).tolist(),
                decode=prediction.decoder(card),
                baseline=inputs.baseline,
                background=float(card.input.get("background", 0.0)),
                batch_size=inputs.batch_size or None,
                device=inputs.device,
            )
        table = scores.occlusion_table(
            effects,
            atlas,
            voxel_ml=float(abs(np.linalg.det(image.affine[:3, :3]))) / 1000,
            age=inputs.age,
            baseline=inputs.baseline,
            ood_flag=inputs.ood_flag,
        )
        self._results["table"] = self._file(runtime, "occlusion.tsv")
        io.write_tsv(Path(self._results["table"]), table)
        return runtime


class _PaintMapInputSpec(StageInputSpec):
    labels = File(exists=True, mandatory=True, desc="atlas labels on any grid")
    table = File(exists=True, mandatory=True, desc="result of Occlude")
    column = traits.Str("delta_age", usedefault=True)


class _PaintMapOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="float32 image, 0 outside the regions")


class PaintMap(StageInterface):
    """Paint regions; see :func:`bidsapp_brainage.explain.scores.paint_map`."""

    input_spec = _PaintMapInputSpec
    output_spec = _PaintMapOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import nibabel as nib
        import numpy as np

        from bidsapp_brainage import io
        from bidsapp_brainage.explain.scores import paint_map

        labels = io.load_nifti(Path(self.inputs.labels))
        table = io.read_tsv(Path(self.inputs.table))
        painted = paint_map(
            np.asarray(labels.dataobj).astype(np.int32),
            table["index"].astype(int).tolist(),
            table[self.inputs.column].astype(float).tolist(),
        )
        standard = int(labels.header["sform_code"]) > 2
        image = nib.Nifti1Image(painted, labels.affine)
        self._results["out_file"] = self._save(runtime, "map.nii.gz", image, standard=standard)
        return runtime
