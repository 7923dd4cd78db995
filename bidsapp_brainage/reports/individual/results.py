"""What the derivatives say about one participant, whether it is complete or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bidsapp_brainage.bids.derivatives import (
    Derivative,
    Derivatives,
    Entities,
    TableFile,
    scan_name,
)
from bidsapp_brainage.bids.names import image_key, input_figure_key, input_key, sidecar_path
from bidsapp_brainage.bids.ratings import by_scan, stored_ratings
from bidsapp_brainage.catalogue.cards import Output
from bidsapp_brainage.catalogue.lookup import map_figures
from bidsapp_brainage.catalogue.participant import MODALITIES, SCANNED
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.specs import OWN_SPACE
from bidsapp_brainage.reports.viewers.scans import ScanImages

#: What one person said about a scan, by the names of the columns.
Rating = Mapping[str, object]


@dataclass(frozen=True)
class RegionResult:
    """Contributions of the regions of one atlas, named for people, in a template's space.

    All tables with this atlas come by the key of their output; the map lies on the grid of the
    network's input.
    """

    atlas: str
    space: str
    tables: Mapping[str, TableFile]
    figure: Path | None
    map_file: Path | None

    @property
    def table(self) -> TableFile | None:
        """Contributions of single regions."""
        return self.tables.get("table")


@dataclass(frozen=True)
class PredictionResult:
    """What one model said about one scan; ``tables`` has those of no atlas by output.

    ``raw`` says that it saw the image as it is.
    """

    model: str
    raw: bool
    tables: Mapping[str, TableFile]
    input_image: Path | None
    input_figure: Path | None
    other_inputs: Mapping[str, Path]
    age_figure: Path | None
    map_figures: tuple[tuple[Output, Path], ...]
    regions: tuple[RegionResult, ...]

    @property
    def prediction(self) -> TableFile | None:
        """One row: the predicted age."""
        return self.tables.get("brainage")

    @property
    def distribution(self) -> TableFile | None:
        """One row per age bin."""
        return self.tables.get("agedist")

    @property
    def answers(self) -> TableFile | None:
        """Rows of all targets, of networks that predict more than an age."""
        return self.tables.get("predictions")

    @property
    def quality(self) -> TableFile | None:
        """One row: the quality of the image."""
        return self.tables.get("qc")


@dataclass(frozen=True)
class ScanResult:
    """All that is there of one image, usually a T1w, and of others of its session.

    Figures of others are by modality. The registration has (space, template figure, participant
    figure); the ratings are what people said about the scan, one for each of them. The images are
    None without brain mask.
    """

    label: str
    entities: Entities
    modality: str
    images: ScanImages | None
    mask_figure: Path | None
    other_figures: Mapping[str, Path]
    segmentation_figure: Path | None
    volumes: TableFile | None
    registration: tuple[tuple[str, Path, Path], ...]
    models: tuple[PredictionResult, ...]
    sidecar: Mapping[str, object]
    ratings: tuple[Rating, ...]


@dataclass(frozen=True)
class SubjectResult:
    """All scans of one participant, and sentences about files that could not be read."""

    subject: str
    scans: tuple[ScanResult, ...]
    problems: tuple[str, ...]


def of_session(result: SubjectResult, session: str) -> SubjectResult:
    """The scans of one session alone (label without ``ses-``; empty: of none)."""
    scans = [scan for scan in result.scans if dict(scan.entities).get("ses", "") == session]
    return replace(result, scans=tuple(scans))


def shown_modalities(result: SubjectResult) -> str:
    """What the images of a participant are, for titles: ``T1w``, ``T1w or T2w``."""
    found = {scan.modality for scan in result.scans}
    return " or ".join(name for name in SCANNED if name in found) or SCANNED[0]


def read_subject(output_dir: Path, subject: str) -> SubjectResult:
    """Read the derivatives of one participant (label without ``sub-``).

    Scans in the order of their labels; a missing or broken file leaves a gap, never an error.
    """
    derivatives = Derivatives(output_dir, participants=[subject])
    try:
        rated = by_scan(stored_ratings(output_dir, f"sub-{subject}"))
    except DataError as error:
        rated = {}
        derivatives.problems.append(str(error))
    scans = tuple(
        _scan(derivatives, scan, tuple(rated.get(scan_name(scan), ())))
        for scan in sorted({file.scan for file in derivatives.files})
    )
    return SubjectResult(subject, scans, tuple(derivatives.problems))


def _scan(derivatives: Derivatives, scan: Entities, ratings: tuple[Rating, ...]) -> ScanResult:
    modality, image = _image(derivatives, scan)
    volumes = derivatives.select("volumes", scan=scan)
    tables = [file for file in derivatives.files if file.scan == scan and file.output.is_table]
    models = sorted({file.model for file in tables} - {""})
    return ScanResult(
        label=scan_name(scan),
        entities=scan,
        modality=modality,
        images=None if image is None else _images(derivatives, scan, image),
        mask_figure=_path(derivatives.select("mask_figure", scan=scan)),
        other_figures={
            name: file.path
            for name in MODALITIES
            for file in derivatives.select(f"companion_{name}_figure", scan=scan)
        },
        segmentation_figure=_path(derivatives.select("segmentation_figure", scan=scan)),
        volumes=derivatives.table(volumes[0]) if volumes else None,
        registration=_registration(derivatives, scan),
        models=tuple(_model(derivatives, scan, model, modality) for model in models),
        sidecar={} if image is None else derivatives.facts(sidecar_path(image)),
        ratings=ratings,
    )


def _image(derivatives: Derivatives, scan: Entities) -> tuple[str, Path | None]:
    """Modality of a scan, and its image in its own space; a T1w where no image was kept."""
    for modality in SCANNED:
        images = derivatives.select(image_key(modality), scan=scan, space="")
        if images:
            return modality, images[0].path
    return SCANNED[0], None


def _model(derivatives: Derivatives, scan: Entities, model: str, modality: str) -> PredictionResult:
    own = [file for file in derivatives.files if file.scan == scan and file.model == model]

    def path(key: str) -> Path | None:
        return _path([file for file in own if file.output.key == key])

    return PredictionResult(
        model=model,
        raw=any(file.output.key == "input" and file.space == OWN_SPACE for file in own),
        tables=_tables(derivatives, [file for file in own if not file.atlas]),
        input_image=path(input_key(modality)),
        input_figure=path(input_figure_key(modality)),
        other_inputs={
            name: figure
            for name in MODALITIES
            if name != modality and (figure := path(input_figure_key(name)))
        },
        age_figure=path("age_figure"),
        map_figures=tuple(
            (file.output, file.path)
            for card in map_figures()
            for file in own
            if file.output.key == card.key
        ),
        regions=tuple(
            _regions(derivatives, [file for file in own if file.atlas == atlas])
            for atlas in sorted({file.atlas for file in own if file.output.key in _OF_REGIONS})
        ),
    )


_OF_REGIONS = ("table", "map_figure")


def _regions(derivatives: Derivatives, own: list[Derivative]) -> RegionResult:
    space = next((file.space for file in own if file.output.key == "table"), "")
    maps = [file for file in own if file.output.key == "map_grid" and file.space == space]
    return RegionResult(
        atlas=_atlas_name(own[0]),
        space=space,
        tables=_tables(derivatives, own),
        figure=_path([file for file in own if file.output.key == "map_figure"]),
        map_file=_path(maps),
    )


def _tables(derivatives: Derivatives, own: list[Derivative]) -> dict[str, TableFile]:
    """The first table of every output."""
    first: dict[str, Derivative] = {}
    for file in own:
        if file.output.is_table:
            first.setdefault(file.output.key, file)
    return {key: derivatives.table(file) for key, file in first.items()}


def _images(derivatives: Derivatives, scan: Entities, image: Path) -> ScanImages | None:
    """What the viewers show, on the grid of the image."""

    def path(key: str) -> Path | None:
        return _path(derivatives.select(key, scan=scan))

    mask = path("mask")
    if mask is None:
        return None
    atlases = {_atlas_name(file): file.path for file in derivatives.select("labels_t1w", scan=scan)}
    return ScanImages(image, mask, path("dseg"), path("dseg_table"), atlases)


def _atlas_name(file: Derivative) -> str:
    return " ".join(value for _, value in file.atlas)


def _path(files: list[Derivative]) -> Path | None:
    return files[0].path if files else None


def _registration(derivatives: Derivatives, scan: Entities) -> tuple[tuple[str, Path, Path], ...]:
    """Pairs of figures that belong together: same space, before and after."""
    after = {file.space: file.path for file in derivatives.select("after_figure", scan=scan)}
    return tuple(
        (before.space, before.path, after[before.space])
        for before in derivatives.select("before_figure", scan=scan)
        if before.space in after
    )
