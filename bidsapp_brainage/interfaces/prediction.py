"""Adapters for what the network sees and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype.interfaces.base import File, InputMultiObject, TraitedSpec, isdefined, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bidsapp_brainage.imaging.network_input import Tissue
    from bidsapp_brainage.model.cards import ModelCard


class ModelInputSpec(StageInputSpec):
    """Inputs of interfaces that read a model card."""

    card = File(exists=True, mandatory=True, desc="model card (JSON)")


class _ModelInputInputSpec(ModelInputSpec):
    t1w = File(exists=True, mandatory=True, desc="bias-corrected T1w image")
    mask = File(exists=True, mandatory=True, desc="brain mask on the grid of the T1w")
    affine = File(exists=True, mandatory=True, desc="affine from template to T1w")
    units = File(exists=True, desc="tissue units on the segmentation's grid")
    regions = File(exists=True, desc="regions that they come from")
    modality = traits.Str("T1w", usedefault=True, desc="of the image, which may be no T1w")


class _ModelInputOutputSpec(TraitedSpec):
    volume = File(exists=True, desc="T1w on the card's grid, scaled as the card says")
    mask = File(exists=True, desc="brain mask, or regions, on the card's grid")


class ModelInput(StageInterface):
    """Make the network's input; see :func:`bidsapp_brainage.imaging.network_input.model_input`."""

    stage = "model input"
    input_spec = _ModelInputInputSpec
    output_spec = _ModelInputOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.network_input import model_input
        from bidsapp_brainage.imaging.transforms import read_affine
        from bidsapp_brainage.model.cards import load_card
        from bidsapp_brainage.model.inputs.channels import input_of

        volume, mask = model_input(
            io.load_nifti(Path(self.inputs.t1w)),
            io.load_nifti(Path(self.inputs.mask)),
            read_affine(Path(self.inputs.affine)),
            input_of(load_card(Path(self.inputs.card)).input, self.inputs.modality),
            tissue=self._tissue(),
        )
        for name, image in (("volume", volume), ("mask", mask)):
            self._results[name] = self._save(runtime, f"input_{name}.nii.gz", image, standard=True)
        return runtime

    def _tissue(self) -> Tissue | None:
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.network_input import Tissue

        paths = (self.inputs.units, self.inputs.regions)
        if not all(map(isdefined, paths)):
            return None
        return Tissue(*(io.load_nifti(Path(path)) for path in paths))


class _HeadInputInputSpec(ModelInputSpec):
    t1w = File(exists=True, mandatory=True, desc="conformed T1w image")
    n_threads = traits.Int(1, usedefault=True, nohash=True)


class _HeadInputOutputSpec(TraitedSpec):
    volume = File(exists=True, desc="what the network sees, scaled as the card says")
    mask = File(exists=True, desc="regions of the brain in it, or where it shows anything")


class HeadInput(StageInterface):
    """Make the input of a model of raw images.

    See :func:`bidsapp_brainage.segmentation.prepare.raw_input`.
    """

    stage = "model input"
    input_spec = _HeadInputInputSpec
    output_spec = _HeadInputOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.model.cards import load_card
        from bidsapp_brainage.model.specs import needs_segmentation
        from bidsapp_brainage.segmentation.prepare import raw_input

        spec = load_card(Path(self.inputs.card)).input
        t1w = io.load_nifti(Path(self.inputs.t1w))
        made = raw_input(t1w, spec, n_threads=self.inputs.n_threads)
        for name, image in zip(("volume", "mask"), made, strict=True):
            self._results[name] = self._save(
                runtime, f"input_{name}.nii.gz", image, standard=needs_segmentation(spec)
            )
        return runtime


class NetworkInputSpec(ModelInputSpec):
    """Inputs of interfaces that run a network; the device never changes the hash."""

    weights = traits.List(
        File(exists=True), desc="the card's weights, so that new ones compute anew"
    )
    volume = File(exists=True, mandatory=True, desc="the network's input")
    modality = traits.Str("T1w", usedefault=True, desc="of this input")
    others = InputMultiObject(File(exists=True), desc="inputs of other modalities")
    other_modalities = traits.List(traits.Str, desc="what they are, in their order")
    device = traits.Str("cpu", usedefault=True, nohash=True)
    use_gpu = traits.Bool(False, usedefault=True, nohash=True, desc="nipype counts GPU nodes by it")
    n_threads = traits.Int(1, usedefault=True, nohash=True)
    age = traits.Either(None, traits.Float(), usedefault=True, desc="chronological age in years")


class _PredictInputSpec(NetworkInputSpec):
    identity = traits.Dict(mandatory=True, desc="participant_id, session_id, run_id")
    age_source = traits.Str("n/a", usedefault=True)
    bias_correction = traits.Str("model", usedefault=True, desc="none, model or file:PATH")
    qc_table = File(exists=True, desc="quality metrics with their decision")
    mask = File(exists=True, desc="brain mask, or regions, on the grid of the volume")
    volumes = File(exists=True, desc="regional volumes of the segmentation")
    stripped = traits.Bool(False, usedefault=True, desc="whether the T1w shows only the brain")
    truths = traits.Dict(traits.Str, traits.Str, desc="what is known of the person, by target")
    fast_age = traits.Float(desc="age that a model of raw images gives, years")
    label = traits.Str("image", usedefault=True, nohash=True, desc="how messages call the image")


