"""Log folders for tests, as runs of this version leave them."""

from __future__ import annotations

from pathlib import Path

from bidsapp_brainage.bids.run_records import run_folder
from bidsapp_brainage.io import write_json, write_text

_STAGES = "scan\tstage\tnode\tended\tcached\twall_s\tcpu_s\tpeak_rss_mb\n"


def write_run(
    root: Path,
    number: int,
    *scans: str,
    subject: str = "01",
    explain_only: bool = False,
    failed: str = "",
    **facts: object,
) -> str:
    """Write what one run leaves of a participant, or as a whole; runs follow by the hour.

    Every scan has a stage that this run computed, in seconds as many as its number, and one of an
    earlier run. The failed one fails at the first of them.
    """
    run_uuid = f"20260101-{number:02d}0000_x"
    folder = run_folder(root, run_uuid, subject)
    run = f'[run]\napp_version = "0.{number}"\ncommand_line = "app {number}"\n'
    run += 'analysis_level = ["participant"]\n'
    write_text(folder / "app.toml", f"{run}[execution]\nexplain_only = {explain_only}".lower())
    hour = f"2026-01-01T{number:02d}"
    record = {
        "Started": f"{hour}:00:00Z",
        "Ended": f"{hour}:30:00Z",
        "Scans": list(scans),
        "Failures": [{"Scan": failed, "Step": "conform", "Reason": "no image"}] if failed else [],
        **facts,
    }
    write_json(folder / "participant.json", record)
    if subject:
        rows = [
            line
            for scan in scans
            for line in (
                f"{scan}\tconform\tx.c\t{hour}:10:00Z\tfalse\t{number}.5\t1\t{100 * number}\n",
                f"{scan}\tprediction\tx.p\t2025-01-01T00:00:00Z\ttrue\t10\t1\t50\n",
            )
        ]
        write_text(folder / "timings.tsv", _STAGES + "".join(rows))
    return run_uuid
