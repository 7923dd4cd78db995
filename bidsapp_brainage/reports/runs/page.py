"""The page of the runs as a whole: how long, what failed and why, memory, energy, software."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bidsapp_brainage.bids.dataset import shows_synthetic_people
from bidsapp_brainage.bids.names import runs_path
from bidsapp_brainage.io import folder_lock, write_text
from bidsapp_brainage.reports.cohort.links import ReportLink, group_links, report_links
from bidsapp_brainage.reports.html import MISSING, Cell, Table, count, moment, render
from bidsapp_brainage.reports.runs.summary import RunsSummary, WholeRun, summarise_runs
from bidsapp_brainage.reports.runs.words import (
    about_page,
    about_run,
    duration,
    gigabytes,
    kind,
    outcome,
    versions,
    watt_hours,
)
from bidsapp_brainage.reports.tables import Show, tabulate

SECTIONS = (
    ("summary", "Summary"),
    ("failures", "What failed"),
    ("stages", "Stages"),
    ("runs", "All runs"),
    ("software", "Software"),
)
#: Terms of the tiles: title, text, note.
Tile = tuple[str, str, str]


def write_runs_page(output_dir: Path, *, written: str = "") -> Path:
    """Write ``runs.html`` from the log folders; `written` (UTC) dates it.

    Same logs and same date, same bytes.
    """
    output_dir = Path(output_dir)
    with folder_lock(output_dir / "logs"):  # jobs may end at the same time
        return _write(output_dir, written)


def _write(output_dir: Path, written: str) -> Path:
    summary = summarise_runs(output_dir)
    newest = summary.runs[0] if summary.runs else None
    page = render(
        "runs.html.jinja",
        title="Runs",
        subtitle=_subtitle(summary),
        sections=SECTIONS,
        synthetic=shows_synthetic_people(output_dir),
        written=written,
        links=group_links(),
        newest=None if newest is None else _tiles(newest),
        unfinished=newest is not None and outcome(newest.record).text == "broke off",
        about=[*(about_run(newest.record) if newest else ()), *about_page(written)],
        warnings=[] if newest is None else newest.record.warnings,
        scans=_scan_tiles(summary),
        failures=_failures(report_links(output_dir), summary),
        stages=_stages(summary),
        runs=_runs(summary),
        software=versions(newest.record) if newest else [],
    )
    path = runs_path(output_dir)
    write_text(path, page)
    return path


def _subtitle(summary: RunsSummary) -> str:
    return f"{count(len(summary.runs), 'run')}, {count(len(summary.scans), 'scan')}"


def _tiles(run: WholeRun) -> list[Tile]:
    failed = {each.scan for each in run.record.failures}
    complete = sum(scan not in failed for scan in run.record.scans)
    at_once = gigabytes(run.together_mb)
    note = "" if at_once == MISSING else f"of all stages at once at most {at_once}"
    given = run.record.facts.get("Processors")
    processors = f", {given} processors" if given else ""
    return [
        ("Took", duration(run.wall_s), f"{kind(run.record)}{processors}"),
        ("Complete", f"{complete} of {len(run.record.scans)} scans", _failed(len(failed))),
        ("Processor time", duration(run.cpu_s), "of the stages that were computed"),
        ("Most memory of one process", gigabytes(run.peak_mb), note),
        ("Energy", watt_hours(run.energy_j), "processors and memory of the machine, no GPU"),
    ]


def _failed(n: int) -> str:
    return f"{n} failed" if n else "none failed"


def _scan_tiles(summary: RunsSummary) -> list[Tile]:
    """About all scans, each in its newest run."""
    if not summary.scans:
        return []
    costs = pd.Series([scan.wall_s for scan in summary.scans.values()], dtype=float)
    peaks = pd.Series([scan.peak_rss_mb for scan in summary.scans.values()], dtype=float)
    bad = len({failed.scan for _, failed in summary.failures})
    return [
        ("Scans", str(len(summary.scans)), _failed(bad)),
        ("One scan took", duration(costs.median()), f"median; longest {duration(costs.max())}"),
        ("All together", duration(costs.sum(min_count=1)), "one after the other"),
        ("Most memory of a stage", gigabytes(peaks.max()), f"median {gigabytes(peaks.median())}"),
    ]


def _failures(link: ReportLink, summary: RunsSummary) -> Table | None:
    if not summary.failures:
        return None
    rows = [
        {
            "scan": Cell(failed.scan, href=link(failed.scan)),
            "step": failed.step,
            "reason": failed.reason,
            "when": moment(run.started),
        }
        for run, failed in summary.failures
    ]
    columns = [
        Show("scan", "Scan", cell=_as_cell),
        Show("step", "Stage", "name"),
        Show("reason", "Why, and what to do", "long"),
        Show("when", "Run of", "name"),
    ]
    caption = "What is not complete, each scan in its newest run."
    return tabulate("failed", caption, columns, pd.DataFrame(rows), searchable=len(rows) > 14)


def _as_cell(cell: object) -> Cell:
    assert isinstance(cell, Cell)
    return cell


def _stages(summary: RunsSummary) -> Table | None:
    """One row per stage, in the order of the work."""
    if not summary.stages:
        return None
    rows = pd.DataFrame([vars(stage) for stage in summary.stages])
    by_stage = rows.groupby("stage", sort=False)
    table = by_stage.agg(
        scans=("scan", "nunique"),
        median=("wall_s", "median"),
        longest=("wall_s", "max"),
        cpu=("cpu_s", "median"),
        peak_median=("peak_rss_mb", "median"),
        peak=("peak_rss_mb", "max"),
    ).reset_index()
    columns = [
        Show("stage", "Stage", "name"),
        Show("scans", "Scans", "count"),
        Show("median", "Seconds, median", "number", 1, most=float(table["median"].max() or 1)),
        Show("longest", "Longest", "number", 1),
        Show("cpu", "Processor seconds, median", "number", 1, short=True),
        Show("peak_median", "Memory (MB), median", "number", 0, short=True),
        Show("peak", "Most memory (MB)", "number", 0, short=True),
    ]
    caption = "Stages of all scans, each in its newest run; results of an earlier run count with "
    return tabulate("stage-costs", caption + "what they cost then.", columns, table)


def _runs(summary: RunsSummary) -> Table | None:
    if not summary.runs:
        return None
    rows = [
        {
            "started": moment(run.record.started),
            "kind": kind(run.record),
            "took": duration(run.wall_s),
            "scans": len(run.record.scans),
            "run": run.record,
            "peak": gigabytes(run.peak_mb),
            "together": gigabytes(run.together_mb),
            "cpu": duration(run.cpu_s),
            "energy": watt_hours(run.energy_j),
            "version": run.record.version,
            "command": run.record.command_line,
        }
        for run in summary.runs
    ]
    columns = [
        Show("started", "Started", "name"),
        Show("kind", "What", "name"),
        Show("run", "Outcome", cell=outcome),
        Show("scans", "Scans", "count"),
        Show("took", "Took", "name"),
        Show("cpu", "Processors", "name"),
        Show("peak", "Memory, one process", "name"),
        Show("together", "Memory, all at once", "name"),
        Show("energy", "Energy", "name"),
        Show("version", "Version", "name"),
        Show("command", "Command", "long"),
    ]
    return tabulate("all-runs", "Runs, newest first.", columns, pd.DataFrame(rows))
