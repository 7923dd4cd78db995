"""Adapters for the explanation: run all methods of a scan, hand out their files, paint maps."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, isdefined, traits

from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.catalogue.baselines import BASELINES
from bidsapp_brainage.catalogue.methods import METHODS
from bidsapp_brainage.errors import BrainageError, OtherPredictionError
from bidsapp_brainage.interfaces.base import LOGGER, StageInputSpec, StageInterface
from bidsapp_brainage.interfaces.metering import save_usage, start_meter
from bidsapp_brainage.interfaces.prediction import NetworkInputSpec, read_regions, read_volumes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from bidsapp_brainage.catalogue.cards import Method
    from bidsapp_brainage.explain.session import ChannelInput, ExplanationSession, Results
    from bidsapp_brainage.model.cards import ModelCard

_RECORD = "record.json"
#: Years. Processors and engines differ by less than a thousandth, tables have six digits.
AGE_TOLERANCE = 0.01


def _spec(name: str, files: dict[str, str]) -> type[TraitedSpec]:
    """A specification of outputs that are files."""
    fields = {key: File(exists=True, desc=desc) for key, desc in files.items()}
    return type(name, (TraitedSpec,), {"__module__": __name__, **fields})


class _ExplainInputSpec(NetworkInputSpec):
    labels = File(exists=True, mandatory=True, desc="atlas labels on the grid of the volume")
    atlas_table = File(exists=True, mandatory=True, desc="regions and what they belong to")
    mask = File(exists=True, desc="brain mask on the grid of the volume")
    baselines = traits.List(
        traits.Enum(*(card.key for card in BASELINES)), minlen=1, mandatory=True,
        desc="the first is the primary one",
    )  # fmt: skip
    template = File(exists=True, desc="T1w average, for the baseline of this name")
    template_mask = File(exists=True, desc="its brain mask")
    ood_flag = traits.Str("none", usedefault=True, desc="flag of the prediction")
    predicted = traits.Float(desc="what the networks must answer, to six digits")
    null_parcels = traits.Int(0, usedefault=True, desc="random parcels in each compartment")
    seed = traits.Int(mandatory=True, desc="--random-seed")
    batch_size = traits.Int(0, usedefault=True, nohash=True, desc="0: the engine chooses")
    methods = traits.List(traits.Enum(*(card.key for card in METHODS)), minlen=1, mandatory=True)
    options = traits.Dict(desc="by method, what it reads beyond that")


_ExplainOutputSpec = _spec(
    "_ExplainOutputSpec", {card.key: f"record of {card.stage}" for card in METHODS}
)


class Explain(StageInterface):
    """Run methods of explanation, which share all that several of them need.

    A method that fails leaves a record of its error, and the others go on. What a method made is
    kept beside the node's folder, under a name that tells what it was made from, so that a later
    run with more methods, or after a failure, does not compute it again.
    """

    input_spec = _ExplainInputSpec
    output_spec = _ExplainOutputSpec
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        kept = Path(runtime.cwd).parent / "methods"
        results: dict[str, Results] = {}
        session = functools.cache(lambda: self._session(results))
        read: list[str] = []
        values, _ = self.inputs.get_hashval(hash_method="content")
        common = [pair for pair in values if pair[0] not in ("methods", "options")]
        for key in lookup.in_running_order(self.inputs.methods):
            card = lookup.method(key)
            self.stage = card.stage
            facts = (common, self._options(card), read if card.reads_others else [])
            digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
            folder = kept / f"{key}-{digest}"  # the name depends on all that the files depend on
            record = folder / _RECORD
            try:
                if not record.is_file():
                    self._explain(card, session, folder, runtime)
                results[key] = _tables(card, folder)
                read += [folder.name] if card.is_read else []
            except OtherPredictionError:
                raise
            except Exception as error:  # the node of the method raises it
                record = Path(runtime.cwd) / f"{key}.json"
                _write_failure(record, error)
            self._results[key] = str(record)
        self.stage = ""
        return runtime

    def _options(self, card: Method) -> dict[str, Any]:
        return dict(self.inputs.options.get(card.key, {}))

    def _explain(
        self, card: Method, session: Callable[[], ExplanationSession], folder: Path, runtime: Any
    ) -> None:
        """Run one method and keep what it made."""
        import nibabel as nib
        from pandas import DataFrame

        from bidsapp_brainage import io
        from bidsapp_brainage.explain.methods import find

        meter = start_meter()
        results = find(card.key)(session(), **self._options(card))
        session().unrounded[card.key] = results
        for old in folder.parent.glob(f"{card.key}-*"):
            shutil.rmtree(old)
        files = {output.key: f"{output.key}{output.extension}" for output in card.outputs}
        for output in card.outputs:
            path, result = folder / files[output.key], results[output.key]
            if isinstance(result, DataFrame):
                io.write_tsv(path, result)
            else:
                affine = io.load_nifti(Path(self.inputs.volume)).affine
                image = nib.Nifti1Image(result, affine)
                self._save(runtime, str(path), image, standard=True)
        usage = meter.usage()
        io.write_json(folder / _RECORD, {"files": files, "usage": usage})
        LOGGER.info("%s done (%.0f s)", card.stage, usage["wall_s"])

    def _session(self, results: dict[str, Results]) -> ExplanationSession:
        from bidsapp_brainage import io
        from bidsapp_brainage.explain.session import ExplanationInput, ExplanationSession
        from bidsapp_brainage.model import cards
        from bidsapp_brainage.model.inputs.channels import is_plain
        from bidsapp_brainage.model.intensity import background_value
        from bidsapp_brainage.model.networks.regional import for_brain
        from bidsapp_brainage.model.uncertainty import left_right_axis
        from bidsapp_brainage.model.weights.loading import load_members

        inputs = self.inputs
        regions = read_regions(inputs.mask)
        card = cards.load_card(Path(inputs.card))
        image = io.load_nifti(Path(inputs.labels))
        volumes = read_volumes(inputs, card, regions)
        members = for_brain(load_members(card), regions)
        seen = self._channels(card, members, volumes, regions)
        explained = ExplanationInput(
            ensemble=seen[0].ensemble,
            volume=seen[0].volume,
            labels=np.asarray(image.dataobj).astype(np.int32),
            atlas=io.read_tsv(Path(inputs.atlas_table)),
            voxel_ml=float(abs(np.linalg.det(image.affine[:3, :3]))) / 1000,
            baselines=tuple(inputs.baselines),
            template=self._template(),
            mask=None if regions is None else regions > 0,
            background=background_value(card.input, seen[0].volume),
            mirror_axis=left_right_axis(card.input),
            age=inputs.age if card.main_head.quantity.is_age else None,
            ood_flag=inputs.ood_flag,
            null_parcels=inputs.null_parcels,
            seed=inputs.seed,
            patches=card.patches,
            progress=self._progress,
            options=dict(inputs.options),
            channels=() if is_plain(card.input) else seen,
        )
        session = ExplanationSession(explained, results)
        self._confirm(session, card, members, volumes)
        return session

    def _channels(
        self,
        card: ModelCard,
        members: Sequence[nn.Module],
        volumes: Mapping[str, NDArray[np.float32]],
        regions: NDArray[np.int16] | None,
    ) -> tuple[ChannelInput, ...]:
        """What the branches of a model see, as far as it is there."""
        from bidsapp_brainage.explain.ensemble import Ensemble
        from bidsapp_brainage.explain.session import ChannelInput
        from bidsapp_brainage.model import prediction
        from bidsapp_brainage.model.inputs.channels import channels, shown
        from bidsapp_brainage.model.networks.branches import branches_of

        inputs = self.inputs
        return tuple(
            ChannelInput(
                channel.name,
                Ensemble(
                    tuple(branches_of(members, channel.name)),
                    prediction.decoder(card),
                    device=inputs.device,
                    batch_size=inputs.batch_size or None,
                    n_threads=inputs.n_threads,
                ),
                volumes[channel.name],
                shown(regions, channel) if channel.indices else None,
            )
            for channel in channels(card.input)
            if channel.name in volumes
        )

    def _confirm(
        self,
        session: ExplanationSession,
        card: ModelCard,
        members: Sequence[nn.Module],
        volumes: Mapping[str, NDArray[np.float32]],
    ) -> None:
        """Make sure that what is explained is the prediction of this image.

        Raises
        ------
        OtherPredictionError
            The networks answer another age.
        """
        from bidsapp_brainage.model.prediction import predict
        from bidsapp_brainage.model.uncertainty import n_views

        expected = self.inputs.predicted
        if not isdefined(expected):
            return
        found = float(session.occluder.intact.ages[0])
        if n_views(card.prediction) > 1:
            found = predict(members, volumes, card).mean
        if not abs(found - expected) <= AGE_TOLERANCE:
            raise OtherPredictionError(
                f"{Path(self.inputs.volume).name}: model {card.name} predicts {found:.2f} "
                f"{card.main_head.quantity.units} from it, and the table says {expected:.2f}. They "
                "do not belong together: run the participant level for this participant again."
            )

    def _template(self) -> NDArray[np.float32] | None:
        """The template as the network would see it."""
        if "template" not in self.inputs.baselines:
            return None
        images = Path(self.inputs.template), Path(self.inputs.template_mask)
        return _seen_template(Path(self.inputs.card), *images, self.inputs.n_threads)


@functools.lru_cache(maxsize=1)  # the same for all scans that a process explains
def _seen_template(card: Path, template: Path, mask: Path, n_threads: int) -> NDArray[np.float32]:
    """A template as the network of a card would see it."""
    from bidsapp_brainage import io
    from bidsapp_brainage.model.cards import load_card
    from bidsapp_brainage.segmentation.prepare import prepared_input

    images = io.load_nifti(template), io.load_nifti(mask)
    volume, _ = prepared_input(*images, np.eye(4), load_card(card).input, n_threads=n_threads)
    return volume.get_fdata(dtype="float32")


def _tables(card: Method, folder: Path) -> Results:
    """Tables of a method as they were written, which is how other methods read them."""
    from bidsapp_brainage import io

    tables = (output for output in card.outputs if output.is_table)
    return {output.key: io.read_tsv(folder / f"{output.key}.tsv") for output in tables}


def _write_failure(path: Path, error: Exception) -> None:
    from bidsapp_brainage import io

    own = isinstance(error, BrainageError)
    reason = str(error) if own else "".join(traceback.format_exception_only(error)).strip()
    io.write_json(path, {"error": reason, "traceback": "".join(traceback.format_exception(error))})


class _ExplainedInputSpec(StageInputSpec):
    method = traits.Enum(*(card.key for card in METHODS), mandatory=True)
    record = File(exists=True, mandatory=True, desc="from Explain")


_ExplainedOutputSpec = _spec(
    "_ExplainedOutputSpec", {card.key: card.description for card in lookup.method_outputs()}
)


class Explained(StageInterface):
    """Hand out the files of one method, or fail as the method did."""

    announced = True
    input_spec = _ExplainedInputSpec
    output_spec = _ExplainedOutputSpec

    @property
    def stage(self) -> str:  # type: ignore[override]
        """Name of the method in plain words."""
        return lookup.method(self.inputs.method).stage

    def _run_interface(self, runtime: Any) -> Any:
        path = Path(self.inputs.record)
        self._record = json.loads(path.read_text(encoding="utf-8"))
        if "error" in self._record:
            raise BrainageError(self._record["error"]) from RuntimeError(self._record["traceback"])
        self._results |= {
            key: str(path.parent / name) for key, name in self._record["files"].items()
        }
        return runtime

    def _post_run_hook(self, runtime: Any) -> Any:
        save_usage(self._record["usage"], Path(runtime.cwd))
        return runtime


class _PaintMapInputSpec(StageInputSpec):
    labels = File(exists=True, mandatory=True, desc="atlas labels on any grid")
    table = File(exists=True, mandatory=True, desc="one row per region")
    column = traits.Str("delta_age", usedefault=True)


class _PaintMapOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="float32 image, 0 outside the regions")


class PaintMap(StageInterface):
    """Paint regions; see :func:`bidsapp_brainage.explain.scores.paint_map`."""

    input_spec = _PaintMapInputSpec
    output_spec = _PaintMapOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import nibabel as nib

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