class _PredictOutputSpec(TraitedSpec):
    brainage = File(exists=True, desc="one row: predicted age, interval, gap, flags")
    agedist = File(exists=True, desc="one row per age bin; undefined without distribution")
    predictions = File(exists=True, desc="all targets; undefined where there is only an age")
    ood_flag = traits.Str(desc="out-of-distribution flag")
    predicted = traits.Float(desc="what is explained, in its unit: of an age, years")
    modalities = File(exists=True, desc="one row per channel; undefined for models of one")


class Predict(StageInterface):
    """Predict the age and other targets; see :func:`bidsapp_brainage.model.prediction.predict`."""

    stage = "prediction"
    input_spec = _PredictInputSpec
    output_spec = _PredictOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import pandas as pd

        from bidsapp_brainage import io
        from bidsapp_brainage.catalogue.quantity import AGE
        from bidsapp_brainage.model import cards, prediction
        from bidsapp_brainage.model.bias_correction import resolve_bias_correction
        from bidsapp_brainage.model.inputs.channels import channels
        from bidsapp_brainage.model.networks.regional import for_brain
        from bidsapp_brainage.model.plausibility.features import tissue_fractions
        from bidsapp_brainage.model.weights.loading import load_members

        quality, doubt = self._quality()
        volumes = self.inputs.volumes
        card = cards.load_card(Path(self.inputs.card))
        regions = read_regions(self.inputs.mask)
        predicted = prediction.predict(
            for_brain(load_members(card, self.inputs.device), regions),
            read_volumes(self.inputs, card, regions),
            card,
            stripped_source=self.inputs.stripped,
            tissue=tissue_fractions(io.read_tsv(Path(volumes))) if isdefined(volumes) else None,
            device=self.inputs.device,
            n_threads=self.inputs.n_threads,
        )
        if isdefined(self.inputs.fast_age):
            predicted = prediction.checked_by(predicted, self.inputs.fast_age)
        row = prediction.prediction_row(
            predicted,
            card,
            identity=self.inputs.identity,
            chronological_age=self.inputs.age,
            age_source=self.inputs.age_source,
            bias_correction=resolve_bias_correction(self.inputs.bias_correction, card),
            qc_flag=quality,
            mask_doubt=doubt,
        )
        self._results |= {"ood_flag": predicted.ood_flag, "predicted": predicted.mean}
        tables = {"brainage": pd.DataFrame([row])}
        if card.has_age_distribution:
            tables["agedist"] = prediction.distribution_table(predicted)
        if card.has_targets:
            truths = self.inputs.truths if isdefined(self.inputs.truths) else {}
            if row["chronological_age"] is not None:
                truths = {**truths, AGE: f"{row['chronological_age']:g}"}
            tables["predictions"] = prediction.target_table(
                predicted, card, identity=self.inputs.identity, truths=truths
            )
        if len(names := [channel.name for channel in channels(card.input)]) > 1:
            tables["modalities"] = prediction.channel_table(predicted, names)
        for name, table in tables.items():
            self._results[name] = self._file(runtime, f"{name}.tsv")
            io.write_tsv(Path(self._results[name]), table)
        return runtime

    def _quality(self) -> tuple[str, str]:
        """Decision of the quality control, and how brain mask and segmentation disagree.

        An image that failed it gets no age.
        """
        from bidsapp_brainage import io
        from bidsapp_brainage.imaging.quality import mask_doubt, usable_quality

        if not isdefined(self.inputs.qc_table):
            return "n/a", ""
        row = io.read_tsv(Path(self.inputs.qc_table)).iloc[0]
        decision = usable_quality(row["decision"], row["decision_reason"], self.inputs.label)
        return decision, mask_doubt(row.get("dice_mask_segmentation"))


class _FastAgeInputSpec(_HeadInputInputSpec):
    weights = traits.List(
        File(exists=True), desc="the card's weights, so that new ones compute anew"
    )


class _FastAgeOutputSpec(TraitedSpec):
    fast_age = traits.Float(desc="in years")


class FastAge(StageInterface):
    """Predict the age from the raw image, as a check of the prediction from the prepared one."""

    stage = "check on the raw image"
    input_spec = _FastAgeInputSpec
    output_spec = _FastAgeOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.model.cards import load_card
        from bidsapp_brainage.segmentation.prepare import raw_prediction

        card, t1w = load_card(Path(self.inputs.card)), io.load_nifti(Path(self.inputs.t1w))
        predicted = raw_prediction(t1w, card, n_threads=self.inputs.n_threads)
        self._results["fast_age"] = predicted.mean
        return runtime


def read_volumes(
    inputs: Any, card: ModelCard, regions: NDArray[np.int16] | None
) -> dict[str, NDArray[np.float32]]:
    """What the channels of a model show, by name, from the fields of :class:`NetworkInputSpec`."""
    from bidsapp_brainage import io
    from bidsapp_brainage.model.inputs.channels import channel_volumes

    others = zip(inputs.other_modalities, inputs.others, strict=True) if inputs.others else ()
    images = {
        modality: io.load_nifti(Path(path)).get_fdata(dtype="float32")
        for modality, path in ((inputs.modality, inputs.volume), *others)
    }
    return channel_volumes(card.input, images, regions)


def read_regions(mask: Any) -> NDArray[np.int16] | None:
    """Brain mask of an interface, or the regions of a model that sees a segmentation.

    None where the input (a path) is not defined.
    """
    import numpy as np

    from bidsapp_brainage import io

    if not isdefined(mask):
        return None
    return np.asarray(io.load_nifti(Path(mask)).dataobj).astype(np.int16)
