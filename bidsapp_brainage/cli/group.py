"""The group level: from derivatives of participants to tables and one page per model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bidsapp_brainage.group.people import Roles
    from bidsapp_brainage.group.summary import Summary
    from bidsapp_brainage.model.bias_correction import BiasCorrection
    from bidsapp_brainage.settings import Settings

LOGGER = logging.getLogger("bidsapp_brainage")


def run_group(settings: Settings) -> int:
    """Summarise all participants of the output folder.

    Parameters
    ----------
    settings : Settings
        ``output_dir`` is read and written; of ``bids_dir`` at most ``participants.tsv``
        is read. Of the selection, participant, session and run labels count.

    Returns
    -------
    int
        0, or 1 if a participant's table could not be read (the others are summarised).

    Raises
    ------
    NoInputError
        If the folder holds no predictions for the selection.
    """
    from bidsapp_brainage.group.collect import collect
    from bidsapp_brainage.group.leakage import card_of
    from bidsapp_brainage.group.people import load_people
    from bidsapp_brainage.group.summary import Question, summarise
    from bidsapp_brainage.group.tables import write_phenotype

    output_dir, selection = settings.output_dir, settings.selection
    found = collect(
        output_dir,
        participants=selection.participant_label,
        sessions=selection.session_label,
        runs=selection.run_label,
    )
    for problem in found.unreadable:
        LOGGER.warning("Left out: %s", problem)
    roles = _roles(settings)
    summaries = []
    for model in found.models:
        LOGGER.info(
            "Group level, model %s: %d scans of %d participants",
            model.label,
            len(model.brainage),
            model.brainage["participant_id"].nunique(),
        )
        people, problems = load_people(
            output_dir, settings.bids_dir, roles, scan_columns=model.qc.columns
        )
        for problem in problems:
            LOGGER.warning("%s", problem)
        question = Question(
            roles=roles,
            dataset_name=_dataset_name(output_dir),
            card=card_of(model.provenance, settings.processing.models_dir),
            line=_line(settings),
        )
        seed = settings.processing.random_seed
        summaries.append(summarise(model, people, question, seed=seed))
        for sentence in summaries[-1].warnings:
            LOGGER.warning("%s", sentence)
    no_phenotype = write_phenotype(output_dir, summaries)
    if no_phenotype:
        LOGGER.info("%s", no_phenotype)
    for summary in summaries:
        page = _write_model(settings, summary, found.unreadable)
        LOGGER.info("Group report: %s", page)
    return 1 if found.unreadable else 0


def _write_model(settings: Settings, summary: Summary, unreadable: tuple[str, ...]) -> Path:
    from bidsapp_brainage.group.tables import MeanMap, write_mean_map, write_tables
    from bidsapp_brainage.reports.group.page import write_group_report

    output_dir = settings.output_dir
    write_tables(output_dir, summary)
    maps = {}
    for atlas in summary.atlases:
        answer = write_mean_map(output_dir, summary, atlas.result)
        if isinstance(answer, MeanMap):
            maps[atlas.result.title] = answer.path
        else:
            LOGGER.warning("%s", answer)
    return write_group_report(
        output_dir,
        summary,
        maps=maps,
        unreadable=unreadable,
        command_line=settings.execution.command_line,
    )


def _roles(settings: Settings) -> Roles:
    from bidsapp_brainage.group.people import Roles

    chosen = settings.group
    return Roles(
        group=chosen.group_column,
        reference=chosen.reference_group,
        site=chosen.site_column,
        covariates=chosen.covariates,
    )


def _line(settings: Settings) -> BiasCorrection | None:
    """The line of ``--bias-correction file:``; other words are the participant level's."""
    from bidsapp_brainage.model.bias_correction import read_bias_correction

    spec = settings.processing.bias_correction
    return (
        read_bias_correction(Path(spec.removeprefix("file:"))) if spec.startswith("file:") else None
    )


def _dataset_name(output_dir: Path) -> str:
    """Name of the derivatives, which contains that of the dataset; empty if there is none."""
    import json

    try:
        described = json.loads((output_dir / "dataset_description.json").read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    return str(described.get("Name", "")) if isinstance(described, dict) else ""
