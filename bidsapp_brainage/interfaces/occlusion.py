"""Adapters for the explanation: occlude regions, cubes and sequences of regions; paint maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype.interfaces.base import File, TraitedSpec, isdefined, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface
from bidsapp_brainage.interfaces.prediction import NetworkInputSpec

if TYPE_CHECKING:
    from bidsapp_brainage.explain.methods import ExplanationInput
    from bidsapp_brainage.model.cards import ModelCard


class _ExplainInputSpec(NetworkInputSpec):
    labels = File(exists=True, mandatory=True, desc="atlas labels on the grid of the volume")
    atlas_table = File(exists=True, mandatory=True, desc="index, name, hemisphere, lobe, network")
    mask = File(exists=True, desc="brain mask on the grid of the volume")
    baselines = traits.List(
        traits.Enum("background", "mean", "blur", "template"),
        ["background"], usedefault=True, minlen=1, desc="the first is the primary one",
    )  # fmt: skip
    template = File(exists=True, desc="T1w average, for the baseline of this name")
    template_mask = File(exists=True, desc="its brain mask")
    batch_size = traits.Int(0, usedefault=True, nohash=True, desc="0: the engine chooses")
    seed = traits.Int(0, usedefault=True, desc="--random-seed")


class _TableOutputSpec(TraitedSpec):
    table = File(exists=True)


class _ExplainInterface(StageInterface):
    """One way to explain the prediction of one image."""

    def _subject(self) -> ExplanationInput:
        import numpy as np

        from bidsapp_brainage import io
        from bidsapp_brainage.explain.methods import ExplanationInput
        from bidsapp_brainage.model import cards, prediction
        from bidsapp_brainage.model.intensity import background_value
        from bidsapp_brainage.model.uncertainty import left_right_axis
        from bidsapp_brainage.model.weights.loading import load_members

        inputs = self.inputs
        card = cards.load_card(Path(inputs.card))
        image = io.load_nifti(Path(inputs.labels))
        volume = io.load_nifti(Path(inputs.volume)).get_fdata(dtype="float32")
        return ExplanationInput(
            members=tuple(load_members(card)),
            volume=volume,
            labels=np.asarray(image.dataobj).astype(np.int32),
            atlas=io.read_tsv(Path(inputs.atlas_table)),
            decode=prediction.decoder(card),
            voxel_ml=float(abs(np.linalg.det(image.affine[:3, :3]))) / 1000,
            baselines=tuple(inputs.baselines),
            template=self._template(card),
            mask=self._mask(),
            background=background_value(card.input, volume),
            device=inputs.device,
            batch_size=inputs.batch_size or None,
            n_threads=inputs.n_threads,
            progress=self._progress,
            mirror_axis=left_right_axis(card.input),
        )

    def _mask(self) -> Any:
        from bidsapp_brainage import io

        if not isdefined(self.inputs.mask):
            return None
        return io.load_nifti(Path(self.inputs.mask)).get_fdata(dtype="float32") > 0

    def _template(self, card: ModelCard) -> Any:
        """The template as the network would see it."""
        import numpy as np

        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.network_input import model_input

        if "template" not in self.inputs.baselines:
            return None
        t1w = io.load_nifti(Path(self.inputs.template))
        mask = io.load_nifti(Path(self.inputs.template_mask))
        return model_input(t1w, mask, np.eye(4), card.input)[0].get_fdata(dtype="float32")

    def _save_map(self, runtime: Any, name: str, values: Any) -> str:
        """Save values on the grid of the network's input."""
        import nibabel as nib

        from bidsapp_brainage import io

        affine = io.load_nifti(Path(self.inputs.volume)).affine
        return self._save(runtime, name, nib.Nifti1Image(values, affine), standard=True)

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
    baselines = File(exists=True, desc="one row per region and baseline")
    controls = File(exists=True, desc="a few rows per baseline")


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
        self._write(runtime, "baselines", "baselines.tsv", tables.baselines)
        self._write(runtime, "controls", "controls.tsv", tables.controls)
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
        from bidsapp_brainage.explain import methods

        values = methods.cube_volume(self._subject(), cube_mm=self.inputs.cube_mm)
        self._results["out_file"] = self._save_map(runtime, "cubes.nii.gz", values)
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


