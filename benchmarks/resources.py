"""What a scan needs, by sets of options, as a Markdown table: from the records of runs.

``python -m benchmarks.resources NAME=OUTPUT_DIR[,WORK_DIR] ...``: one row for each set of options,
which NAME calls so. Every scan counts with its newest run that ended; stages that were taken from
an earlier run count with what they cost then. Disk is that of folders and pages of the
participants, and of the work folder after the run. Seconds of a machine that does other things at
the same time are too long, processor seconds less so than those of the clock.

``--plan`` multiplies the median of each set to studies of 100 to 40,000 scans on 16 to 256
processors, one for each scan at a time.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bidsapp_brainage.bids.run_records import Stage, logged_subjects, read_runs, scan_runs

HEAD = (
    "| options | scans | processor s, median (largest) | s by the clock, median (largest) | "
    "largest process (GB) | output (MB a scan) | work folder (MB a scan) |\n"
    "|---|---|---|---|---|---|---|"
)


STUDIES, PROCESSORS = (100, 1_000, 10_000, 40_000), (16, 64, 256)
PLAN_HEAD = (
    "| options | scans | processor hours | "
    + " | ".join(f"hours on {n} processors" for n in PROCESSORS)
    + " | output (GB) | work folder (GB) |\n|---|---|---|"
    + "---|" * len(PROCESSORS)
    + "---|---|"
)


@dataclass(frozen=True)
class Need:
    """What the scans of one run needed: seconds of each, GB of the largest process, MB a scan."""

    cpu_s: list[float]
    wall_s: list[float]
    peak_gb: float
    output_mb: float
    work_mb: float | None


def stages_by_scan(output_dir: Path) -> dict[str, list[Stage]]:
    """Stages of the newest run of every scan that ended."""
    scans: dict[str, list[Stage]] = {}
    for subject in logged_subjects(output_dir):
        runs = read_runs(output_dir, subject)
        ended = [run for run in runs if run.ended or not run.facts]  # an older app kept no record
        for scan, last in scan_runs(ended).items():
            scans[scan] = [stage for stage in last.run.stages if stage.scan == scan]
    return {scan: stages for scan, stages in scans.items() if stages}


def megabytes(*places: Path) -> float:
    """Size of files and of all files in folders; a file with several names counts once."""
    files = [path for place in places for path in (place, *place.rglob("*"))]
    sizes = {(s.st_dev, s.st_ino): s.st_size for s in (f.lstat() for f in files if f.is_file())}
    return sum(sizes.values()) / 1e6


def measure(output_dir: Path, work_dir: Path | None) -> Need:
    """Read what a run needed.

    Raises
    ------
    SystemExit
        Nothing in the folder was finished.
    """
    scans = stages_by_scan(output_dir)
    if not scans:
        raise SystemExit(f"{output_dir} has no finished run of a participant")
    seconds = [
        [sum(getattr(stage, field) or 0.0 for stage in stages) for stages in scans.values()]
        for field in ("cpu_s", "wall_s")
    ]
    return Need(
        *seconds,
        max(stage.peak_rss_mb or 0.0 for stages in scans.values() for stage in stages) / 1000,
        megabytes(*output_dir.glob("sub-*")) / len(scans),
        None if work_dir is None else megabytes(work_dir) / len(scans),
    )


def row(name: str, need: Need) -> str:
    """One line of the table."""
    work = "" if need.work_mb is None else f"{need.work_mb:.0f}"
    times = " | ".join(
        f"{median(values):.0f} ({max(values):.0f})" for values in (need.cpu_s, need.wall_s)
    )
    return (
        f"| {name} | {len(need.cpu_s)} | {times} | {need.peak_gb:.1f} | {need.output_mb:.0f} "
        f"| {work} |"
    )


def plan(name: str, need: Need) -> list[str]:
    """Lines of the table of studies: medians multiplied."""
    lines = []
    for n_scans in STUDIES:
        hours = n_scans * median(need.cpu_s) / 3600
        on = " | ".join(f"{hours / n:.1f}" for n in PROCESSORS)
        work = "" if need.work_mb is None else f"{n_scans * need.work_mb / 1000:,.0f}"
        output = f"{n_scans * need.output_mb / 1000:,.0f}"
        lines.append(f"| {name} | {n_scans:,} | {hours:,.0f} | {on} | {output} | {work} |")
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=OUTPUT_DIR[,WORK_DIR]")
    parser.add_argument("--plan", action="store_true", help="multiply to larger studies")
    arguments = parser.parse_args()
    lines = [PLAN_HEAD if arguments.plan else HEAD]
    for text in arguments.runs:
        name, _, folders = text.rpartition("=")
        output_dir, _, work_dir = folders.partition(",")
        need = measure(Path(output_dir), Path(work_dir) if work_dir else None)
        lines += plan(name, need) if arguments.plan else [row(name, need)]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
