"""Read what the participant level wrote: the tables of every scan, per model and atlas."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp_brainage.bids.names import find_outputs, parse_name, scan_entities, sidecar_path
from bidsapp_brainage.errors import DataError, NoInputError
from bidsapp_brainage.io import read_tsv

IDENTITY = ["participant_id", "session_id", "run_id", "scan"]


@dataclass(frozen=True)
class AtlasResult:
    """Region contributions of all scans with one atlas.

    Attributes
    ----------
    entities : dict
        ``atlas`` and, where the atlas has them, ``seg`` and ``scale``.
    space : str
        Template of the region labels.
    table : DataFrame
        One row per scan and region.
    maps : dict
        Occlusion map in template space by scan.
    provenance : dict
        Facts shared by the sidecars.
    baselines : DataFrame
        One row per scan, region and baseline; may be empty.
    agreement : DataFrame
        One row per scan and pair of explanations; may be empty.
    """

    entities: dict[str, str]
    space: str
    table: pd.DataFrame
    maps: dict[str, Path]
    provenance: dict[str, Any]
    baselines: pd.DataFrame = field(default_factory=pd.DataFrame)
    agreement: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def title(self) -> str:
        """Name for people, for example ``Schaefer2018 7n 100``."""
        return " ".join(self.entities.values())


@dataclass(frozen=True)
class ModelResult:
    """Everything that one model said about the people of a derivatives folder.

    Attributes
    ----------
    label : str
        ``desc-`` label of the model's files.
    brainage, qc : DataFrame
        One row per scan; ``qc`` may be empty.
    atlases : tuple of AtlasResult
    provenance : dict
        Facts shared by the sidecars of all predictions.
    notes : tuple of str
        Sentences about differences between scans (versions, devices).
    missing : tuple of str
        Participants of the folder without a prediction by this model.
    """

    label: str
    brainage: pd.DataFrame
    qc: pd.DataFrame
    atlases: tuple[AtlasResult, ...]
    provenance: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


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
    """Gather the tables of the participant level.

    Parameters
    ----------
    output_dir : Path
        Root of the derivatives dataset.
    participants, sessions, runs : sequence of str
        Labels without prefix; only these are read. Empty means all.

    Returns
    -------
    Collection
        Models in alphabetical order of their labels.

    Raises
    ------
    NoInputError
        If the folder holds no prediction for this selection.
    """
    reader = _Reader(_Selection(tuple(participants), tuple(sessions), tuple(runs)), output_dir)
    labels = sorted({parse_name(path).get("desc", "") for path in reader.files("brainage")})
    models = [reader.model(label) for label in labels if label]
    models = [model for model in models if not model.brainage.empty]
    if not models:
        raise NoInputError(_nothing_found(output_dir, reader.problems))
    return Collection(tuple(models), tuple(reader.problems))


def _nothing_found(output_dir: Path, problems: Sequence[str]) -> str:
    why = f" Unreadable: {' '.join(problems)}" if problems else ""
    return (
        f"No predictions (*_brainage.tsv) in {output_dir} for this selection; run the participant "
        "level first: bidsapp-brainage BIDS_DIR OUTPUT_DIR participant, with the same OUTPUT_DIR."
        + why
    )


@dataclass(frozen=True)
class _Selection:
    participants: tuple[str, ...]
    sessions: tuple[str, ...]
    runs: tuple[str, ...]

    def takes(self, path: Path) -> bool:
        found = parse_name(path)
        wanted = (("sub", self.participants), ("ses", self.sessions), ("run", self.runs))
        return all(not labels or found.get(key) in labels for key, labels in wanted)


class _Reader:
    """Reads tables of one derivatives folder and remembers the ones that it could not read."""

    def __init__(self, selection: _Selection, output_dir: Path) -> None:
        self._selection = selection
        self._root = output_dir
        self.problems: list[str] = []

    def files(self, suffix: str, extension: str = ".tsv", **entities: str) -> list[Path]:
        found = find_outputs(self._root, suffix=suffix, extension=extension, **entities)
        return [path for path in found if self._selection.takes(path)]

    def model(self, label: str) -> ModelResult:
        paths = self.files("brainage", desc=label)
        brainage = self._table(paths)
        provenance, differing = _shared_facts([sidecar_path(path) for path in paths])
        return ModelResult(
            label=label,
            brainage=brainage,
            qc=self._table(self.files("qc", desc=label)),
            atlases=tuple(self._atlases(label)),
            provenance=provenance,
            notes=tuple(_differences(differing)),
            missing=tuple(self._without_prediction(brainage)),
        )

    def _atlases(self, label: str) -> list[AtlasResult]:
        groups: dict[tuple[tuple[str, str], ...], list[Path]] = {}
        for path in self.files("occlusion", desc=label):
            groups.setdefault(_atlas_key(path), []).append(path)
        return [self._atlas(label, dict(key), paths) for key, paths in sorted(groups.items())]

    def _atlas(self, label: str, key: dict[str, str], paths: list[Path]) -> AtlasResult:
        maps = self.files("occlusionmap", ".nii.gz", desc=label, **key)
        space = key.get("space", "")
        return AtlasResult(
            entities={name: value for name, value in key.items() if name != "space"},
            space=space,
            table=self._table(paths),
            maps={scan_name(path): path for path in maps if space},
            provenance=_shared_facts([sidecar_path(path) for path in paths])[0],
            baselines=self._table(self.files("occlusionbaselines", desc=label, **key)),
            agreement=self._table(self.files("agreement", desc=label, **key)),
        )

    def _table(self, paths: Sequence[Path]) -> pd.DataFrame:
        frames = []
        for path in paths:
            try:
                frames.append(_with_identity(read_tsv(path), path))
            except DataError as error:
                self.problems.append(str(error))
        if not frames:
            return pd.DataFrame(columns=IDENTITY)
        # An all-missing column of one scan must not decide about the type of the column.
        return pd.concat(frames, ignore_index=True).infer_objects()

    def _without_prediction(self, brainage: pd.DataFrame) -> list[str]:
        known = {path.name for path in self._root.glob("sub-*") if path.is_dir()}
        known |= {path.stem for path in self._root.glob("sub-*.html")}
        wanted = {f"sub-{label}" for label in self._selection.participants}
        known = known & wanted if wanted else known
        return sorted(known - set(brainage["participant_id"]))


def scan_name(path: Path) -> str:
    """Key of a scan in all group tables: its entities, ``sub-01_ses-1_run-1``."""
    return "_".join(f"{key}-{value}" for key, value in scan_entities(path))


def _atlas_key(path: Path) -> tuple[tuple[str, str], ...]:
    found = parse_name(path)
    return tuple((key, found[key]) for key in ("atlas", "seg", "scale", "space") if key in found)


def _with_identity(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    found = parse_name(path)
    identity: dict[str, Any] = {
        "participant_id": f"sub-{found['sub']}",
        "session_id": f"ses-{found['ses']}" if "ses" in found else None,
        "run_id": f"run-{found['run']}" if "run" in found else None,
        "scan": scan_name(path),
    }
    rest = table.drop(columns=[name for name in IDENTITY if name in table])
    front = pd.DataFrame(identity, index=rest.index, columns=IDENTITY)
    return pd.concat([front, rest], axis=1)


def _shared_facts(sidecars: Sequence[Path]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Top-level facts that are equal in all sidecars, and the values of those that are not."""
    contents = [facts for path in sidecars if (facts := _read_json(path))]
    names = list(dict.fromkeys(name for facts in contents for name in facts))
    shared, differing = {}, {}
    for name in names:
        values = [json.dumps(facts.get(name), sort_keys=True) for facts in contents]
        if len(set(values)) == 1:
            shared[name] = contents[0][name]
        elif name in _MUST_AGREE:
            differing[name] = [_MUST_AGREE[name](facts.get(name)) for facts in contents]
    return shared, differing


def _model_version(value: Any) -> str:
    if not isinstance(value, dict):
        return "unknown"
    weights = value.get("WeightsSHA256", "")
    first = weights[0] if isinstance(weights, list) and weights else weights
    return f"{value.get('Name', '?')} {value.get('Version', '?')} (weights {str(first)[:8]})"


_MUST_AGREE: dict[str, Callable[[Any], str]] = {
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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
