"""What the participant level wrote, pooled: the tables of all scans, per model and atlas."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bidsapp_brainage.bids.derivatives import (
    Derivative,
    Derivatives,
    scan_name,
    tried_participants,
)
from bidsapp_brainage.bids.names import sidecar_path
from bidsapp_brainage.catalogue.lookup import OUTPUTS, voxel_maps
from bidsapp_brainage.errors import NoInputError

IDENTITY = ["participant_id", "session_id", "run_id", "scan"]


@dataclass(frozen=True)
class AtlasResult:
    """Region contributions of all scans with one atlas, in the space of a template.

    Attributes
    ----------
    entities : dict
        ``atlas`` and, where the atlas has them, ``seg`` and ``scale``.
    frames : mapping of str to DataFrame
        Rows of all scans by the key of the output; every output that its card calls pooled has
        a frame, which may be empty.
    maps : dict
        Occlusion map in template space by scan.
    """

    entities: dict[str, str]
    space: str
    frames: Mapping[str, pd.DataFrame]
    maps: dict[str, Path]
    provenance: dict[str, object]

    @property
    def title(self) -> str:
        """Name for people, for example ``Schaefer2018 7n 100``."""
        return " ".join(self.entities.values())

    @property
    def table(self) -> pd.DataFrame:
        """One row per scan and region."""
        return self.frames["table"]

    @property
    def baselines(self) -> pd.DataFrame:
        """One row per scan, region and baseline."""
        return self.frames["baselines"]

    @property
    def groups(self) -> pd.DataFrame:
        """One row per scan and group of regions occluded as one."""
        return self.frames["groups"]

    @property
    def agreement(self) -> pd.DataFrame:
        """One row per scan and pair of explanations."""
        return self.frames["agreement"]


@dataclass(frozen=True)
class ModelResult:
    """Everything that one model said about the people of a derivatives folder.

    Attributes
    ----------
    frames : mapping of str to DataFrame
        Rows of all scans by the key of the output, those of no atlas.
    maps : mapping of str to mapping
        Maps of methods that explain every voxel: files by the key of the output and by scan.
    provenance : dict
        Facts shared by the sidecars of all predictions.
    notes : tuple of str
        Sentences about differences between scans (versions, devices).
    missing : tuple of str
        Participants of the folder without a prediction by this model.
    """

    label: str
    frames: Mapping[str, pd.DataFrame]
    atlases: tuple[AtlasResult, ...]
    maps: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    provenance: dict[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def brainage(self) -> pd.DataFrame:
        """One row per scan: the predictions."""
        return self.frames["brainage"]

    @property
    def qc(self) -> pd.DataFrame:
        """One row per scan: the quality of the images."""
        return self.frames["qc"]


@dataclass(frozen=True)
class Collection:
    """All models found, and the files that could not be read (one sentence each)."""

    models: tuple[ModelResult, ...]
    unreadable: tuple[str, ...]


def collect(
    output_dir: Path,
    *,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    runs: Sequence[str] = (),
) -> Collection:
    """Gather the tables of the participant level, models in the order of their labels.

    Of participants, sessions and runs (labels without prefix) only the named ones are read; empty
    means all.

    Raises
    ------
    NoInputError
        If the folder holds no prediction for this selection.
    """
    derivatives = Derivatives(output_dir, participants=participants, sessions=sessions, runs=runs)
    known = _participants(output_dir, participants)
    labels = sorted({file.model for file in derivatives.select("brainage")})
    models = [_model(derivatives, label, known) for label in labels]
    models = [model for model in models if not model.brainage.empty]
    if not models:
        raise NoInputError(_nothing_found(output_dir, derivatives.problems))
    return Collection(tuple(models), tuple(derivatives.problems))


def _nothing_found(output_dir: Path, problems: Sequence[str]) -> str:
    why = f" Unreadable: {' '.join(problems)}" if problems else ""
    return (
        f"No predictions (*_brainage.tsv) in {output_dir} for this selection; run the participant "
        "level first: bidsapp-brainage BIDS_DIR OUTPUT_DIR participant, with the same OUTPUT_DIR."
        + why
    )


def _participants(output_dir: Path, wanted: Sequence[str]) -> set[str]:
    """Participants of the folder, among the wanted ones if any are named."""
    known = tried_participants(output_dir)
    return known & {f"sub-{label}" for label in wanted} if wanted else known


def _model(derivatives: Derivatives, label: str, known: set[str]) -> ModelResult:
    own = [file for file in derivatives.files if file.model == label]
    frames = _frames(derivatives, [file for file in own if not file.atlas], of_atlas=False)
    provenance, differing = _shared_facts(
        derivatives, [file for file in own if file.output.key == "brainage"]
    )
    places = {(file.atlas, file.space) for file in own if file.output.key == "table"}
    return ModelResult(
        label=label,
        frames=frames,
        atlases=tuple(
            _atlas(derivatives, [file for file in own if (file.atlas, file.space) == place])
            for place in sorted(places)
        ),
        maps={
            card.key: {scan_name(f.scan): f.path for f in own if f.output.key == card.key}
            for card in voxel_maps()
        },
        provenance=provenance,
        notes=tuple(_differences(differing)),
        missing=tuple(sorted(known - set(frames["brainage"]["participant_id"]))),
    )


def _atlas(derivatives: Derivatives, own: list[Derivative]) -> AtlasResult:
    """All files of one model with one atlas in one space."""
    space = own[0].space
    maps = [file for file in own if file.output.key == "map_grid"]
    return AtlasResult(
        entities=dict(own[0].atlas),
        space=space,
        frames=_frames(derivatives, own, of_atlas=True),
        maps={scan_name(file.scan): file.path for file in maps if space},
        provenance=_shared_facts(derivatives, [file for file in own if file.output.key == "table"])[
            0
        ],
    )


def _frames(
    derivatives: Derivatives, own: Sequence[Derivative], *, of_atlas: bool
) -> dict[str, pd.DataFrame]:
    """One frame per pooled output, of an atlas or of none."""
    return {
        card.key: _pooled(derivatives, [file for file in own if file.output.key == card.key])
        for card in OUTPUTS
        if card.pooled and ("atlas" in card.entities) == of_atlas
    }


def _pooled(derivatives: Derivatives, files: Sequence[Derivative]) -> pd.DataFrame:
    frames = [
        _with_identity(rows, file) for file in files if (rows := derivatives.rows(file)) is not None
    ]
    if not frames:
        return pd.DataFrame(columns=IDENTITY)
    # An all-missing column of one scan must not decide about the type of the column.
    return pd.concat(frames, ignore_index=True).infer_objects()


def _with_identity(table: pd.DataFrame, file: Derivative) -> pd.DataFrame:
    labels = dict(file.scan)
    identity: dict[str, object] = {
        "participant_id": f"sub-{labels['sub']}",
        "session_id": f"ses-{labels['ses']}" if "ses" in labels else None,
        "run_id": f"run-{labels['run']}" if "run" in labels else None,
        "scan": scan_name(file.scan),
    }
    rest = table.drop(columns=[name for name in IDENTITY if name in table])
    front = pd.DataFrame(identity, index=rest.index, columns=IDENTITY)
    return pd.concat([front, rest], axis=1)


def _shared_facts(
    derivatives: Derivatives, files: Sequence[Derivative]
) -> tuple[dict[str, object], dict[str, list[str]]]:
    """Top-level facts that are equal in all sidecars, and the values of those that are not."""
    read = [derivatives.facts(sidecar_path(file.path)) for file in files]
    contents = [facts for facts in read if facts]
    names = list(dict.fromkeys(name for facts in contents for name in facts))
    shared, differing = {}, {}
    for name in names:
        values = [json.dumps(facts.get(name), sort_keys=True) for facts in contents]
        if len(set(values)) == 1:
            shared[name] = contents[0][name]
        elif name in _MUST_AGREE:
            differing[name] = [_MUST_AGREE[name](facts.get(name)) for facts in contents]
    return shared, differing


def _model_version(value: object) -> str:
    if not isinstance(value, dict):
        return "unknown"
    weights = value.get("WeightsSHA256", "")
    first = weights[0] if isinstance(weights, list) and weights else weights
    return f"{value.get('Name', '?')} {value.get('Version', '?')} (weights {str(first)[:8]})"


_MUST_AGREE: dict[str, Callable[[object], str]] = {
    "Model": _model_version,
    "Software": str,
    "BiasCorrection": str,
}


def _differences(differing: dict[str, list[str]]) -> list[str]:
    sentences = []
    for name, values in differing.items():
        counts = pd.Series(values).value_counts(sort=True)
        parts = "; ".join(f"{value}: {count} scans" for value, count in counts.items())
        sentences.append(f"{name} is not the same for all scans - {parts}.")
    return sentences
