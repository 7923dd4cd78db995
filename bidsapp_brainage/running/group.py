"""The group level: from derivatives of participants to tables and one page per model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bidsapp_brainage.settings import EVERYBODY, REFERENCE

if TYPE_CHECKING:
    import pandas as pd

    from bidsapp_brainage.group.analyses import Study, Summary
    from bidsapp_brainage.group.collect import ModelResult
    from bidsapp_brainage.model.bias_correction import BiasCorrection
    from bidsapp_brainage.settings import Settings

_CALIBRATE: Mapping[str, Literal["reference", "everybody"]] = {
    REFERENCE: "reference",
    EVERYBODY: "everybody",
}
LOGGER = logging.getLogger("bidsapp_brainage")


def run_group(settings: Settings) -> int:
    """Summarise all participants of the output folder.

    Parameters
    ----------
    settings : Settings
        ``output_dir`` is read and written; of ``bids_dir`` at most ``participants.tsv``
        is read. Of the selection, participant, session and run labels count. With
        ``reports_only`` the pages are made again from the tables of the group that are there.

    Returns
    -------
    int
        0, or 1 if a participant's table could not be read (the others are summarised).

    Raises
    ------
    NoInputError
        If the folder holds no predictions for the selection or no tables of the group, or all scans
        are rated too low.
    DataError
        If a table of ratings cannot be used.
    """
    if settings.execution.reports_only:
        return _reports_only(settings)
    from bidsapp_brainage.bids.ratings import stored_ratings
    from bidsapp_brainage.group.collect import collect
    from bidsapp_brainage.group.outputs import write_mean_map, write_phenotype, write_tables
    from bidsapp_brainage.group.population import write_population_maps
    from bidsapp_brainage.running.pages import write_overviews
    from bidsapp_brainage.running.recording.recorder import Recorder

    output_dir, selection = settings.output_dir, settings.selection
    collection = collect(
        output_dir,
        participants=selection.participant_label,
        sessions=selection.session_label,
        runs=selection.run_label,
        volumes=settings.group.harmonise != "none",
    )
    unreadable, rated = collection.unreadable, stored_ratings(output_dir)
    scans = sorted({str(scan) for model in collection.models for scan in model.brainage["scan"]})
    recorder = Recorder(settings, "group")
    recorder.start(scans)
    for problem in unreadable:
        LOGGER.warning("Left out: %s", problem)
    summaries = [_summary(settings, model, rated, unreadable) for model in collection.models]
    for note in write_phenotype(output_dir, summaries):
        LOGGER.info("%s", note.sentence)
    for summary in summaries:
        model = summary.model
        write_tables(output_dir, summary)
        notes = [
            n for atlas in model.atlases for n in write_mean_map(output_dir, model.label, atlas)
        ]
        notes += write_population_maps(output_dir, model, model.brainage)
        for note in notes:
            LOGGER.warning("%s", note.sentence)
    recorder.finish(scans, warnings=unreadable)
    _write_pages(settings, [summary.model.label for summary in summaries])
    failed = write_overviews(settings)
    return 1 if unreadable or failed else 0


def _reports_only(settings: Settings) -> int:
    """Make the pages again from the tables of the group."""
    from bidsapp_brainage.errors import NoInputError
    from bidsapp_brainage.reports.group.stored import stored_models
    from bidsapp_brainage.running.pages import write_overviews

    labels = stored_models(settings.output_dir)
    if not labels:
        raise NoInputError(
            f"{settings.output_dir} has no tables of the group (group_*_brainage.tsv): run the "
            "group level without `reports_only` first."
        )
    _write_pages(settings, labels)
    return int(write_overviews(settings) > 0)


def _write_pages(settings: Settings, labels: Iterable[str]) -> None:
    """Write the page of every model, which tells of the newest run that computed the tables."""
    from bidsapp_brainage import io
    from bidsapp_brainage.bids.run_records import read_runs
    from bidsapp_brainage.reports.group.page import write_group_report

    runs = [run for run in read_runs(settings.output_dir, level="group") if run.ended]
    run = runs[-1] if runs else None
    for label in labels:
        page = write_group_report(settings.output_dir, label, run=run, written=io.now())
        LOGGER.info("Group report: %s", page)


def _summary(
    settings: Settings, model: ModelResult, rated: pd.DataFrame, unreadable: tuple[str, ...]
) -> Summary:
    from bidsapp_brainage.group.analyses import summarise
    from bidsapp_brainage.group.people import load_people

    LOGGER.info(
        "Group level, model %s: %d scans of %d participants",
        model.label,
        len(model.brainage),
        model.brainage["participant_id"].nunique(),
    )
    study = _study(settings, model, rated)
    people, problems = load_people(
        settings.output_dir, settings.bids_dir, study.columns, scan_columns=model.qc.columns
    )
    for problem in problems:
        LOGGER.warning("%s", problem)
    seed = settings.processing.random_seed
    summary = summarise(model, people, study, seed=seed, unreadable=unreadable)
    for note in summary.notes:
        if note.severity == "warning" and note.topic != "unreadable":
            LOGGER.warning("%s", note.sentence)
    return summary


def _study(settings: Settings, model: ModelResult, rated: pd.DataFrame) -> Study:
    from bidsapp_brainage.group.analyses import Study
    from bidsapp_brainage.group.people import ParticipantColumns, card_of, load_factors
    from bidsapp_brainage.group.ratings import Ratings

    chosen = settings.group
    return Study(
        columns=ParticipantColumns(
            group=chosen.group_column,
            reference=chosen.reference_group,
            site=chosen.site_column,
            covariates=chosen.covariates,
        ),
        dataset_name=_dataset_name(settings.output_dir),
        card=card_of(model.provenance, settings.processing.models_dir),
        bias_correction=_bias_correction(settings),
        calibrate=_CALIBRATE.get(settings.processing.bias_correction, ""),
        harmonise=chosen.harmonise,
        ratings=Ratings(rated, chosen.min_rating),
        factors=load_factors(chosen.factors) if chosen.factors else None,
    )


def _bias_correction(settings: Settings) -> BiasCorrection | None:
    """The line of ``bias_correction file:``; other words name none."""
    from bidsapp_brainage.model.bias_correction import read_bias_correction

    source = settings.processing.bias_correction
    if not source.startswith("file:"):
        return None
    return read_bias_correction(Path(source.removeprefix("file:")))


def _dataset_name(output_dir: Path) -> str:
    """Name of the derivatives, which contains that of the dataset; empty if there is none."""
    from bidsapp_brainage import io

    return str(io.read_json(output_dir / "dataset_description.json").get("Name", ""))
