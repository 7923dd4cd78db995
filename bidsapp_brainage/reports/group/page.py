"""The page of a group: one self-contained HTML file per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from bidsapp_brainage.bids.dataset import shows_synthetic_people
from bidsapp_brainage.bids.names import output_path
from bidsapp_brainage.bids.run_records import RunRecord
from bidsapp_brainage.group.analyses import N_BOOT
from bidsapp_brainage.group.calibration import is_calibrated
from bidsapp_brainage.io import write_text
from bidsapp_brainage.reports.cohort.links import group_links, report_links
from bidsapp_brainage.reports.group import accuracy_tables, overview, quality_tables
from bidsapp_brainage.reports.group.comparisons.clinical import clinical_figures
from bidsapp_brainage.reports.group.comparisons.second_opinions import population_section
from bidsapp_brainage.reports.group.comparisons.sites import site_picture
from bidsapp_brainage.reports.group.comparisons.targets import target_pictures
from bidsapp_brainage.reports.group.pictures import Gallery
from bidsapp_brainage.reports.group.regions import atlas_section
from bidsapp_brainage.reports.group.result_tables import shown_tables
from bidsapp_brainage.reports.group.results import (
    CLINICAL_RESULTS,
    GAP_RESULTS,
    RATER_AGREEMENT,
    REPEAT_RESULTS,
    SAMPLE_RESULTS,
    SENSITIVITY,
    TARGET_RESULTS,
)
from bidsapp_brainage.reports.group.stored import StoredResults
from bidsapp_brainage.reports.html import render
from bidsapp_brainage.reports.methods_text import group_methods, methods_forms
from bidsapp_brainage.reports.runs.words import about_page, about_run
from bidsapp_brainage.reports.verdicts.banner import banner
from bidsapp_brainage.reports.verdicts.sample import verdict_of
from bidsapp_brainage.stats.verdicts import Verdict

#: Tables that are shown as they are, by their place on the page.
_FURTHER = MappingProxyType(
    {
        "sample": SAMPLE_RESULTS,
        "targets": TARGET_RESULTS,
        "gaps": GAP_RESULTS,
        "clinical": CLINICAL_RESULTS,
        "repeats": REPEAT_RESULTS,
        "sensitivity": (SENSITIVITY,),
        "agreement": (RATER_AGREEMENT,),
    }
)


def write_group_report(
    output_dir: Path, label: str, *, run: RunRecord | None = None, written: str = ""
) -> Path:
    """Write ``group_desc-<model>_brainage.html`` from the group tables that lie there.

    The label is that of ``desc-``; `run` computed the tables, and `written` (UTC) dates the page.
    No script or picture of the page is loaded from elsewhere.
    """
    results = StoredResults(output_dir, label)
    gallery = Gallery(results)
    link = report_links(results.output_dir)
    scans, metrics = results.scans(), results.rows("metrics", needs=accuracy_tables.NEEDED)
    atlases = [
        atlas_section(results, entities, gallery, position=position)
        for position, entities in enumerate(results.atlases(), start=1)
    ]
    judged = [
        (str(a["title"]), found) for a in atlases if isinstance(found := a["judged"], Verdict)
    ]
    maps = population_section(results, gallery)
    further = {part: shown_tables(results, kinds) for part, kinds in _FURTHER.items()}
    notes, about = results.notes(), results.quantity
    ratings = quality_tables.rating_table(results.rows("scanratings"), link)
    page = render(
        "group.html.jinja",
        title=f"{about.title} of a sample: {label}",
        quantity=about,
        of_ages=about.is_age,
        targets=target_pictures(results, gallery),
        subtitle=overview.subtitle(scans),
        sections=_sections(atlases, further, maps, rated=ratings is not None, of_ages=about.is_age),
        synthetic=shows_synthetic_people(results.output_dir),
        banner=banner(verdict_of(results), judged),
        links=group_links(),
        **_of_sample(results, scans, metrics, gallery),
        notes=notes,
        further=further,
        accuracy_notes=[note.sentence for note in notes if note.topic == "accuracy"],
        atlases=atlases,
        maps=maps,
        doubts=quality_tables.flag_notice(scans),
        flagged=quality_tables.flag_table(scans, results.rows("group_qc"), link),
        outliers=quality_tables.outlier_table(results.rows("outliers"), link),
        exclusions=quality_tables.exclusion_table(results.rows("exclusions"), link),
        ratings=ratings,
        methods=methods_forms(
            group_methods(
                n_boot=N_BOOT,
                calibrated=is_calibrated(scans),
                contributions=bool(atlases),
                ratings=ratings is not None,
                targets=bool(further["targets"]),
                about=about,
            )
        ),
        calibrated=is_calibrated(scans),
        written=written,
        about=[*(about_run(run) if run else ()), *about_page(written)],
    )
    path = output_path(results.output_dir, "group_page", model=label)
    write_text(path, page)
    return path


def _of_sample(
    results: StoredResults, scans: pd.DataFrame, metrics: pd.DataFrame, gallery: Gallery
) -> dict[str, Any]:
    """What the page shows about model, sample, accuracy and groups."""
    targets = results.rows("targets", needs=("target", "class", "metric", "value"))
    return {
        "model": overview.model_facts(results, scans),
        "tiles": overview.tiles(metrics, scans, targets),
        "counted": overview.counted(metrics, scans),
        "sample": overview.sample_facts(results, scans),
        "figures": overview.sample_figures(results, scans, gallery),
        "harmonised": site_picture(results, gallery),
        "clinical": clinical_figures(results, scans, gallery),
        "accuracy": accuracy_tables.accuracy_table(metrics),
        "subsets": accuracy_tables.subset_table(metrics),
    }


def _sections(
    atlases: list[dict[str, object]],
    further: Mapping[str, object],
    maps: Sequence[object],
    *,
    rated: bool,
    of_ages: bool,
) -> list[tuple[str, str]]:
    ages = [("prediction", "Predicted age"), ("accuracy", "Accuracy"), ("gap", "Gap")]
    return [
        ("summary", "Summary"),
        ("sample", "Sample"),
        *([("targets", "Targets")] if further["targets"] else []),
        *(ages if of_ages else []),
        *([("clinical", "Groups and factors")] if further["clinical"] else []),
        *([("repeats", "Repeated scans")] if further["repeats"] else []),
        *((str(atlas["id"]), f"Regions: {atlas['title']}") for atlas in atlases),
        *([("maps", "Maps over people")] if maps else []),
        *([("sensitivity", "Sensitivity")] if further["sensitivity"] else []),
        ("quality", "Quality"),
        *([("ratings", "Ratings")] if rated else []),
        ("exclusions", "Left out"),
        ("limits", "What it does not mean"),
        ("methods", "Methods"),
        ("about", "About this page"),
    ]