_ATTRIBUTIONS = {
    "lrp": "relevance propagation",
    "ig": "integrated gradients",
    "noise": "learned-noise map",
}


class _AttributeInputSpec(_OccludeInputSpec):
    method = traits.Enum("lrp", "ig", "noise", mandatory=True)


class _AttributeOutputSpec(TraitedSpec):
    table = File(exists=True, desc="one row per atlas region and baseline")
    out_file = File(exists=True, desc="float32 map")


class Attribute(_ExplainInterface):
    """Another method; see :func:`bidsapp_brainage.explain.attributions.attribute`."""

    input_spec = _AttributeInputSpec
    output_spec = _AttributeOutputSpec

    @property
    def stage(self) -> str:  # type: ignore[override]
        """Name of the method in plain words."""
        return _ATTRIBUTIONS[self.inputs.method]

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.explain import attributions, methods

        inputs, subject = self.inputs, self._subject()
        found = attributions.attribute(
            subject,
            inputs.method,
            null=methods.parcels(subject, inputs.null_parcels, inputs.seed),
            seed=inputs.seed,
            ood_flag=inputs.ood_flag,
        )
        self._write(runtime, "table", f"{inputs.method}.tsv", found.table)
        self._results["out_file"] = self._save_map(runtime, f"{inputs.method}.nii.gz", found.volume)
        return runtime


class _RandomiseInputSpec(_ExplainInputSpec):
    methods = traits.List(traits.Enum("occlusion", "lrp", "ig"), mandatory=True)


class Randomise(_ExplainInterface):
    """Sanity check; see :func:`bidsapp_brainage.explain.randomisation.randomisation_table`."""

    stage = "weight randomisation"
    input_spec = _RandomiseInputSpec
    output_spec = _TableOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.explain.randomisation import randomisation_table

        found = randomisation_table(self._subject(), self.inputs.methods, seed=self.inputs.seed)
        self._write(runtime, "table", "randomisation.tsv", found)
        return runtime


class _AgreeInputSpec(StageInputSpec):
    baselines = File(exists=True, mandatory=True, desc="result of Occlude")
    attributions = traits.List(File(exists=True), desc="results of Attribute")


class Agree(StageInterface):
    """Rank agreement; see :func:`bidsapp_brainage.explain.agreement.agreement_table`."""

    input_spec = _AgreeInputSpec
    output_spec = _TableOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.explain.agreement import agreement_table, explanations_of

        found = agreement_table(
            explanations_of(
                io.read_tsv(Path(self.inputs.baselines)), _tables(self.inputs.attributions)
            )
        )
        self._results["table"] = self._file(runtime, "agreement.tsv")
        io.write_tsv(Path(self._results["table"]), found)
        return runtime


def _tables(paths: Any) -> list[Any]:
    """Tables of second attributions; none without paths."""
    from bidsapp_brainage import io

    return [io.read_tsv(Path(path)) for path in (paths if isdefined(paths) else ())]


class _CurvesInputSpec(_ExplainInputSpec):
    attributions = traits.List(
        File(exists=True), desc="results of Attribute, whose rankings are tested"
    )


class Curves(_ExplainInterface):
    """Deletion and insertion; see :func:`bidsapp_brainage.explain.methods.curve_table`."""

    stage = "deletion and insertion curves"
    input_spec = _CurvesInputSpec
    output_spec = _TableOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage.explain import methods

        found = methods.curve_table(
            self._subject(), seed=self.inputs.seed, attributions=_tables(self.inputs.attributions)
        )
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
