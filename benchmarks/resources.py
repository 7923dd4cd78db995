"""What a scan needs, by sets of options, as a Markdown table: from the records of runs.

``python -m benchmarks.resources NAME=OUTPUT_DIR[,WORK_DIR] ...``: one row for each set of options,
which NAME calls so. Every scan counts with its newest run that ended; stages that were taken from
an earlier run count with what they cost then. Disk is that of folders and pages of the
participants, and of the work folder after the run. Seconds of a machine that does other things at
the same time are too long, processor seconds less so than those of the clock.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from bidsapp_brainage.bids.run_records import Stage, logged_subjects, read_runs, scan_runs

HEAD = (
    "| options | scans | processor s, median (largest) | s by the clock, median (largest) | "
    "largest process (GB) | output (MB a scan) | work folder (MB a scan) |\n"
    "|---|---|---|---|---|---|---|"
)


def stages_by_scan(output_dir: Path) -> dict[str, list[Stage]]:
    """Stages of the newest run of every scan that ended."""
    scans: dict[str, list[Stage]] = {}
    for subject in logged_subjects(output_dir):
        runs = read_runs(output_dir, subject)
        ended = [run for run in runs if run.ended or not run.facts]  # an older app kept no record
        for scan, last in scan_runs(ended).items():
            scans[scan] = [stage for stage in last.run.stages() if stage.scan == scan]
    return {scan: stages for scan, stages in scans.items() if stages}


def megabytes(*places: Path) -> float:
    """Size of files and of all files in folders; a file with several names counts once."""
    files = [path for place in places for path in (place, *place.rglob("*"))]
    sizes = {(s.st_dev, s.st_ino): s.st_size for s in (f.lstat() for f in files if f.is_file())}
    return sum(sizes.values()) / 1e6


def row(name: str, output_dir: Path, work_dir: Path | None) -> str:
    """One line of the table.

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
    peak = max(stage.peak_rss_mb or 0.0 for stages in scans.values() for stage in stages)
    output = megabytes(*output_dir.glob("sub-*")) / len(scans)
    work = "" if work_dir is None else f"{megabytes(work_dir) / len(scans):.0f}"
    times = " | ".join(f"{median(values):.0f} ({max(values):.0f})" for values in seconds)
    return f"| {name} | {len(scans)} | {times} | {peak / 1000:.1f} | {output:.0f} | {work} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=OUTPUT_DIR[,WORK_DIR]")
    lines = [HEAD]
    for text in parser.parse_args().runs:
        name, _, folders = text.rpartition("=")
        output_dir, _, work_dir = folders.partition(",")
        lines.append(row(name, Path(output_dir), Path(work_dir) if work_dir else None))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
