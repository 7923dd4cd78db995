"""The only interface that writes into the output folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, TraitedSpec, isdefined, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface


class _SinkInputSpec(StageInputSpec):
    in_file = File(exists=True, mandatory=True, desc="file to keep")
    output_dir = traits.Directory(mandatory=True, desc="root of the derivatives dataset")
    entities = traits.List(traits.Tuple(traits.Str, traits.Str), desc="of the scan")
    key = traits.Str(mandatory=True, desc="of the output's card")
    labels = traits.Dict(desc="model, and entities that are not the scan's")
    metadata = traits.Dict(desc="content of the sidecar")
    skull_stripped = traits.Bool(desc="known only when the workflow runs")
    predicted = traits.Float(desc="known only when the workflow runs: what is explained")


class _SinkOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="where the file lies now")


class DerivativeSink(StageInterface):
    """Copy one file to its BIDS name, atomically and only if it differs, with its sidecar.

    It runs every time, so that an output that somebody deleted comes back on a resumed run.
    """

    input_spec = _SinkInputSpec
    output_spec = _SinkOutputSpec
    _always_run = True

    @property
    def target(self) -> Path:
        """Where the file is kept."""
        from bidsapp_brainage.bids.names import output_path

        labels = self.inputs.labels if isdefined(self.inputs.labels) else {}
        return output_path(
            Path(self.inputs.output_dir), self.inputs.key, self.inputs.entities, **labels
        )

    def is_kept(self, names: Iterable[str]) -> bool:
        """Whether the file is there already; of its sidecar, only facts of these names count."""
        from bidsapp_brainage import io
        from bidsapp_brainage.bids.names import sidecar_path

        told = io.read_json(sidecar_path(self.target))
        wanted = io.as_json(dict(self.inputs.metadata))
        same = (told.get(name) == wanted[name] for name in names if name in wanted)
        return self.target.is_file() and all(same)

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.bids.names import sidecar_path

        target = self.target
        io.write_bytes(target, Path(self.inputs.in_file).read_bytes())
        sidecar = self._sidecar()
        if sidecar:
            io.write_json(sidecar_path(target), sidecar)
        self._results["out_file"] = str(target)
        return runtime

    def _sidecar(self) -> dict[str, Any]:
        from bidsapp_brainage import io
        from bidsapp_brainage.bids.dictionaries import sidecar
        from bidsapp_brainage.catalogue.lookup import output
        from bidsapp_brainage.catalogue.quantity import Quantity

        metadata = dict(self.inputs.metadata) if isdefined(self.inputs.metadata) else {}
        if isdefined(self.inputs.skull_stripped):
            metadata["SkullStripped"] = self.inputs.skull_stripped
        if isdefined(self.inputs.predicted):
            fact = Quantity.from_model(metadata.get("Model")).fact
            metadata[fact] = float(f"{self.inputs.predicted:.6g}")  # as in tables
        card = output(self.inputs.key)
        if card.is_table:
            columns = io.read_tsv(Path(self.inputs.in_file)).columns
            return sidecar(card.suffix, list(columns), **metadata)
        return metadata
