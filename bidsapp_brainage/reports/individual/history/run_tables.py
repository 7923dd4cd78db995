"""What the runs of a person cost, stage by stage, and with which software."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd

from bidsapp_brainage.bids.run_records import RunRecord, Stage, newest, total
from bidsapp_brainage.reports.html import Table, moment
from bidsapp_brainage.reports.runs.words import duration, gigabytes, kind, outcome, versions
from bidsapp_brainage.reports.tables import Show, tabulate


def stage_table(runs: Sequence[RunRecord]) -> Table | None:
    """One row per stage of the runs that made what the page shows; None if nothing is known."""
    pairs = [
        (run, stage)
        for run, scans in newest(runs)
        for stage in run.stages
        if not scans or stage.scan in scans
    ]
    if not pairs:
        return None
    rows = pd.DataFrame(
        [{**dataclasses.asdict(stage), "when": _when(run, stage)} for run, stage in pairs]
    )
    wall, cpu = (total(rows[name].dropna()) for name in ("wall_s", "cpu_s"))
    caption = (
        f"Together {duration(wall)}, and {duration(cpu)} of a processor; most memory of one stage "
        f"{gigabytes(rows['peak_rss_mb'].max())}."
    )
    columns = [
        *([Show("scan", "Scan", "name")] if rows["scan"].nunique() > 1 else []),
        Show("stage", "Stage", "name"),
        Show("wall_s", "Seconds", "number", 1),
        Show("cpu_s", "Processor seconds", "number", 1),
        Show("peak_rss_mb", "Peak memory (MB)", "number", 0),
        Show("when", "Done", "name"),
    ]
    return tabulate("stages", caption, columns, rows)


def _when(run: RunRecord, stage: Stage) -> str:
    if stage.ended:
        return moment(stage.ended)
    return "in an earlier run" if stage.cached else moment(run.started)


def run_table(runs: Sequence[RunRecord]) -> Table | None:
    """One row per run of the person, newest first; None if there is no record."""
    if not runs:
        return None
    rows = [
        {
            "started": moment(run.started),
            "kind": kind(run),
            "version": run.version,
            "scans": len(run.scans),
            "run": run,
            "command_line": run.command_line,
        }
        for run in reversed(runs)
    ]
    columns = [
        Show("started", "Started", "name"),
        Show("kind", "What", "name"),
        Show("scans", "Scans", "count"),
        Show("run", "Outcome", cell=outcome),
        Show("version", "Version", "name"),
        Show("command_line", "Command", "long"),
    ]
    return tabulate("runs", "Runs of this participant, newest first.", columns, pd.DataFrame(rows))


def software(runs: Sequence[RunRecord]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Versions by what they did: of the newest prediction, and of a later explanation."""
    told: list[tuple[str, list[tuple[str, str]]]] = []
    for run, _ in newest(runs):
        what = "Explained with" if run.explain_only else "Computed with"
        pairs = versions(run)
        if pairs and (what, pairs) not in told:
            told.append((what, pairs))
    return told
