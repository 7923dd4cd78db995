"""What the participant level wrote, pooled: the tables of all scans, per model and atlas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from bidsapp_brainage.bids.derivatives import (
    Derivative,
    Derivatives,
    scan_name,
    tried_participants,
)
from bidsapp_brainage.bids.names import sidecar_path
from bidsapp_brainage.bids.pooled.small_tables import ReadTogether, read_facts, read_tables
from bidsapp_brainage.bids.pooled.store import FOLDER, IDENTITY, PooledTable, SmallTable
from bidsapp_brainage.catalogue.lookup import OUTPUTS, voxel_maps
from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.io import write_text

_POOLED = tuple(card for card in OUTPUTS if card.pooled)
_MAP = "map_grid"
#: Read on demand: they are of no model, and nothing else of the group level needs them.
VOLUMES = "volumes"

#: Columns of tables of regions that the analyses read; ten million rows have no room for others.
_NEEDED: Mapping[str, Sequence[str]] = {
    "table": [
        *IDENTITY, "index", "name", "hemisphere", "lobe", "network", "n_voxels", "volume_mm3",
        "baseline", "delta_age", "abs_delta_age", "delta_age_per_ml", "delta_age_sd_members",
        "nosa_importance", "null_mean", "z_null", "delta_age_mirrored",
    ],
    VOLUMES: ["scan", "index", "name", "kind", "hemisphere", "tissue", "volume_ml"],
    "baselines": [
        *IDENTITY, "baseline", "index", "name", "n_voxels", "delta_age", "delta_age_sd_members",
        "delta_age_per_ml",
    ],
}  # fmt: skip


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
    contributions : PooledTable
        All columns of the tables of regions, of which ``frames`` have those that are analysed.
    left_out : frozenset of str
        Scans whose rows are not in ``frames`` though the files are there.
    """

    entities: dict[str, str]
    space: str
    frames: Mapping[str, pd.DataFrame]
    maps: dict[str, Path]
    provenance: dict[str, object]
    contributions: PooledTable
    left_out: frozenset[str] = frozenset()

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
    volumes : DataFrame
        Regional volumes of all scans, of this model or not; empty where nobody asked for them.
    """

    label: str
    frames: Mapping[str, pd.DataFrame]
    atlases: tuple[AtlasResult, ...]
    maps: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    provenance: dict[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    volumes: pd.DataFrame = field(default_factory=pd.DataFrame)

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
    volumes: bool = False,
) -> Collection:
    """Gather the tables of the participant level, models in the order of their labels.

    Of participants, sessions and runs (labels without prefix) only the named ones are read; empty
    means all. Regional `volumes` are read where they are asked for.

    Raises
    ------
    NoInputError
        If the folder holds no prediction for this selection.
    """
    known = _participants(output_dir, participants)
    pooling = _Pooling(
        output_dir,
        Derivatives(
            output_dir,
            participants=participants,
            sessions=sessions,
            runs=runs,
            outputs=[
                *(card.key for card in (*_POOLED, *voxel_maps())),
                _MAP,
                *([VOLUMES] if volumes else []),
            ],
        ),
        "selected" if participants or sessions or runs else "all",
    )
    labels = sorted({file.model for file in pooling.files if file.output.key == "brainage"})
    models = [_model(pooling, label, known) for label in labels]
    models = [model for model in models if not model.brainage.empty]
    if volumes:
        files = [file for file in pooling.files if file.output.key == VOLUMES]
        table = pooling.table(files).frame(_NEEDED[VOLUMES], compact=True)
        models = [replace(model, volumes=table) for model in models]
    if not models:
        raise NoInputError(_nothing_found(output_dir, pooling.problems))
    return Collection(tuple(models), tuple(pooling.problems))


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


class _Pooling:
    """Pooled tables of the files that were found, and what could not be read."""

    def __init__(self, output_dir: Path, derivatives: Derivatives, place: str) -> None:
        self.files = derivatives.files
        self._root, self._folder = output_dir, output_dir / FOLDER / place
        self.problems: list[str] = []
        write_text(output_dir / FOLDER.parent / ".gitignore", "*\n")

    def table(self, files: Sequence[Derivative]) -> PooledTable:
        """The tables of these files, which have one card, one model and one atlas."""
        return self._pooled(files, [file.path for file in files], "", read_tables)

    def facts(self, files: Sequence[Derivative]) -> pd.DataFrame:
        """Top-level facts of their sidecars: ``scan``, ``fact``, ``value``."""
        paths = [sidecar_path(file.path) for file in files]
        return self._pooled(files, paths, "_sidecars", read_facts).frame(compact=True)

    def _pooled(
        self,
        files: Sequence[Derivative],
        paths: Sequence[Path],
        kind: str,
        reader: Callable[[Sequence[Path]], ReadTogether],
    ) -> PooledTable:
        name = "none"
        if files:
            first = files[0]
            labels = [*(f"{key}-{label}" for key, label in first.atlas), first.output.key]
            name = "_".join(filter(None, [first.model, first.space, *labels])) + kind
        small = [_small_table(file, path) for file, path in zip(files, paths, strict=True)]
        pooled = PooledTable(self._root, self._folder / name, small, reader)
        self.problems += pooled.problems
        return pooled


def _small_table(file: Derivative, path: Path) -> SmallTable:
    labels = dict(file.scan)
    return SmallTable(
        path,
        participant_id=f"sub-{labels['sub']}",
        session_id=f"ses-{labels['ses']}" if "ses" in labels else None,
        run_id=f"run-{labels['run']}" if "run" in labels else None,
        scan=scan_name(file.scan),
    )


def _model(pooling: _Pooling, label: str, known: set[str]) -> ModelResult:
    own = [file for file in pooling.files if file.model == label]
    by_key = _by_key(file for file in own if not file.atlas)
    frames = {
        card.key: pooling.table(by_key.get(card.key, [])).frame()
        for card in _POOLED
        if "atlas" not in card.entities
    }
    provenance, differing = _shared_facts(pooling.facts(by_key.get("brainage", [])))
    places = {(file.atlas, file.space) for file in own if file.output.key == "table"}
    return ModelResult(
        label=label,
        frames=frames,
        atlases=tuple(
            _atlas(pooling, [file for file in own if (file.atlas, file.space) == place])
            for place in sorted(places)
        ),
        maps={
            card.key: {scan_name(f.scan): f.path for f in by_key.get(card.key, [])}
            for card in voxel_maps()
        },
        provenance=provenance,
        notes=tuple(_differences(differing)),
        missing=tuple(sorted(known - set(frames["brainage"]["participant_id"]))),
    )


def _atlas(pooling: _Pooling, own: list[Derivative]) -> AtlasResult:
    """All files of one model with one atlas in one space."""
    space, by_key = own[0].space, _by_key(own)
    tables = {
        card.key: pooling.table(by_key.get(card.key, []))
        for card in _POOLED
        if "atlas" in card.entities
    }
    contributions = tables["table"].frame(_NEEDED["table"], compact=True)
    # The rows of the first baseline stand in both tables.
    main = str(contributions["baseline"].iloc[0]) if len(contributions) else ""
    frames = {
        key: table.frame(
            _NEEDED.get(key, ()), compact=True, without=main if key == "baselines" else ""
        )
        for key, table in tables.items()
        if key != "table"
    }
    return AtlasResult(
        entities=dict(own[0].atlas),
        space=space,
        frames={"table": contributions, **frames},
        maps={scan_name(file.scan): file.path for file in by_key.get(_MAP, []) if space},
        provenance=_shared_facts(pooling.facts(by_key["table"]))[0],
        contributions=tables["table"],
    )


def _by_key(files: Iterable[Derivative]) -> dict[str, list[Derivative]]:
    found: dict[str, list[Derivative]] = {}
    for file in files:
        found.setdefault(file.output.key, []).append(file)
    return found


def _shared_facts(facts: pd.DataFrame) -> tuple[dict[str, object], dict[str, list[str]]]:
    """Top-level facts that are equal in all sidecars, and the values of those that are not.

    `facts` has ``scan``, ``fact`` and ``value`` (JSON); scans without sidecar do not count.
    """
    shared: dict[str, object] = {}
    differing: dict[str, list[str]] = {}
    if facts.empty:
        return shared, differing
    scans = facts["scan"].unique()
    for name, rows in facts.groupby("fact", sort=False, observed=True):
        values = rows["value"].unique()
        if len(values) == 1 and len(rows) == len(scans):
            shared[str(name)] = json.loads(values[0])
        elif name in _MUST_AGREE:
            words = {text: _MUST_AGREE[str(name)](json.loads(text)) for text in values}
            of_scans = rows.set_index("scan")["value"].map(words).reindex(scans)
            differing[str(name)] = of_scans.fillna(_MUST_AGREE[str(name)](None)).tolist()
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
