"""The only interface that writes into the output folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nipype.interfaces.base import DynamicTraitedSpec, File, TraitedSpec, isdefined, traits

from bidsapp_brainage.interfaces.base import StageInputSpec, StageInterface


@dataclass(frozen=True)
class Kept:
    """How one file is kept.

    Attributes
    ----------
    key : str
        Of the output's card, which knows the end of the name and the columns of a table.
    labels : dict of str to str
        ``model``, and entities that are not the scan's.
    metadata : dict
        Content of the sidecar.
    told : tuple of str
        What else the sidecar tells, which is known only when the workflow runs: inputs of the
        sink, ``stripped`` or ``predicted``.
    """

    key: str
    labels: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    told: tuple[str, ...] = ()


class _SinkInputSpec(DynamicTraitedSpec, StageInputSpec):
    output_dir = traits.Directory(mandatory=True, desc="root of the derivatives dataset")
    entities = traits.List(traits.Tuple(traits.Str, traits.Str), desc="of the scan")
    outputs = traits.Dict(mandatory=True, nohash=True, desc="how the file of each input is kept")
    stripped = traits.Bool(desc="whether the image shows only the brain")
    predicted = traits.Float(desc="what is explained")


class _SinkOutputSpec(TraitedSpec):
    out_files = traits.List(File(exists=True), desc="where the files lie now")


class DerivativeSink(StageInterface):
    """Copy files to their BIDS names, atomically and only if they differ, with their sidecars.

    It runs every time, so that an output that somebody deleted comes back on a resumed run.

    Parameters
    ----------
    outputs : mapping of str to Kept
        By the names of the inputs that take the files.
    **inputs
        Of the interface.
    """

    input_spec = _SinkInputSpec
    output_spec = _SinkOutputSpec
    _always_run = True

    def __init__(self, outputs: Mapping[str, Kept], **inputs: Any) -> None:
        super().__init__(outputs=dict(outputs))
        for name in outputs:  # no hash of it is needed, because the node runs every time
            self.inputs.add_trait(name, File(exists=True, mandatory=True, hash_files=False))
        self.inputs.trait_set(**inputs)

    def target(self, name: str) -> Path:
        """Where the file of an input is kept."""
        from bidsapp_brainage.bids.names import output_path

        kept = self.inputs.outputs[name]
        return output_path(
            Path(self.inputs.output_dir), kept.key, self.inputs.entities, **kept.labels
        )

    @property
    def targets(self) -> list[Path]:
        """Where all files are kept."""
        return [self.target(name) for name in self.inputs.outputs]

    def is_kept(self, names: Iterable[str]) -> bool:
        """Whether all is there already; of the sidecars, only facts of these names count."""
        return all(self._is_kept(output, tuple(names)) for output in self.inputs.outputs)

    def _is_kept(self, output: str, names: tuple[str, ...]) -> bool:
        from bidsapp_brainage import io
        from bidsapp_brainage.bids.names import sidecar_path

        target = self.target(output)
        told = io.read_json(sidecar_path(target))
        wanted = io.as_json(self.inputs.outputs[output].metadata)
        same = (told.get(name) == wanted[name] for name in names if name in wanted)
        return target.is_file() and all(same)

    def _run_interface(self, runtime: Any) -> Any:
        from bidsapp_brainage import io
        from bidsapp_brainage.bids.names import sidecar_path

        for name in self.inputs.outputs:
            target, source = self.target(name), Path(getattr(self.inputs, name))
            io.write_bytes(target, source.read_bytes())
            sidecar = self._sidecar(name, source)
            if sidecar:
                io.write_json(sidecar_path(target), sidecar)
        self._results["out_files"] = [str(target) for target in self.targets]
        return runtime

    def _sidecar(self, name: str, source: Path) -> dict[str, Any]:
        from bidsapp_brainage import io
        from bidsapp_brainage.bids.dictionaries import sidecar
        from bidsapp_brainage.catalogue.lookup import output
        from bidsapp_brainage.catalogue.quantity import Quantity

        kept: Kept = self.inputs.outputs[name]
        metadata = dict(kept.metadata)
        if "stripped" in kept.told and isdefined(self.inputs.stripped):
            metadata["SkullStripped"] = self.inputs.stripped
        if "predicted" in kept.told and isdefined(self.inputs.predicted):
            fact = Quantity.from_model(metadata.get("Model")).fact
            metadata[fact] = float(f"{self.inputs.predicted:.6g}")  # as in tables
        card = output(kept.key)
        if card.is_table:
            columns = io.read_tsv(source).columns
            return sidecar(card.suffix, list(columns), **metadata)
        return metadata
