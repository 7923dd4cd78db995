"""The group level: from derivatives of participants to tables and one page per model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from bidsapp_brainage.group.summary import Summary
    from bidsapp_brainage.settings import Settings

LOGGER = logging.getLogger("bidsapp_brainage")


def run_group(settings: Settings) -> int:
    """Summarise all participants of the output folder.

    Parameters
    ----------
    settings : Settings
        ``output_dir`` is read and written; ``bids_dir`` is not touched. Of the selection,
        participant, session and run labels count.

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
    from bidsapp_brainage.group.summary import summarise
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
    people = _participants(output_dir)
    summaries = []
    for model in found.models:
        LOGGER.info(
            "Group level, model %s: %d scans of %d participants",
            model.label,
            len(model.brainage),
            model.brainage["participant_id"].nunique(),
        )
        summaries.append(summarise(model, people, seed=settings.processing.random_seed))
    no_phenotype = write_phenotype(output_dir, summaries)
    if no_phenotype:
        LOGGER.info("%s", no_phenotype)
    for summary in summaries:
        page = _write_model(settings, summary, found.unreadable)
        LOGGER.info("Group report: %s", page)
    return 1 if found.unreadable else 0


def _write_model(settings: Settings, summary: Summary, unreadable: tuple[str, ...]) -> Path:
    from bidsapp_brainage.group.tables import MeanMap, write_mean_map, write_tables
    from bidsapp_brainage.reports.group import write_group_report

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


def _participants(output_dir: Path) -> pd.DataFrame:
    """Sex and site from the copied participants.tsv; an empty table if there is none."""
    import pandas as pd

    from bidsapp_brainage.errors import DataError
    from bidsapp_brainage.io import read_tsv

    try:
        people = read_tsv(output_dir / "participants.tsv")
    except DataError as error:
        LOGGER.warning("Sex and site are unknown: %s", error)
        return pd.DataFrame()
    if "participant_id" not in people:
        LOGGER.warning("Sex and site are unknown: participants.tsv has no participant_id column.")
        return pd.DataFrame()
    return people.drop_duplicates("participant_id")
