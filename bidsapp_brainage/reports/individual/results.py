"""Gather what lies in the derivatives about one participant, whether it is complete or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp_brainage.bids.names import find_outputs, parse_name, scan_entities, sidecar_path
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import read_tsv

#: Suffixes of the tables about groups of regions and further methods.
FURTHER = (
    "occlusiongroups",
    "occlusionbaselines",
    "occlusioncontrols",
    "agreement",
    "lrp",
    "ig",
    "noise",
    "randomisation",
    "shapley",
    "occlusioncurve",
    "occlusionpairs",
)
_ATLAS_KEYS = ("atlas", "seg", "scale")


@dataclass(frozen=True)
class TableFile:
    """A table with its data dictionary; ``rows`` is None when the file could not be read."""

    path: Path
    rows: pd.DataFrame | None
    sidecar: Mapping[str, Any]

    @property
    def first(self) -> Mapping[str, Any]:
        """First row, empty when there is none."""
        if self.rows is None or self.rows.empty:
            return {}
        return {str(key): value for key, value in self.rows.iloc[0].items()}


@dataclass(frozen=True)
class RegionResult:
    """Contributions of the regions of one atlas.

    ``map_file`` is their map on the grid of the network's input; ``further`` holds tables of groups
    and methods.
    """

    atlas: str
    space: str
    table: TableFile | None
    figure: Path | None
    map_file: Path | None
    further: Mapping[str, TableFile]


@dataclass(frozen=True)
class ModelResult:
    """What one model said about one scan."""

    model: str
    prediction: TableFile | None
    distribution: TableFile | None
    quality: TableFile | None
    input_image: Path | None
    input_figure: Path | None
    age_figure: Path | None
    cube_figure: Path | None
    regions: tuple[RegionResult, ...]


@dataclass(frozen=True)
class ScanResult:
    """All that is there of one T1w image.

    Attributes
    ----------
    label : str
        For example ``sub-01_ses-1_run-2``.
    entities : tuple of (str, str)
    mask_figure : Path or None
    registration : tuple of (space, template figure, participant figure)
    models : tuple of ModelResult
    t1w_sidecar : mapping
        Of the preprocessed T1w image.
    rating : mapping
        What a person said about the scan; empty when nobody did.
    """

    label: str
    entities: tuple[tuple[str, str], ...]
    mask_figure: Path | None
    registration: tuple[tuple[str, Path, Path], ...]
    models: tuple[ModelResult, ...]
    t1w_sidecar: Mapping[str, Any]
    rating: Mapping[str, Any]


@dataclass(frozen=True)
class SubjectResult:
    """All scans of one participant, and sentences about files that could not be read."""

    subject: str
    scans: tuple[ScanResult, ...]
    problems: tuple[str, ...]


def read_subject(output_dir: Path, subject: str) -> SubjectResult:
    """Read the derivatives of one participant.

    Parameters
    ----------
    output_dir : Path
        Root of the derivatives dataset.
    subject : str
        Label without ``sub-``.

    Returns
    -------
    SubjectResult
        Scans in the order of their labels; a missing or broken file leaves a gap, never an error.
    """
    reader = _Reader(Path(output_dir), subject)
    labels = sorted({entities for path in reader.files for entities in [scan_entities(path)]})
    scans = tuple(reader.scan(entities) for entities in labels)
    return SubjectResult(subject, scans, tuple(reader.problems))


class _Reader:
    """Finds files of one participant by their entities and remembers what was unreadable."""

    _KINDS = (
        ("brainage", ".tsv", "anat"),
        ("agedist", ".tsv", "anat"),
        *((kind, ".tsv", "anat") for kind in ("occlusion", *FURTHER)),
        ("qc", ".tsv", "anat"),
        ("qc", ".json", "anat"),
        ("T1w", ".nii.gz", "anat"),
        ("mask", ".nii.gz", "anat"),
        ("T1w", ".svg", "figures"),
        ("mask", ".svg", "figures"),
        ("agedist", ".svg", "figures"),
        ("occlusionmap", ".svg", "figures"),
        ("occlusionmap", ".nii.gz", "anat"),
    )

    def __init__(self, output_dir: Path, subject: str) -> None:
        self.problems: list[str] = []
        self.files = [
            path
            for suffix, extension, datatype in self._KINDS
            for path in find_outputs(
                output_dir, suffix=suffix, extension=extension, datatype=datatype, sub=subject
            )
        ]

    def scan(self, entities: tuple[tuple[str, str], ...]) -> ScanResult:
        """Gather one scan."""
        own = [path for path in self.files if scan_entities(path) == entities]
        tables = ("brainage", "agedist", "qc", "occlusion")
        found = [path for kind in tables for path in _select(own, ".tsv", suffix=kind)]
        models = sorted({parse_name(path).get("desc", "") for path in found} - {""})
        rated = _select(own, ".json", suffix="qc", desc="rating")
        images = _select(own, ".nii.gz", suffix="T1w", desc="preproc", space=None)
        return ScanResult(
            label="_".join(f"{key}-{value}" for key, value in entities),
            entities=entities,
            mask_figure=_only(_select(own, ".svg", suffix="mask", desc="brain")),
            registration=_registration(own),
            models=tuple(self._model(own, model) for model in models),
            t1w_sidecar=self._json(sidecar_path(images[0])) if images else {},
            rating=self._json(rated[0]) if rated else {},
        )

    def _model(self, own: list[Path], model: str) -> ModelResult:
        found = _select(own, ".tsv", suffix="occlusion", desc=model)
        pictures = _select(own, ".svg", suffix="occlusionmap", desc=model)
        keys = sorted({_atlas(path) for path in [*found, *pictures]})
        return ModelResult(
            model=model,
            prediction=self._table(_select(own, ".tsv", suffix="brainage", desc=model)),
            distribution=self._table(_select(own, ".tsv", suffix="agedist", desc=model)),
            quality=self._table(_select(own, ".tsv", suffix="qc", desc=model)),
            input_image=_only(_select(own, ".nii.gz", suffix="T1w", desc=f"{model}input")),
            input_figure=_only(_select(own, ".svg", suffix="T1w", desc=f"{model}input")),
            age_figure=_only(_select(own, ".svg", suffix="agedist", desc=model)),
            cube_figure=_only(_select(own, ".svg", suffix="occlusionmap", desc=f"{model}cubes")),
            regions=tuple(self._regions(own, model, key) for key in keys),
        )

    def _regions(self, own: list[Path], model: str, key: tuple[str, ...]) -> RegionResult:
        mine = [path for path in own if _atlas(path) == key]
        tables = _select(mine, ".tsv", suffix="occlusion", desc=model)
        space = parse_name(tables[0]).get("space", "") if tables else ""
        further = {
            kind: self._table(_select(mine, ".tsv", suffix=kind, desc=model)) for kind in FURTHER
        }
        return RegionResult(
            atlas=" ".join(filter(None, key)),
            space=space,
            table=self._table(tables),
            figure=_only(_select(mine, ".svg", suffix="occlusionmap", desc=model)),
            map_file=_only(
                _select(mine, ".nii.gz", suffix="occlusionmap", desc=model, space=space)
            ),
            further={kind: table for kind, table in further.items() if table is not None},
        )

    def _table(self, paths: list[Path]) -> TableFile | None:
        if not paths:
            return None
        rows = None
        try:
            rows = read_tsv(paths[0])
        except DataError as error:
            self.problems.append(str(error))
        return TableFile(paths[0], rows, self._json(sidecar_path(paths[0])))

    def _json(self, path: Path) -> Mapping[str, Any]:
        try:
            content = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            self.problems.append(f"{path} is not valid JSON ({error}).")
            return {}
        return content if isinstance(content, dict) else {}


def _select(paths: list[Path], extension: str, **wanted: str | None) -> list[Path]:
    """Files with these entities; None means that the entity must be absent."""
    found = []
    for path in paths:
        name = parse_name(path)
        if name["extension"] == extension and all(name.get(k) == v for k, v in wanted.items()):
            found.append(path)
    return found


def _only(paths: list[Path]) -> Path | None:
    return paths[0] if paths else None


def _atlas(path: Path) -> tuple[str, ...]:
    name = parse_name(path)
    return tuple(name.get(key, "") for key in _ATLAS_KEYS)


def _registration(own: list[Path]) -> tuple[tuple[str, Path, Path], ...]:
    """Pairs of figures that belong together: same space, before and after."""
    after = {parse_name(p).get("space", ""): p for p in _select(own, ".svg", desc="after")}
    return tuple(
        (space, before, after[space])
        for before in _select(own, ".svg", desc="before")
        if (space := parse_name(before).get("space", "")) in after
    )
