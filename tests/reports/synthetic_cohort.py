"""Derivatives of several people for the page of all scans: good, doubtful, failed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bidsapp_brainage.io import write_json, write_tsv
from bidsapp_brainage.reports.cohort.scans import write_subject_thumbnails
from tests.reports.synthetic import Person, write_person

REASON = "sub-04_T1w.nii.gz is truncated <b>: copy it again."


def write_cohort(root: Path) -> Path:
    """Three people with four predictions, and a fourth whose only scan failed."""
    good = Person("01", explain=False)
    doubtful = Person("02", sessions=("1", "2"), age=30, predicted=71.0, explain=False)
    bad = Person("03", age=None, decision="fail", reason="no brain inside the brain mask",
        explain=False)  # fmt: skip
    for person in (good, doubtful, bad):
        write_person(root, person)
        write_subject_thumbnails(root, person.subject)
    for subject in ("01", "02", "03", "04"):
        (root / f"sub-{subject}.html").write_text(f"<!DOCTYPE html><title>{subject}</title>")
    people = {"participant_id": ["sub-01", "sub-02"], "sex": ["F", "M"], "site": ["A", "=B"]}
    write_tsv(root / "participants.tsv", pd.DataFrame(people))
    write_run(root, "01", "20260101-120000_aaaa", ["sub-01"])
    add_timings(root, "01", "20260101-120000_aaaa")
    write_run(root, "04", "20260102-130500_bbbb", ["sub-04"], {"sub-04": ("conform", REASON)})
    return root


def write_run(
    root: Path,
    subject: str,
    run: str,
    scans: list[str],
    failures: dict[str, tuple[str, str]] | None = None,
) -> None:
    """Record of a run of one participant, as the participant level leaves it."""
    failed = [
        {"Scan": scan, "Step": step, "Reason": reason}
        for scan, (step, reason) in (failures or {}).items()
    ]
    day, clock = run[:8], run[9:15]
    started = f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}Z"
    record = {"Started": started, "Scans": scans, "Ended": started, "Failures": failed}
    write_json(root / f"sub-{subject}" / "log" / run / "participant.json", record)


def add_timings(root: Path, subject: str, run: str) -> None:
    """What two stages of the only scan of a participant cost."""
    rows = [
        {"scan": f"sub-{subject}", "stage": stage, "node": "x", "ended": None, "cached": False,
         "wall_s": wall, "cpu_s": wall, "peak_rss_mb": peak}
        for stage, wall, peak in (("conform", 12.0, 400.0), ("occlusion", 60.0, 1234.0))
    ]  # fmt: skip
    write_tsv(root / f"sub-{subject}" / "log" / run / "timings.tsv", pd.DataFrame(rows))
