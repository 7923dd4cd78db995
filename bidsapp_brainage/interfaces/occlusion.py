"""Adapters for the explanation: occlude regions, cubes and sequences of regions; paint maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype.interfaces.base import File, TraitedSpec, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface
from bidsapp_brainage.interfaces.prediction import NetworkInputSpec

if TYPE_CHECKING:
    from bidsapp_brainage.explain.methods import Subject


class _ExplainInputSpec(NetworkInputSpec):
    labels = File(exists=True, mandatory=True, desc="atlas labels on the grid of the volume")
    atlas_table = File(exists=True, mandatory=True, desc="index, name, hemisphere, lobe, network")
    baseline = traits.Enum("background", "mean", "blur", usedefault=True)
    batch_size = traits.Int(0, usedefault=True, nohash=True, desc="0: the engine chooses")
    seed = traits.Int(0, usedefault=True, desc="--random-seed")


class _TableOutputSpec(TraitedSpec):
    table = File(exists=True)


class _ExplainInterface(StageInterface):
    """One way to explain the prediction of one image."""

    def _subject(self) -> Subject:
        import numpy as np

        from bidsapp_brainage import io
        from bidsapp_brainage.explain.methods import Subject
        from bidsapp_brainage.model import cards, loading, prediction
        from bidsapp_brainage.model.intensity import background_value

        inputs = self.inputs
        card = cards.load_card(Path(inputs.card))
        image = io.load_nifti(Path(inputs.labels))
        volume = io.load_nifti(Path(inputs.volume)).get_fdata(dtype="float32")
        return Subject(
            members=tuple(loading.load_members(card)),
            volume=volume,
            labels=np.asarray(image.dataobj).astype(np.int32),
            atlas=io.read_tsv(Path(inputs.atlas_table)),
            decode=prediction.decoder(card),
            voxel_ml=float(abs(np.linalg.det(image.affine[:3, :3]))) / 1000,
            baseline=inputs.baseline,
            background=background_value(card.input, volume),
            device=inputs.device,
            batch_size=inputs.batch_size or None,
            n_threads=inputs.n_threads,
            progress=self._progress,
        )

    def _write(self, runtime: Any, field: str, name: str, table: Any) -> None:
        from bidsapp_brainage import io

        self._results[field] = self._file(runtime, name)
        io.write_tsv(Path(self._results[field]), table)


class _OccludeInputSpec(_ExplainInputSpec):
    ood_flag = traits.Str("none", usedefault=True, desc="flag of the prediction")
    null_parcels = traits.Int(0, usedefault=True, desc="random parcels of each size; 0: none")


class _OccludeOutputSpec(TraitedSpec):
    table = File(exists=True, desc="one row per atlas region")
    groups = File(exists=True, desc="one row per network, lobe, hemisphere and compartment")


class Occlude(_ExplainInterface):
    """Occlude every region; see :func:`bidsapp_brainage.explain.methods.region_tables`."""

    stage = "occlusion"
    input_spec = _OccludeInputSpec
    output_spec = _OccludeOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.explain import methods

        tables = methods.region_tables(
            self._subject(),
            age=self.inputs.age,
            ood_flag=self.inputs.ood_flag,
            null_parcels=self.inputs.null_parcels,
            seed=self.inputs.seed,
        )
        self._write(runtime, "table", "occlusion.tsv", tables.regions)
        self._write(runtime, "groups", "groups.tsv", tables.groups)
        return runtime


class _CubesInputSpec(_ExplainInputSpec):
    cube_mm = traits.Float(8.0, usedefault=True, desc="edge of a cube")


class _CubesOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="float32 map, years")


class OccludeCubes(_ExplainInterface):
    """Map by sliding cubes; see :func:`bidsapp_brainage.explain.methods.cube_volume`."""

    stage = "occlusion of cubes"
    input_spec = _CubesInputSpec
    output_spec = _CubesOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import nibabel as nib

        from bidsapp_brainage import io
        from bidsapp_brainage.explain import methods

        affine = io.load_nifti(Path(self.inputs.volume)).affine
        values = methods.cube_volume(self._subject(), cube_mm=self.inputs.cube_mm)
        image = nib.Nifti1Image(values, affine)
        self._results["out_file"] = self._save(runtime, "cubes.nii.gz", image, standard=True)
        return runtime


class _ShapleyInputSpec(_ExplainInputSpec):
    permutations = traits.Int(20, usedefault=True, desc="orders of regions")


class Shapley(_ExplainInterface):
    """Shapley values; see :func:`bidsapp_brainage.explain.methods.shapley_table`."""

    stage = "Shapley values"
    input_spec = _ShapleyInputSpec
    output_spec = _TableOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.explain import methods

        found = methods.shapley_table(
            self._subject(), n_permutations=self.inputs.permutations, seed=self.inputs.seed
        )
        self._write(runtime, "table", "shapley.tsv", found)
        return runtime


class Curves(_ExplainInterface):
    """Deletion and insertion; see :func:`bidsapp_brainage.explain.methods.curve_table`."""

    stage = "deletion and insertion curves"
    input_spec = _ExplainInputSpec
    output_spec = _TableOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.explain import methods

        found = methods.curve_table(self._subject(), seed=self.inputs.seed)
        self._write(runtime, "table", "curves.tsv", found)
        return runtime


class Pairs(_ExplainInterface):
    """Interactions; see :func:`bidsapp_brainage.explain.methods.pair_table`."""

    stage = "pairs of regions"
    input_spec = _ExplainInputSpec
    output_spec = _TableOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.explain import methods

        self._write(runtime, "table", "pairs.tsv", methods.pair_table(self._subject()))
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
